"""googlenet: that it learns with all three losses, what is saved, and the paper's network."""
import keras
import numpy as np
import pytest

from pipelines import cifar
from recipes.images.googlenet import (
    PAPER,
    SMOKE,
    Config,
    accuracy,
    compiled_model,
    main,
    weighted_loss,
    without_auxiliary,
)
from training import Run


def trained(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.slow
def test_smoke_learns_and_saves_the_network_without_auxiliary_classifiers(tmp_path):
    run = Run(tmp_path / "run", recipe="googlenet", config=SMOKE, seed=0)
    metrics = main(SMOKE, run)
    assert SMOKE.auxiliary and metrics["test_accuracy"] > 0.6         # chance: .1
    saved = keras.saving.load_model(tmp_path / "run" / "model.keras", compile=False)
    assert saved.output_shape == (None, 10) and trained(saved) == 6_624_904 - 990 * 1025
    run.finish(metrics)
    again = Run(tmp_path / "run", recipe="googlenet", config=SMOKE, seed=0, resume=True)
    model = compiled_model(SMOKE, cifar.load("digits", 20))
    network = without_auxiliary(model)
    again.fit(model, None, saved=network)                             # does not train: gives it its weights
    for weight, one in zip(network.get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, one)


def test_loss_and_accuracy_of_the_three_outputs():
    random = np.random.default_rng(0)
    stacked, labels = random.normal(size=(6, 3, 4)).astype(np.float32), random.integers(0, 4, 6)
    each = np.log(np.exp(stacked).sum(axis=2)) - np.take_along_axis(stacked, labels[:, None, None], 2)[..., 0]
    np.testing.assert_allclose(weighted_loss(labels, stacked), each @ [1, 0.3, 0.3], rtol=1e-5)
    np.testing.assert_array_equal(accuracy(labels, stacked), stacked[:, 0].argmax(axis=1) == labels)


def test_main_output_comes_first(data_of):
    """What accuracy reads is what the network for use gives."""
    model = compiled_model(SMOKE, data_of(32, 10))
    images = np.random.default_rng(1).random((2, 32, 32, 3), np.float32)
    stacked = model(images)
    assert stacked.shape == (2, 3, 10)
    np.testing.assert_array_equal(stacked[:, 0], without_auxiliary(model)(images))


def test_published_networks(data_of):
    model = compiled_model(PAPER, data_of(224, 1000))
    assert model.count_params() == 13_378_280 and without_auxiliary(model).count_params() == 6_998_552
    assert trained(compiled_model(Config(), data_of(32, 10))) == 6_624_904 - 990 * 1025


def test_schedules(data_of):
    rate = compiled_model(PAPER, data_of(224, 10)).optimizer._learning_rate
    assert [float(rate(update)) for update in (0, 79, 80, 160)] \
        == pytest.approx([0.01, 0.01, 0.0096, 0.01 * 0.96 ** 2])      # 10 updates per epoch, 4 % every 8
    cycle = compiled_model(Config(), data_of(32, 10)).optimizer._learning_rate
    values = [float(cycle(update)) for update in range(101)]
    assert values.index(max(values)) == 20 and values[-1] == pytest.approx(0, abs=1e-9)
