"""ensemble: three small networks together, and runs that cannot take part."""
import dataclasses
import shutil

import numpy as np
import pytest

from recipes.images import ensemble
from recipes.images.ensemble import SMOKE
from training import Run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble") / "run"
    return folder, ensemble.main(SMOKE, Run(folder, config=SMOKE, seed=1))


def members(folder):
    return tuple(str(folder / f"member{index}") for index in (1, 2, 3))


def together(runs, folder, **changes):
    config = dataclasses.replace(SMOKE, runs=tuple(runs), **changes)
    return ensemble.main(config, Run(folder, config=config))


def test_the_smoke_ensemble_learns(finished):
    folder, metrics = finished
    alone = [metrics[f"member{index}_accuracy"] for index in (1, 2, 3)]
    assert min(alone) > 0.7 and metrics["test_accuracy"] >= np.mean(alone)              # chance: 0.1
    assert 0.6 < metrics["agreement_mean"] < 1 and 0 < metrics["calibration_error"] < 0.5
    assert (folder / "figures" / "ensemble.png").stat().st_size > 10_000


def test_finished_runs_decide_as_their_outputs_say(finished, tmp_path):
    folder, metrics = finished
    assert together(members(folder), tmp_path / "mean") == metrics
    stored = [np.load(folder / f"member{index}" / "predictions.npz") for index in (1, 2, 3)]
    exponentials = np.exp([one["logits"].astype(np.float64) for one in stored])
    mean = (exponentials / exponentials.sum(axis=-1, keepdims=True)).mean(axis=0)
    labels = stored[0]["labels"]
    assert metrics["mean_probability_accuracy"] == np.mean(mean.argmax(axis=1) == labels)
    kept = np.load(tmp_path / "mean" / "predictions.npz")
    np.testing.assert_array_equal(kept["logits"].argmax(axis=1), mean.argmax(axis=1))
    vote = together(members(folder), tmp_path / "vote", decision="vote")
    assert vote["test_accuracy"] == metrics["vote_accuracy"]
    kept = np.load(tmp_path / "vote" / "predictions.npz")
    assert np.mean(kept["logits"].argmax(axis=1) == labels) == metrics["vote_accuracy"]


def test_runs_that_do_not_fit_are_refused(finished, tmp_path):
    folder, _ = finished
    good = members(folder)[0]
    with pytest.raises(ValueError, match="at least 2 members, each of them once"):
        together([good, good], tmp_path / "a")
    with pytest.raises(ValueError, match="Received: 'both'"):
        together(members(folder), tmp_path / "b", decision="both")
    with pytest.raises(ValueError, match="absent is not a finished run"):
        together([good, str(tmp_path / "absent")], tmp_path / "c")
    other = tmp_path / "other"
    shutil.copytree(good, other)
    with np.load(other / "predictions.npz") as stored:
        logits, labels = stored["logits"], stored["labels"]
    np.savez(other / "predictions.npz", logits=logits, labels=labels[::-1])
    with pytest.raises(ValueError, match="other .* was tested on other examples"):
        together([good, str(other)], tmp_path / "d")
    (other / "predictions.npz").unlink()
    with pytest.raises(ValueError, match="kept no outputs"):
        together([good, str(other)], tmp_path / "e")
