"""Searches over the fake recipe, whose trials are processes of milliseconds."""
import dataclasses
import os
import subprocess
import sys

import pytest
from searches import SPACE

from training.results import ROOT
from tuning import spaces
from tuning.search import Search


@pytest.fixture(scope="session")
def space():
    return spaces.load(str(SPACE))


@pytest.fixture
def new(space, tmp_path):
    """new(name, algorithm, trials, epochs=..., config fields...) -> Search, silent."""
    def make(name, algorithm="random", trials=8, *, workers=1, fields=None, fixed=(), **settings):
        base = dataclasses.replace(space.Config(), **(fields or {}))
        settings = {"seed": 0, "repeats": 1, "folds": 0, "factor": 3, "minutes": None, "flags": [],
                    "pruning": algorithm != "hyperband", **settings}
        search = Search.new(tmp_path / name, space, base, algorithm=algorithm, trials=trials,
                            fixed=list(fixed), **settings)
        search.messages = lambda text: None
        return search
    return make


@pytest.fixture
def tuning():
    """Starts `python -m tuning ARGUMENTS`; what is left of it ends with the test."""
    started = []

    def start(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        started.append(subprocess.Popen([sys.executable, "-m", "tuning", *map(str, arguments)],
                                        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True))
        return started[-1]
    yield start
    for process in started:
        process.kill()
        process.wait()
