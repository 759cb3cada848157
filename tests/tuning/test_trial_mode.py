"""A recipe as a trial: no test set, a checkpoint to go on from, and a status that tells why it ended."""
import json
import shutil
import sys

import numpy as np
import pytest

from pipelines import digits, mnist
from pipelines.stream import Examples, cut_anew
from recipes.__main__ import main

RUN = ["run", "convnet_mnist", "--data", "digits", "--filters", "8", "--hidden", "20",
       "--learning-rate", ".1", "--trial"]


@pytest.fixture
def recipe(monkeypatch, capfd):
    """Runs a recipe here: (exit status, stderr)."""
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["recipes"])
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        return status or 0, capfd.readouterr().err
    return run


def test_a_trial_leaves_the_test_set_alone_and_can_be_trained_further(recipe, tmp_path, monkeypatch):
    whole, short = tmp_path / "whole", tmp_path / "short"
    load = digits.load

    def without_test(*arguments, **options):
        data = load(*arguments, **options)
        object.__setattr__(data.test, "labels", None)              # whoever looks at them fails
        return data
    monkeypatch.setattr(digits, "load", without_test)
    assert recipe(*RUN, "--epochs", 4, "--run-dir", whole) == (0, "")
    assert recipe(*RUN, "--epochs", 2, "--run-dir", short) == (0, "")
    assert set(json.loads((whole / "metrics.json").read_text())) == {
        "val_accuracy", "best_epoch", "dead_units_stage1", "dead_units_hidden1"}
    assert not list(whole.glob("*.keras")) and not list(whole.glob("*.npz"))
    assert not (whole / "report.html").exists()
    further = shutil.copytree(short, tmp_path / "further")
    (further / "metrics.json").unlink()
    assert recipe(*RUN[:2], "--trial", "--run-dir", further, "--resume", "--epochs", 4) == (0, "")
    assert (further / "history.csv").read_text() == (whole / "history.csv").read_text()
    assert (further / "metrics.json").read_text() == (whole / "metrics.json").read_text()


@pytest.mark.parametrize("name", ["mlp_mnist", "fast_mnist"])
def test_the_other_recipes_give_their_objective(recipe, tmp_path, name):
    assert recipe("run", name, "--smoke", "--trial", "--run-dir", tmp_path / "run") == (0, "")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert .1 < metrics["val_accuracy"] <= 1 and not [key for key in metrics if key.startswith("test")]


def test_a_loss_that_is_not_finite_has_a_status_of_its_own(recipe, tmp_path):
    status, err = recipe(*RUN, "--learning-rate", "1e30", "--epochs", 1, "--run-dir", tmp_path / "run")
    assert status == 3 and err.startswith("error: ") and "Traceback" not in err


def test_other_errors_keep_their_traceback(recipe, tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("the disk is on fire")
    monkeypatch.setattr(mnist, "load", broken)
    status, err = recipe(*RUN, "--run-dir", tmp_path / "run")
    assert status == 1 and "Traceback" in err and err.endswith("RuntimeError: the disk is on fire\n")
    status, err = recipe(*RUN[:-1], "--run-dir", tmp_path / "other")               # not as a trial
    assert status == 2 and err == "error: RuntimeError: the disk is on fire\n"


def test_a_fold_cuts_training_and_validation_anew(recipe, tmp_path):
    whole, folds = digits.load(), [digits.load(fold=(part, 5)) for part in range(1, 6)]
    both = np.concatenate([whole.training.inputs, whole.validation.inputs])
    assert np.array_equal(np.concatenate([each.validation.inputs for each in folds]), both)
    for each in folds:
        assert len(each.validation) + len(each.training) == len(both)
        assert abs(len(each.validation) - len(both) / 5) < 1
        assert np.array_equal(each.test.inputs, whole.test.inputs)
    assert np.array_equal(np.concatenate([folds[0].validation.inputs, folds[0].training.inputs]), both)
    training = Examples(np.arange(6), np.arange(6))
    kept = cut_anew(training, training, None)
    assert kept[0] is training
    status, err = recipe(*RUN, "--fold", "6/5", "--run-dir", tmp_path / "run")
    assert status == 2 and "--fold takes part/parts, such as 2/5. Received: 6/5" in err
    for fold in ("1/5", "2/5"):
        assert recipe(*RUN, "--epochs", 1, "--fold", fold, "--run-dir", tmp_path / fold[0]) == (0, "")
    assert (tmp_path / "1" / "history.csv").read_text() != (tmp_path / "2" / "history.csv").read_text()
