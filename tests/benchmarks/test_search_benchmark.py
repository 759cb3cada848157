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
        return {"best_error": 0.01, "trials": 3, "trials_per_hour": 9.0,
                "error_against_seconds": [[60.0, 0.01]]}
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


def test_searches_are_compared_by_algorithm_and_number_of_workers():
    def run(algorithm, error, hourly, **more):
        return {"algorithm": algorithm, "best_error": error, "trials_per_hour": hourly, **more}
    found = search.compared({
        "curves": {"runs": [run("random", .02, 50.), run("random", .01, 70.),
                            run("bayesian", .01, 60., workers=2), run("hyperband", None, 0.)]},
        "optuna": {"runs": [run("optuna", .03, 40., workers=1)]}})
    assert list(found) == ["random", "bayesian, 2 workers", "optuna"]
    assert found["random"]["seeds"] == 2 and found["random"]["trials_per_hour"]["mean"] == 60
    assert found["random"]["best_error_percent"] == {"mean": 1.5, "std": .71, "median": 1.5, "all": [2., 1.]}
    assert found["optuna"]["best_error_percent"]["std"] is None
