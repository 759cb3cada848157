"""alexnet: that it learns, that each ingredient is left out alone, and the paper's network."""
import dataclasses

import numpy as np
import pytest

from pipelines import cifar
from recipes.images.alexnet import NAMED, PAPER, SMOKE, Config, compiled_model, main
from training import Run


def test_smoke_learns(tmp_path):
    metrics = main(SMOKE, Run(tmp_path / "run", recipe="alexnet", config=SMOKE, seed=0))
    assert metrics["test_accuracy"] > 0.7                             # chance: .1
    assert metrics["val_accuracy"] > 0.7 and (tmp_path / "run" / "model.keras").exists()


def test_pixels_keep_their_scale():
    images = cifar.load("digits", 10, augment="none", std=1 / 255).training[:50].arrays()[0]
    assert np.ptp(images) == pytest.approx(255, abs=2) and abs(images.mean()) < 12


def test_paper_is_the_published_network(data_of):
    model = compiled_model(PAPER, data_of(227, 1000))
    assert model.count_params() == 60_965_224
    assert model.get_layer("stage2_conv").kernel.numpy().std() == pytest.approx(0.01, rel=0.02)
    optimizer = model.optimizer
    assert float(optimizer.learning_rate) == pytest.approx(0.01) and optimizer.momentum == 0.9
    assert PAPER.weight_decay * (1 - optimizer.momentum) == pytest.approx(5e-4)


def test_without_leaves_out_one_ingredient():
    whole, found = dataclasses.asdict(Config()), []
    for name, config in NAMED.items():
        changed = {field for field, value in dataclasses.asdict(config).items() if value != whole[field]}
        if name.startswith("without-"):
            assert len(changed) == 1, name
            found += changed
    assert sorted(found) == ["activation", "dropout", "groups", "pool_size", "response_normalization"]
    data = cifar.load("digits", 10)
    counts = {name: compiled_model(config, data).count_params()
              for name, config in NAMED.items() if config.data == "cifar10"}
    convolutions, dense = 2_334_080 - (11 ** 2 - 5 ** 2) * 3 * 96, 1024 * 1025 + 10 * 1025
    assert counts["whole"] == convolutions + 4 * 256 * 1024 + 1024 + dense == 4_415_882
    # 2x2 windows leave 3x3 places: 28, 14, 7, 3.
    assert counts["without-overlap"] == convolutions + 9 * 256 * 1024 + 1024 + dense
    assert counts["without-towers"] == counts["whole"] + 62_378_344 - 60_965_224


def test_rate_falls_along_a_cosine(data_of):
    rate = compiled_model(Config(), data_of(32, 10)).optimizer._learning_rate
    assert [float(rate(update)) for update in (0, 60, 120)] == pytest.approx([Config().learning_rate,
                                                                             Config().learning_rate / 2, 0])
