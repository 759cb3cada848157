"""airbench94: counts, whitening, identity, saving, bad arguments."""
import keras
import numpy as np
import pytest
from soundness import counts, every_weight_gets_a_gradient, images_for, saves_and_loads, without_weights

from models import airbench94, set_whitening
from models.airbench import PartialIdentity

TINY = [{"widths": (24, 24, 30)}, {"widths": (24, 25, 26), "residual": True}]


def test_counts_to_the_digit():
    assert counts(without_weights(airbench94)) == (1_973_944, 1_971_352, 118_155_520)
    assert all(count in airbench94.__doc__ for count in ("1,973,944", "1,971,352", "118,155,520"))


def test_counts_of_its_wider_versions():
    # 3x3 kernels, an offset per normalised map, 24 biases of the whitening, 10 outputs without biases.
    assert counts(without_weights(airbench94, widths=(128, 384, 384)))[1] == 24 + 9 * (
        24 * 128 + 128 ** 2 + 128 * 384 + 3 * 384 ** 2) + 2 * (128 + 2 * 384) + 3840
    assert counts(without_weights(airbench94, widths=(128, 512, 512), residual=True))[1] == 24 + 9 * (
        24 * 128 + 2 * 128 ** 2 + 128 * 512 + 5 * 512 ** 2) + 3 * (128 + 2 * 512) + 5120


def test_whitening_makes_the_maps_uncorrelated_and_of_one_variance():
    generator = np.random.default_rng(0)
    images = generator.standard_normal((20, 12, 12, 3)) @ [[1, .5, .2], [0, 1, .5], [0, 0, .3]]
    images[:, 1:] += images[:, :-1]                    # neighbours correlate, as in photographs
    model = airbench94((12, 12, 3), widths=(24, 24, 24))
    set_whitening(model, images, epsilon=0.0)
    maps = np.asarray(model.get_layer("whitening")(images.astype("float32"))).reshape(-1, 24)
    np.testing.assert_allclose(maps[:, 12:], -maps[:, :12], atol=1e-5)
    np.testing.assert_allclose(maps[:, :12].T @ maps[:, :12] / len(maps), np.eye(12), atol=1e-3)
    variances = (np.asarray(model.get_layer("whitening").kernel) ** 2).sum(axis=(0, 1, 2))[:12]
    assert (np.diff(variances) > 0).all()              # the strongest component first, which is scaled least


def test_whitening_is_fixed_and_its_bias_is_not():
    model = airbench94((12, 12, 3), widths=(24, 24, 24))
    assert not model.get_layer("whitening").trainable_weights
    assert "whitening_bias/bias" in [weight.path for weight in model.trainable_weights]
    with pytest.raises(ValueError, match="(N, height, width, 3)"):
        set_whitening(model, np.ones((2, 12, 12, 1)))


def test_convolutions_begin_as_the_identity():
    kernel = PartialIdentity(seed=3)((3, 3, 2, 5))
    x = np.random.default_rng(0).random((1, 4, 4, 2)).astype("float32")
    y = np.asarray(keras.ops.conv(x, kernel, padding="same"))
    np.testing.assert_allclose(y[..., :2], x, rtol=1e-6)
    others = np.asarray(kernel)[..., 2:]
    assert 0.5 / 18 ** .5 < np.abs(others).max() <= 1 / 18 ** .5 and np.abs(others).min() > 0


@pytest.mark.parametrize("arguments", TINY)
def test_every_weight_gets_a_gradient(arguments):
    model = airbench94((9, 9, 3), 3, **arguments)
    every_weight_gets_a_gradient(model, images_for(model), training=True)


@pytest.mark.parametrize("arguments", TINY)
def test_saves_and_loads_in_safe_mode(arguments, tmp_path):
    model = airbench94((9, 9, 3), 3, **arguments)
    set_whitening(model, images_for(model))
    saves_and_loads(model, images_for(model), tmp_path)


@pytest.mark.parametrize("arguments", TINY)
def test_any_size_without_top_and_in_mixed_precision(arguments):
    maps = airbench94((None, None, 1), include_top=False, **arguments)(np.ones((1, 32, 17, 1)))
    assert maps.shape[1:3] == (3, 2)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = airbench94((None, None, 1), 3, classifier_activation="softmax", **arguments)
    outputs = keras.ops.convert_to_numpy(model(np.ones((2, 32, 32, 1))))
    assert outputs.dtype == np.float32 and model.get_layer("stage1").compute_dtype == "bfloat16"
    np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("arguments, said", [
    ({"widths": (64, 64)}, "three"), ({"input_shape": (8, 9, 3)}, "9x9")])
def test_bad_arguments(arguments, said):
    with pytest.raises(ValueError, match=said):
        airbench94(**arguments)
