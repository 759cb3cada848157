"""densenet_cifar10: the smoke run learns, the named configurations are the paper's."""
import dataclasses

import keras
import numpy as np
import pytest

from pipelines import cifar
from recipes.images.densenet_cifar10 import NAMED, PUBLISHED, SMOKE, Config, compiled_model, main
from training import Run


def test_the_smoke_network_learns(tmp_path):
    metrics = main(SMOKE, Run(tmp_path / "run", recipe="densenet_cifar10", config=SMOKE))
    assert metrics["val_accuracy"] > 0.7 and metrics["test_accuracy"] > 0.6           # chance: .1
    assert (tmp_path / "run" / "model.keras").exists()


@pytest.mark.slow
def test_without_validation_all_images_train(tmp_path):
    config = dataclasses.replace(SMOKE, validation=0, epochs=1, depth=7)
    metrics = main(config, Run(tmp_path / "run", recipe="densenet_cifar10", config=config))
    assert "val_accuracy" not in metrics and 0 <= metrics["test_accuracy"] <= 1


@pytest.mark.parametrize("name, trainable", [("C10", 1_019_722), ("C10+", 1_019_722), ("bc-C10+", 769_162)])
def test_named_configurations_are_the_papers(name, trainable):
    config, data = NAMED[name], cifar.load("digits", 64)
    model = compiled_model(config, data)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == trainable
    assert (config.batch_size, config.epochs, config.validation, config.momentum) == (64, 300, 0, .9)
    dropped = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert bool(dropped) == (config.augment == "none")
    updates, rate = 300 * data.train.batches_per_epoch, model.optimizer._learning_rate
    found = [float(rate(part * updates // 100)) for part in (49, 51, 74, 76)]
    assert found == pytest.approx([.1, .01, .01, .001])


def test_the_cycle_rises_and_falls_to_zero():
    data = cifar.load("digits", 32)
    updates, rate = 3 * data.train.batches_per_epoch, compiled_model(SMOKE, data).optimizer._learning_rate
    assert float(rate(0)) == pytest.approx(.1 / 25) and float(rate(updates)) == pytest.approx(0, abs=1e-6)
    assert max(float(rate(update)) for update in range(updates)) == pytest.approx(.1)


def test_published_figures_are_of_named_configurations():
    assert set(PUBLISHED) - {""} == set(NAMED)
    for name, config in NAMED.items():
        assert (config.data == "cifar100") == ("C100" in name)
        assert (config.augment == "none") == ("+" not in name)
    assert PUBLISHED[""] == PUBLISHED["C10+"] and Config().depth == NAMED["C10+"].depth
