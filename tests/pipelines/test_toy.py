import numpy as np
import pytest

from pipelines import toy


@pytest.mark.parametrize("name", toy.DRAWN)
def test_sizes_types_and_balance(name):
    data = toy.load(name)
    assert [len(part) for part in (data.training, data.validation, data.test)] == [1_000, 200, 1_000]
    assert data.input_shape == (2,) and data.num_classes == 2
    for part in (data.training, data.validation, data.test):
        assert part.inputs.dtype == np.float32 and part.labels.dtype == np.int64
        assert 0.4 < part.labels.mean() < 0.6 and np.abs(part.inputs).max() < 2.1
    everything = np.concatenate([part.inputs for part in (data.training, data.validation, data.test)])
    assert len(np.unique(everything, axis=0)) == 2_200


@pytest.mark.parametrize("name", toy.DRAWN)
def test_the_points_do_not_depend_on_the_seed_but_their_order_does(name):
    one, other = toy.load(name, seed=1), toy.load(name, seed=2)
    np.testing.assert_array_equal(one.training.inputs, other.training.inputs)
    assert (one.train.batch(0)[0].numpy() != other.train.batch(0)[0].numpy()).any()


def test_without_noise_the_points_lie_on_their_curves():
    circles = toy.load("circles", noise=0.0).training
    np.testing.assert_allclose(np.hypot(*circles.inputs.T), np.where(circles.labels == 0, 1, 0.5), atol=1e-6)
    moons = toy.load("moons", noise=0.0).training
    centres = np.where(moons.labels[:, None] == 0, [-0.5, -0.25], [0.5, 0.25])
    np.testing.assert_allclose(np.hypot(*(moons.inputs - centres).T), 1, atol=1e-6)
    spirals = toy.load("spirals", noise=0.0).training
    radius = np.hypot(*spirals.inputs.T)
    angle = 2 * np.pi * radius + np.pi * spirals.labels              # 3 pi per 1.5 of radius
    np.testing.assert_allclose(spirals.inputs[:, 0], radius * np.cos(angle), atol=1e-5)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="moons, circles, spirals. Received: blobs"):
        toy.load("blobs")
    with pytest.raises(ValueError, match="noise must not be negative. Received: -1"):
        toy.load("moons", noise=-1)
