"""The siamese and the prototypical network: counts to the digit, first weights, what they compute."""
import numpy as np
import pytest
from soundness import every_weight_gets_a_gradient, images_for, saves_and_loads

from models import prototypical, siamese

TINY = {"filters": (3, 4), "kernels": (5, 3), "features": 6}


def pair(count=4, side=16):
    images = np.random.default_rng(0).random((2, count, side, side, 1), np.float32)
    return [images[0], images[1]]


def test_parameters_to_the_digit():
    model = siamese()
    assert model.count_params() == 38_951_745
    assert model.get_layer("twin").get_layer("flatten").output.shape[1:] == (9_216,)
    model = prototypical()
    assert model.count_params() == prototypical(pool_first=True).count_params() == 112_448
    assert sum(weight.value.shape.num_elements() for weight in model.trainable_variables) == 111_936
    assert model.output_shape == (None, 64) and prototypical((35, 35, 1)).output_shape == (None, 256)


@pytest.mark.parametrize("normalised", [False, True])
def test_siamese_is_sound(normalised, tmp_path):
    model = siamese((16, 16, 1), **TINY, normalised=normalised)
    assert model(pair()).shape == (4, 1) and not model.compiled
    saves_and_loads(model, pair(), tmp_path)
    every_weight_gets_a_gradient(model, pair(), training=normalised)


@pytest.mark.parametrize("pool_first", [False, True])
def test_prototypical_is_sound(pool_first, tmp_path):
    model = prototypical((9, 8, 2), filters=(3, 4), pool_first=pool_first)
    saves_and_loads(model, images_for(model), tmp_path)
    assert {"stage1", "stage2", "features"} <= {layer.name for layer in model.layers}
    model = prototypical((9, 8, 2), filters=(3, 4), pool_first=pool_first)
    biases = [layer.bias for layer in model.layers if layer.name.endswith("conv")]
    for bias in biases:                               # normalisation takes away what they add
        bias.trainable = False
    every_weight_gets_a_gradient(model, images_for(model), training=True)


def test_the_distance_is_weighted_symmetric_and_zero_between_equals():
    model, (first, second) = siamese((16, 16, 1), **TINY), pair()
    np.testing.assert_allclose(model([first, second]), model([second, first]), atol=1e-6)
    np.testing.assert_allclose(model([first, first]), np.zeros((4, 1)), atol=1e-6)       # but for the bias
    twin, head = model.get_layer("twin"), model.get_layer("logits")
    expected = np.abs(np.asarray(twin(first)) - np.asarray(twin(second))) @ np.asarray(head.kernel)
    np.testing.assert_allclose(model([first, second]), expected, atol=1e-6)


def test_siamese_begins_as_published():
    twin = siamese((40, 40, 1), filters=(40, 30), kernels=(10, 7), features=200).get_layer("twin")
    for name, stddev in (("stage1_conv", 0.01), ("stage2_conv", 0.01), ("features_dense", 0.2)):
        kernel, bias = (np.asarray(weight) for weight in twin.get_layer(name).weights)
        assert np.std(kernel) == pytest.approx(stddev, rel=0.05) and abs(kernel.mean()) < stddev / 20
        assert bias.mean() == pytest.approx(0.5, abs=0.01) and np.std(bias) == pytest.approx(0.01, rel=0.4)


def test_pooling_first_is_the_same_network_where_the_scale_is_positive():
    late, early = prototypical(filters=(4, 5)), prototypical(filters=(4, 5), pool_first=True)
    early.set_weights(late.get_weights())
    images = images_for(late)
    np.testing.assert_allclose(late(images), early(images), atol=1e-6)


@pytest.mark.parametrize(("builder", "arguments", "message"), [
    (siamese, {"input_shape": (64, 105, 1)}, "at least 65x65 pixels"),
    (siamese, {"kernels": (10, 7)}, r"equally many.*kernels=\(10, 7\)"),
    (siamese, {"features": 0}, "Received:.*features=0"),
    (prototypical, {"input_shape": (15, 28, 1)}, "at least 16x16 pixels"),
    (prototypical, {"filters": ()}, r"Received: filters=\(\)"),
])
def test_bad_arguments_are_told(builder, arguments, message):
    with pytest.raises(ValueError, match=message):
        builder(**arguments)


def test_the_smallest_images_leave_one_place():
    model = siamese((17, 17, 1), filters=(2, 2), kernels=(10, 4), features=3)
    assert model.get_layer("twin").get_layer("stage2").output.shape[1:3] == (1, 1)
    with pytest.raises(ValueError, match="at least 17x17"):
        siamese((16, 17, 1), filters=(2, 2), kernels=(10, 4), features=3)
