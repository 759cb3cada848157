"""GoogLeNet: counts of both variants, with and without auxiliary classifiers; sizes; poolings."""
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
from models.googlenet import LOSS_WEIGHTS, pooled


def small(**arguments):
    return models.googlenet((40, 41, 3), 5, **{"stem_strides": (1, 2, 2), **arguments})


@pytest.mark.parametrize(("batch_norm", "alone", "with_auxiliary", "operations"), [
    (False, 6_998_552, 13_378_280, 1_582_671_872), (True, 6_624_904, 13_004_888, 1_498_376_192)])
def test_published_counts(batch_norm, alone, with_auxiliary, operations):
    model = without_weights(models.googlenet, batch_norm=batch_norm)
    assert counts(model)[1:] == (alone, operations)
    auxiliary = without_weights(models.googlenet, batch_norm=batch_norm, auxiliary=True)
    assert counts(auxiliary)[1] == with_auxiliary
    assert {name: model.get_layer(name).output.shape[1:] for name in ("stem", "stage3", "stage4", "stage5")} \
        == {"stem": (28, 28, 192), "stage3": (28, 28, 480), "stage4": (14, 14, 832), "stage5": (7, 7, 1024)}


@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_weight_gets_a_gradient(batch_norm):
    model = small(batch_norm=batch_norm, auxiliary=True, stem_strides=(1, 1, 2))
    assert {name: x.shape for name, x in model.output.items()} == dict.fromkeys(LOSS_WEIGHTS, (None, 5))
    assert not model.compiled
    every_weight_gets_a_gradient(model, images_for(model))


@pytest.mark.parametrize("arguments", [{}, {"batch_norm": True, "auxiliary": True}])
def test_saves_and_loads_in_safe_mode(arguments, tmp_path):
    model = small(**arguments)
    saves_and_loads(model, images_for(model), tmp_path)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_mixed_precision(batch_norm):
    logits_are_float32(lambda: small(batch_norm=batch_norm, auxiliary=batch_norm), "mixed_bfloat16")


def test_outputs_train_with_their_weights():
    """One loss per output, of which the paper's 1, .3 and .3 are the weights; the main one works alone."""
    assert LOSS_WEIGHTS == {"main": 1.0, "aux1": 0.3, "aux2": 0.3}
    model = small(batch_norm=True, auxiliary=True, dropout=0.0)
    images, labels = images_for(model), np.array([0, 1, 2, 3])
    losses = {name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in LOSS_WEIGHTS}
    model.compile("sgd", losses, loss_weights=LOSS_WEIGHTS)
    loss = model.test_on_batch(images, dict.fromkeys(LOSS_WEIGHTS, labels), return_dict=True)["loss"]
    outputs = model(images)
    parts = {name: float(losses[name](labels, outputs[name])) for name in LOSS_WEIGHTS}
    assert loss == pytest.approx(parts["main"] + 0.3 * parts["aux1"] + 0.3 * parts["aux2"], rel=1e-4)
    alone = keras.Model(model.input, model.output["main"])
    np.testing.assert_array_equal(alone(images), outputs["main"])
    assert counts(alone) == counts(small(batch_norm=True))


@pytest.mark.parametrize("size", [2, 3, 5, 6, 9])
def test_pooling_rounds_up(size):
    """Windows begin at 0, 2, 4, ... as long as they begin inside; an edge cuts the last one."""
    x = np.random.default_rng(0).random((1, size, size, 2), np.float32)
    starts = [start for start in range(0, size, 2) if start + 3 <= size or start + 3 - size == 1]
    expected = [[x[0, i:i + 3, j:j + 3].max(axis=(0, 1)) for j in starts] for i in starts]
    image = keras.Input((size, size, 2))
    model = keras.Model(image, pooled(image, 2, name="pool"))
    np.testing.assert_array_equal(model(x)[0], np.reshape(expected, (len(starts), len(starts), 2)))


def test_small_images_as_documented():
    for strides, sides in (((1, 2, 2), (8, 4, 2)), ((2, 2, 2), (4, 2, 1))):
        model = without_weights(models.googlenet, input_shape=(32, 32, 3), num_classes=10,
                                stem_strides=strides)
        assert tuple(model.get_layer(f"stage{stage}").output.shape[1] for stage in (3, 4, 5)) == sides
        assert model.count_params() == 6_998_552 - 990 * 1025


@pytest.mark.parametrize("batch_norm", [False, True])
def test_any_size(batch_norm):
    model = models.googlenet((None, None, 3), 7, batch_norm=batch_norm)
    for height, width in ((31, 64), (48, 33)):
        assert model(np.zeros((1, height, width, 3), np.float32)).shape == (1, 7)
    bottom = models.googlenet((None, None, 3), batch_norm=batch_norm, include_top=False)
    assert bottom(np.zeros((1, 32, 64, 3), np.float32)).shape == (1, 1, 2, 1024)


@pytest.mark.parametrize(("arguments", "smallest"), [
    ({}, 31), ({"batch_norm": True}, 15), ({"auxiliary": True}, 79), ({"stem_strides": (1, 2, 2)}, 16),
    ({"batch_norm": True, "auxiliary": True}, 15)])
def test_the_smallest_image(arguments, smallest):
    model = models.googlenet((smallest, smallest, 3), 3, **arguments)
    assert all(np.isfinite(output).all() for output in keras.tree.flatten(model(images_for(model))))
    with pytest.raises(ValueError, match=f"at least {smallest}x{smallest}"):
        models.googlenet((smallest - 1, 224, 3), **arguments)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"stem_strides": (2, 2)}, "three numbers.*Received: stem_strides=\\(2, 2\\)"),
    ({"stem_strides": (2, 2, 4)}, "1 or 2"),
    ({"auxiliary": True, "include_top": False}, "need the top"),
    ({"auxiliary": True, "input_shape": (None, None, 3)}, "fixed size")])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.googlenet(**arguments)
