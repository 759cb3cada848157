import dataclasses

import matplotlib.image
import numpy as np
import pytest

from pipelines import digits
from recipes.images import convnet_mnist
from recipes.images.convnet_mnist import PUBLISHED, RUNGS, SMOKE, Config, compiled_model, draw_ladder, main
from training import Run

PARAMETERS = {"1": 79_510, "2": 289_630, "2b": 29_330, "3": 85_670, "4": 85_670, "5": 85_670,
              "5-300": 215_870, "5-1000": 671_570, "6-100": 95_770, "6-300": 306_170, "6-1000": 1_672_570,
              "7": 1_672_570}


def test_smoke_learns(tmp_path):
    metrics = main(SMOKE, Run(tmp_path / "run", config=SMOKE))
    assert metrics["val_accuracy"] > 0.8 and metrics["test_accuracy"] > 0.7          # chance: .1
    assert metrics["dead_units_stage1"] < 20 and metrics["dead_units_hidden1"] < 100
    assert (tmp_path / "run" / "model.keras").exists()


def test_one_pixel_shifts_multiply_the_updates_of_an_epoch(tmp_path, monkeypatch):
    seen = {}
    load = convnet_mnist.mnist.load
    monkeypatch.setattr(convnet_mnist.mnist, "load",
                        lambda *a, **k: seen.setdefault("data", load(*a, **k)))
    expanded = dataclasses.replace(SMOKE, expanded=True, epochs=1, filters=(), hidden=(10,))
    main(expanded, Run(tmp_path / "run", config=expanded))
    assert seen["data"].train.size == 5 * 1257 and seen["data"].train.order == "shuffled"


@pytest.mark.parametrize("name", RUNGS)
def test_every_rung_is_the_books(name):
    config = RUNGS[name]
    data = digits.load(size=28)
    model = compiled_model(config, data)
    assert model.count_params() == PARAMETERS[name]
    images = 250_000 if config.expanded else 50_000
    updates = config.epochs * images // config.batch_size
    assert updates == (1_000_000 if name == "7" else 1_500_000 if config.expanded else 300_000)
    # network3.py: lambda = .1 over the number of mini-batches, from rung 4 to 6
    decay = 0.1 / (images / 10) if name[0] in "456" else 0.0
    assert config.weight_decay == pytest.approx(decay)


def test_cosine_lets_the_rate_fall_to_nothing():
    data = digits.load(10, size=28)
    assert float(compiled_model(Config(), data).optimizer.learning_rate) == pytest.approx(0.03)
    rate = compiled_model(Config(cosine=True, epochs=3), data).optimizer._learning_rate
    updates = 3 * data.train.batches_per_epoch
    found = [float(rate(update)) for update in (0, updates / 2, updates)]
    assert found == pytest.approx([0.03, 0.015, 0.0], abs=1e-7)


def test_published_figures_are_of_rungs():
    assert set(PUBLISHED) == set(RUNGS) - {"2b"} and RUNGS["4"] == Config()


def test_weight_decay_spares_the_biases():
    model = compiled_model(Config(weight_decay=0.5), digits.load(size=28))
    before = {variable.path: np.asarray(variable) for variable in model.trainable_variables}
    model.optimizer.learning_rate = 1.0
    model.optimizer.apply([variable * 0 for variable in model.trainable_variables], model.trainable_variables)
    for variable in model.trainable_variables:
        kept = 1.0 if "bias" in variable.path else 0.5
        np.testing.assert_allclose(variable, kept * before[variable.path], rtol=1e-6, err_msg=variable.path)


def test_the_ladder_is_drawn(tmp_path):
    run = Run(tmp_path / "run")
    draw_ladder(run, {name: {"test_accuracy": 0.98} for name in RUNGS})
    picture = matplotlib.image.imread(run.figure("ladder"))
    assert picture.shape[0] > 400 and picture[..., :3].std() > 0.05
