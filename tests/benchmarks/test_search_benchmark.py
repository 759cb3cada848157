"""benchmarks/search.py: each search is kept as it ends, and the same command goes on with the others."""
import argparse
import json

import matplotlib.image
import pytest

from benchmarks import search


def options(tmp_path, **more):
    return argparse.Namespace(**{"part": "curves", "algorithms": ["random", "bayesian"], "seeds": 2,
                                 "minutes": 20.0, "workers": 1, "quick": False, "again": False,
                                 "fixed": ["--epochs", "6"], "out": tmp_path / "search.json", **more})


def measured(asked, given):
    """What each_search asks of a search that only takes note, and fails at the (algorithm, seed) given."""
    report = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    seen = []

    def pretended(folder, algorithm, seed, _):
        if (algorithm, seed) == given:
            raise RuntimeError("killed")
        seen.append((algorithm, seed))
        return {"best_error": 0.01, "trials": 3, "error_against_seconds": [[60.0, 0.01]]}
    try:
        search.each_search(asked, report, asked.out.parent, pretended)
    except RuntimeError:
        assert given
    return seen


def rows(asked):
    return [(run["algorithm"], run["seed"]) for run in json.loads(asked.out.read_text())["curves"]["runs"]]


def test_a_search_that_fails_takes_no_other_with_it(tmp_path):
    asked = options(tmp_path)
    assert measured(asked, ("random", 1)) == [("random", 0), ("bayesian", 0)]
    assert rows(asked) == [("bayesian", 0), ("random", 0)]
    assert measured(asked, None) == [("random", 1), ("bayesian", 1)]
    assert len(rows(asked)) == 4 and measured(asked, None) == []


@pytest.mark.parametrize("changed", [{"minutes": 5.0}, {"fixed": ["--epochs", "3"]}, {"quick": True},
                                     {"again": True}])
def test_other_settings_are_measured_anew(tmp_path, changed):
    measured(options(tmp_path), None)
    asked = options(tmp_path, seeds=1, algorithms=["random"], **changed)
    assert measured(asked, None) == [("random", 0)]
    assert len(rows(asked)) == 4


def test_searches_of_two_workers_stand_beside_those_of_one(tmp_path):
    measured(options(tmp_path, seeds=1), None)
    asked = options(tmp_path, seeds=1, algorithms=["bayesian"], workers=2)
    assert measured(asked, None) == [("bayesian", 0)] and measured(asked, None) == []
    assert rows(asked) == [("bayesian", 0), ("bayesian", 0), ("random", 0)]
    search.plot(json.loads(asked.out.read_text()), tmp_path / "search.png")


def test_the_picture_shows_what_there_is(tmp_path):
    asked = options(tmp_path)
    measured(asked, None)
    search.plot(json.loads(asked.out.read_text()), tmp_path / "search.png")
    assert matplotlib.image.imread(tmp_path / "search.png")[..., :3].std() > 0.05
