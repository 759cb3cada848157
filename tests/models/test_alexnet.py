"""AlexNet: counts, its two layers against plain operations, first weights, small images."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from soundness import (
    counts,
    every_weight_gets_a_gradient,
    images_for,
    logits_are_float32,
    saves_and_loads,
    without_weights,
)

import models
from models.alexnet import GroupedConv2D, LocalResponseNormalization

SMALL = {"stem_kernel": 5, "stem_stride": 1, "hidden": (7, 6)}


def small(**arguments):
    return models.alexnet((19, 20, 3), 5, **{**SMALL, **arguments})


def small_owt():
    return models.alexnet_owt((63, 64, 3), 5, hidden=(7, 6))


@pytest.mark.parametrize(("builder", "arguments", "count", "operations"), [
    (models.alexnet, {}, 60_965_224, 724_406_816),
    (models.alexnet, {"groups": 1}, 62_378_344, 1_135_256_096),
    (models.alexnet_owt, {}, 61_100_840, 714_188_480)])
def test_published_counts(builder, arguments, count, operations):
    model = without_weights(builder, **arguments)
    assert counts(model) == (count, count, operations)
    assert [model.get_layer(f"stage{stage}").output.shape[1:3] for stage in (1, 2, 3)] \
        == [(27, 27), (13, 13), (6, 6)]


def test_parameters_of_the_convolutions():
    assert without_weights(models.alexnet, include_top=False).count_params() == 2_334_080


def test_first_weights_are_those_of_section_5():
    model = models.alexnet(num_classes=100, hidden=(40, 300))        # thousands of numbers in each layer
    biases = {layer.name: set(layer.bias.numpy()) for layer in model.layers if layer.weights}
    ones = [name for name, values in biases.items() if values == {1.0}]
    assert ones == ["stage2_conv", "stage3_conv2", "stage3_conv3", "hidden1", "hidden2"]
    assert all(values == {0.0} for name, values in biases.items() if name not in ones)
    for layer in model.layers:
        if layer.weights:
            assert layer.kernel.numpy().std() == pytest.approx(0.01, rel=0.1), layer.name
            assert abs(layer.kernel.numpy().mean()) < 0.002


def test_response_normalization_follows_the_paper():
    """Section 3.3, channel by channel; and TensorFlow's own operation, which has the same alpha."""
    x = 30 * np.random.default_rng(1).normal(size=(2, 3, 4, 9)).astype(np.float32)
    expected = np.empty_like(x)
    for i in range(9):
        around = np.sum(x[..., max(0, i - 2):min(8, i + 2) + 1] ** 2, axis=-1)
        expected[..., i] = x[..., i] / (2 + 1e-4 * around) ** 0.75
    layer = LocalResponseNormalization()
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5)
    np.testing.assert_allclose(layer(x), tf.nn.local_response_normalization(x, 2, 2.0, 1e-4, 0.75), rtol=1e-5)
    other = LocalResponseNormalization(n=3, k=1.0, alpha=0.01, beta=0.5)
    np.testing.assert_allclose(other(x), tf.nn.local_response_normalization(x, 1, 1.0, 0.01, 0.5), rtol=1e-5)
    again = LocalResponseNormalization.from_config(other.get_config())
    np.testing.assert_array_equal(again(x), other(x))
    with pytest.raises(ValueError, match="must be odd. Received: n=4"):
        LocalResponseNormalization(n=4)


def test_response_normalization_of_large_float16():
    x = np.full((1, 2, 2, 8), 300.0, np.float16)                   # whose square float16 does not hold
    out = LocalResponseNormalization(dtype="mixed_float16")(x).numpy()
    assert out.dtype == np.float16
    np.testing.assert_allclose(out[..., 4], 300 / (2 + 1e-4 * 5 * 300 ** 2) ** 0.75, rtol=1e-3)


@pytest.mark.parametrize(("stride", "padding"), [(1, "same"), (2, "valid")])
def test_a_group_reads_its_own_maps(stride, padding):
    layer = GroupedConv2D(6, 3, stride, padding, groups=2, bias_initializer="ones")
    x = np.random.default_rng(2).normal(size=(2, 7, 8, 4)).astype(np.float32)
    out, kernel = layer(x).numpy(), layer.kernel.numpy()
    assert kernel.shape == (3, 3, 2, 6)
    for maps, filters in ((slice(0, 2), slice(0, 3)), (slice(2, 4), slice(3, 6))):
        own = tf.nn.conv2d(x[..., maps], kernel[..., filters], stride, padding.upper()) + 1
        np.testing.assert_allclose(out[..., filters], own, atol=1e-5)
    assert layer.compute_output_shape(x.shape) == out.shape


@pytest.mark.parametrize("build", [small, lambda: small(groups=1), small_owt])
def test_every_weight_gets_a_gradient(build):
    model = build()
    assert model.output_shape == (None, 5) and not model.compiled
    every_weight_gets_a_gradient(model, images_for(model))


@pytest.mark.parametrize("build", [small, small_owt])
def test_saves_and_loads_in_safe_mode(build, tmp_path):
    model = build()
    saves_and_loads(model, images_for(model), tmp_path)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    logits_are_float32(small, policy)


def test_ingredients_that_can_be_left_out():
    def kinds(**arguments):
        return [type(layer).__name__ for layer in small(**arguments).layers]
    assert kinds().count("LocalResponseNormalization") == 2
    assert kinds(response_normalization=False).count("LocalResponseNormalization") == 0
    model = small(pool_size=2, activation="tanh")
    assert [model.get_layer(f"stage{stage}").output.shape[1:3] for stage in (1, 2, 3)] \
        == [(7, 8), (3, 4), (1, 2)]
    assert model.get_layer("stage2_conv_activation").activation is keras.activations.tanh
    assert small(classifier_activation="softmax").output_names == ["predictions"]


@pytest.mark.parametrize(("build", "sizes"), [
    (lambda: models.alexnet((None, None, 3), include_top=False), {(67, 131): (1, 3), (100, 100): (2, 2)}),
    (lambda: models.alexnet_owt((None, None, 3), include_top=False), {(63, 127): (1, 3)})])
def test_without_the_top_any_size(build, sizes):
    model = build()
    for (height, width), after in sizes.items():
        assert model(np.zeros((1, height, width, 3), np.float32)).shape == (1, *after, 256)


def test_small_images_as_documented():
    model = models.alexnet((32, 32, 3), 10, **SMALL)
    assert [model.get_layer(name).output.shape[1] for name in ("stage1_conv", "stage1", "stage2", "stage3")] \
        == [28, 13, 6, 2]


@pytest.mark.parametrize(("builder", "arguments", "message"), [
    (models.alexnet, {"input_shape": (66, 227, 3)}, "at least 67x67.*Received"),
    (models.alexnet, {"input_shape": (18, 19, 3), **SMALL}, "at least 19x19"),
    (models.alexnet_owt, {"input_shape": (224, 62, 3)}, "at least 63x63"),
    (models.alexnet, {"input_shape": (None, None, 3)}, "fixed size.*include_top=False"),
    (models.alexnet, {"groups": 3}, "1 or 2. Received: groups=3"),
    (models.alexnet, {"pool_size": 4}, "Received: pool_size=4"),
    (models.alexnet, {"stem_stride": 0}, "Received: stem_kernel=11, stem_stride=0"),
    (models.alexnet, {"num_classes": 0}, "Received: num_classes=0")])
def test_bad_arguments(builder, arguments, message):
    with pytest.raises(ValueError, match=message):
        builder(**arguments)
