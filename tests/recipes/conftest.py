"""The smoke run of each lesson, once for all tests that look at it."""
import importlib
from types import SimpleNamespace

import numpy as np
import pytest

from recipes.catalog import cards
from training import Run


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    """smoke_run("backpropagation") -> (run folder, metrics) of the recipe of that name."""
    done = {}

    def run(name):
        if name not in done:
            recipe = importlib.import_module(f"recipes.{cards()[name].path.parent.name}.{name}")
            folder = tmp_path_factory.mktemp(name) / "run"
            run = Run(folder, recipe=name, config=recipe.SMOKE, seed=0)
            metrics = recipe.main(recipe.SMOKE, run)
            run.finish(metrics)
            done[name] = folder, metrics
        return done[name]
    return run


@pytest.fixture
def drawn():
    """Asserts that a run folder holds exactly the pictures of these names, and that none is blank."""
    def check(folder, *names):
        import matplotlib.image
        pictures = {path.stem: path for path in (folder / "figures").glob("*.png")}
        assert set(pictures) == set(names)
        for name, path in pictures.items():
            pixels = matplotlib.image.imread(path)[..., :3]
            assert min(pixels.shape[:2]) >= 300, name
            assert np.std(pixels) > 0.05 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50, name
    return check


@pytest.fixture
def data_of():
    """data_of(side, classes): what a builder asks of a data set of such colour images, without one."""
    def data(side, num_classes, batches_per_epoch=10):
        return SimpleNamespace(input_shape=(side, side, 3), num_classes=num_classes,
                               train=SimpleNamespace(batches_per_epoch=batches_per_epoch))
    return data
