"""ensemble_mnist: the vote by hand, a smoke ensemble, and runs that cannot take part."""
import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

from models import nielsen_convnet
from pipelines import digits
from recipes.images import convnet_mnist, ensemble_mnist
from recipes.images.ensemble_mnist import SMOKE, vote
from training import Run


def test_the_majority_wins_over_the_mean():
    probabilities = np.array([[[0.51, 0.49, 0.0]], [[0.51, 0.49, 0.0]], [[0.0, 1.0, 0.0]]])
    chosen, ties = vote(probabilities)
    assert chosen.tolist() == [0] and ties == 0
    assert probabilities.mean(axis=0).argmax(axis=-1).tolist() == [1]


def test_ties_go_to_the_highest_mean_probability_among_the_leaders():
    logits = np.array([
        # two against one; one each; a member each for 0 and 2, and 1 the runner-up of all
        [[3.0, 0, 0], [1, 0, 0], [2, 1.9, 0]],
        [[3.0, 0, 0], [0, 5, 0], [2, 1.9, 0]],
        [[0, 9.0, 0], [0, 0, 2], [0, 1.9, 2.5]],
        [[3.0, 0, 0], [0, 0, 1], [0, 1.9, 2.5]],
    ])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    chosen, ties = vote(probabilities)
    # Third: 0 and 2 have two votes each, 1 none though its mean probability is the highest.
    assert probabilities.mean(axis=0)[2].argmax() == 1
    assert chosen.tolist() == [0, 2, 2] and ties == 1


def test_a_tie_of_two_members_follows_the_surer_one():
    chosen, ties = vote(np.array([[[0.6, 0.4]], [[0.1, 0.9]]]))
    assert chosen.tolist() == [1] and ties == 1


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    """(folder, metrics) of the smoke ensemble, trained once."""
    folder = tmp_path_factory.mktemp("ensemble") / "run"
    return folder, ensemble_mnist.main(SMOKE, Run(folder, config=SMOKE, seed=3))


def test_members_train_as_rung_7_does():
    data, rung = digits.load(10, size=28), convnet_mnist.RUNGS["7"]
    for changes in ({}, {"cosine": True, "learning_rate": 0.3, "epochs": 2}):
        members, single = (recipe.compiled_model(dataclasses.replace(config, **changes), data)
                           for recipe, config in ((ensemble_mnist, ensemble_mnist.Config()),
                                                  (convnet_mnist, rung)))
        assert members.count_params() == single.count_params()
        assert {**members.optimizer.get_config(), "name": ""} == {**single.optimizer.get_config(), "name": ""}


def members(folder):
    return tuple(str(folder / f"member{index}") for index in (1, 2, 3))


def test_the_smoke_ensemble_learns(ensemble):
    folder, metrics = ensemble
    accuracies = [metrics[f"member{index}_accuracy"] for index in (1, 2, 3)]
    assert min(accuracies) > 0.6                                 # chance: 0.1
    assert metrics["vote_accuracy"] >= np.mean(accuracies)
    assert metrics["vote_errors"] == round(360 * (1 - metrics["vote_accuracy"]))
    assert 0.6 < metrics["agreement_mean"] < 1                   # members of other seeds differ
    assert (folder / "figures" / "errors.png").exists()


def test_members_have_seeds_of_their_own(ensemble):
    folder, _ = ensemble
    configs = [json.loads((folder / f"member{index}" / "config.json").read_text()) for index in (1, 2, 3)]
    assert [config["seed"] for config in configs] == [3, 4, 5]


def test_resume_trains_nothing_twice(ensemble):
    folder, metrics = ensemble
    written = [(folder / f"member{index}" / "model.keras").stat().st_mtime_ns for index in (1, 2, 3)]
    assert ensemble_mnist.main(SMOKE, Run(folder, config=SMOKE, seed=3, resume=True)) == metrics
    assert written == [(folder / f"member{index}" / "model.keras").stat().st_mtime_ns for index in (1, 2, 3)]


def test_finished_runs_vote_as_their_members_did(ensemble, tmp_path, capsys):
    folder, metrics = ensemble
    config = dataclasses.replace(SMOKE, runs=members(folder))
    assert ensemble_mnist.main(config, Run(tmp_path / "vote", config=config)) == metrics
    assert "note:" not in capsys.readouterr().err
    two = dataclasses.replace(SMOKE, runs=members(folder)[:2], epochs=7, dropout=0.2)
    assert "member3_accuracy" not in ensemble_mnist.main(two, Run(tmp_path / "two", config=two))
    assert "note: the runs were trained with dropout 0.1, epochs 3. Give the same" in capsys.readouterr().err
    assert ensemble_mnist.trained_otherwise(members(folder), SMOKE, "mixed_bfloat16") == {
        "precision": "float32"}


def refused(config, folder, message):
    with pytest.raises(ValueError, match=message):
        ensemble_mnist.main(config, Run(folder, config=config))


def test_fewer_than_two_members_are_refused(ensemble, tmp_path):
    folder, _ = ensemble
    refused(dataclasses.replace(SMOKE, members=1), tmp_path / "a", "at least 2 members.*members=1")
    refused(dataclasses.replace(SMOKE, runs=members(folder)[:1]), tmp_path / "b", "at least 2 members")
    refused(dataclasses.replace(SMOKE, runs=members(folder)[:1] * 2), tmp_path / "c", "each of them once")


def test_runs_that_do_not_fit_are_refused(ensemble, tmp_path):
    folder, _ = ensemble
    good = members(folder)[0]
    unfinished = tmp_path / "unfinished"
    shutil.copytree(good, unfinished)
    (unfinished / "metrics.json").unlink()
    config = dataclasses.replace(SMOKE, runs=(good, str(unfinished)))
    refused(config, tmp_path / "a", "unfinished is not a finished run: it has no metrics.json")
    config = dataclasses.replace(SMOKE, runs=(good, str(tmp_path / "absent")))
    refused(config, tmp_path / "b", "it has no config.json")

    other_data = tmp_path / "other_data"
    shutil.copytree(good, other_data)
    (other_data / "config.json").write_text('{"config": {"data": "fashion_mnist"}}')
    config = dataclasses.replace(SMOKE, runs=(good, str(other_data)))
    refused(config, tmp_path / "c", "trained on fashion_mnist, but the vote is on digits")

    for name, shape, classes in (("wide", (32, 32, 1), 10), ("many", (28, 28, 1), 47)):
        misfit = tmp_path / name
        shutil.copytree(good, misfit)
        nielsen_convnet(shape, classes, filters=(), hidden=()).save(misfit / "model.keras")
        config = dataclasses.replace(SMOKE, runs=(good, str(misfit)))
        refused(config, tmp_path / f"{name}-vote", f"takes .* and gives {classes} classes")
    keras.backend.clear_session()
