"""VGG: counts of all eight variants, order of layers, heads, small images."""
import keras
import numpy as np
import pytest
from soundness import (
    counts,
    every_weight_gets_a_gradient,
    images_for,
    logits_are_float32,
    saves_and_loads,
    without_weights,
)

import models


def small(builder=models.vgg11, **arguments):
    return builder((32, 33, 3), 5, **{"hidden": (7, 6), **arguments})


@pytest.mark.parametrize(("builder", "plain", "normalized", "operations"), [
    (models.vgg11, 132_863_336, 132_868_840, 7_609_090_048),
    (models.vgg13, 133_047_848, 133_053_736, 11_308_466_176),
    (models.vgg16, 138_357_544, 138_365_992, 15_470_264_320),
    (models.vgg19, 143_667_240, 143_678_248, 19_632_062_464)])
def test_published_counts(builder, plain, normalized, operations):
    model = without_weights(builder)
    assert counts(model) == (plain, plain, operations)
    assert [model.get_layer(f"stage{stage}").output.shape[1] for stage in range(1, 6)] \
        == [112, 56, 28, 14, 7]
    assert counts(without_weights(builder, batch_norm=True))[1:] == (normalized, operations)


def test_parts_of_vgg16():
    model = without_weights(models.vgg16)
    assert model.get_layer("hidden1").count_params() == 102_764_544
    assert without_weights(models.vgg16, include_top=False).count_params() == 14_714_688
    assert [layer.name for layer in model.layers if layer.weights] == [
        "stage1_conv1", "stage1_conv2", "stage2_conv1", "stage2_conv2", "stage3_conv1", "stage3_conv2",
        "stage3_conv3", "stage4_conv1", "stage4_conv2", "stage4_conv3", "stage5_conv1", "stage5_conv2",
        "stage5_conv3", "hidden1", "hidden2", "logits"]


@pytest.mark.parametrize("depth", [16, 19])
def test_same_function_as_keras_applications(depth):
    """Random weights moved layer by layer, without the dense layers of 4,096 (which are the same ones)."""
    reference = getattr(keras.applications, f"VGG{depth}")(weights=None, include_top=False,
                                                           input_shape=(40, 33, 3))
    model = models.vgg((40, 33, 3), depth=depth, include_top=False)
    model.set_weights(reference.get_weights())
    images = 255 * images_for(model)
    np.testing.assert_allclose(model(images), reference(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("arguments", [
    {}, {"builder": models.vgg13, "batch_norm": True, "pooling": "average"}])
def test_every_weight_gets_a_gradient(arguments):
    model = small(**arguments)
    assert model.output_shape == (None, 5) and not model.compiled
    every_weight_gets_a_gradient(model, images_for(model))


def test_saves_and_loads_in_safe_mode(tmp_path):
    model = small(batch_norm=True)
    saves_and_loads(model, images_for(model), tmp_path)


def test_mixed_precision():
    logits_are_float32(small, "mixed_bfloat16")


def test_head():
    model = small(hidden=(), classifier_activation="softmax")
    np.testing.assert_allclose(np.sum(model(images_for(model)), axis=1), 1, rtol=1e-5)
    assert [layer.name for layer in model.layers[-3:]] == ["features", "logits", "predictions"]
    with_dropout = models.vgg11((32, 32, 3), 10, hidden=(512,))
    assert [layer.name for layer in with_dropout.layers[-4:]] \
        == ["hidden1", "hidden1_relu", "hidden1_dropout", "logits"]
    assert with_dropout.get_layer("hidden1").count_params() == 262_656


@pytest.mark.parametrize(("arguments", "after"), [
    ({"include_top": False}, (2, 3, 512)), ({"pooling": "average", "hidden": ()}, (1000,))])
def test_any_size(arguments, after):
    model = models.vgg11((None, None, 3), **arguments)
    assert model(np.zeros((1, 64, 97, 3), np.float32)).shape == (1, *after)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"input_shape": (31, 32, 3)}, "at least 32x32.*Received"),
    ({"input_shape": (None, 64, 3)}, "fixed size.*include_top=False"),
    ({"input_shape": (32, 32)}, "height, width, channels"),
    ({"depth": 18}, "11, 13, 16 or 19. Received: depth=18"),
    ({"pooling": "max"}, "Received: pooling='max'")])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.vgg(**arguments)
