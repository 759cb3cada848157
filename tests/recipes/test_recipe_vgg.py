"""vgg: that it learns, its counts on small images, its cycle, and the paper's network."""
import dataclasses

import pytest

from recipes.images.vgg import NAMED, PAPER, SMOKE, Config, compiled_model, main
from training import Run


@pytest.mark.slow
def test_smoke_learns(tmp_path):
    metrics = main(SMOKE, Run(tmp_path / "run", recipe="vgg", config=SMOKE, seed=0))
    assert metrics["test_accuracy"] > 0.6                             # chance: .1
    assert metrics["val_accuracy"] > 0.6 and (tmp_path / "run" / "model.keras").exists()


@pytest.mark.parametrize(("name", "convolutions", "normalized"), [
    ("11", 9_220_480, 2_752), ("13", 9_404_992, 2_944), ("16", 14_714_688, 4_224), ("19", 20_024_384, 5_504)])
def test_parameters_on_small_images(name, convolutions, normalized, data_of):
    """The convolutions are the published ones; batch normalisation has four numbers per channel."""
    assert NAMED[name].depth == int(name)
    model = compiled_model(dataclasses.replace(NAMED[name], initializer="zeros"), data_of(32, 10))
    assert model.count_params() == convolutions + 4 * normalized + 262_656 + 5_130


def test_one_cycle_of_the_learning_rate(data_of):
    config = Config()
    rate = compiled_model(config, data_of(32, 10)).optimizer._learning_rate
    values = [float(rate(update)) for update in range(10 * config.epochs + 1)]
    assert values[0] == pytest.approx(config.learning_rate / 25)
    assert values.index(max(values)) == round(config.warm_up * 10 * config.epochs)
    assert max(values) == pytest.approx(config.learning_rate) and values[-1] == pytest.approx(0, abs=1e-9)


def test_paper_is_the_published_network(data_of):
    model = compiled_model(dataclasses.replace(PAPER, initializer="zeros"), data_of(224, 1000))
    assert model.count_params() == 138_357_544
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    assert PAPER.weight_decay * (1 - model.optimizer.momentum) == pytest.approx(5e-4)
