"""The model of Bayesian search, without a search around it."""
import keras_tuner
import numpy as np
import pytest
from keras_tuner.engine.trial import TrialStatus

from tuning.oracles import Ranked


def oracle(tmp_path, parameters, direction="max", initial=6):
    made = Ranked(objective=keras_tuner.Objective("score", direction), max_trials=100, seed=3,
                  hyperparameters=parameters, num_initial_points=initial)
    made.verbose = 0
    keras_tuner.engine.base_tuner.BaseTuner(made, directory=str(tmp_path), project_name="search")
    return made


def tried(made, score, count):
    """Values and scores of the first trials, as many as count, or as there are."""
    found = []
    for _ in range(count):
        trial = made.create_trial("worker")
        if trial.status == TrialStatus.STOPPED:
            break
        found.append((dict(trial.hyperparameters.values), score(trial.hyperparameters.values)))
        made.update_trial(trial.trial_id, {"score": found[-1][1]})
        trial = made.trials[trial.trial_id]
        trial.status = TrialStatus.COMPLETED
        made.end_trial(trial)
    return found


def rate_and_others():
    parameters = keras_tuner.HyperParameters()
    parameters.Float("rate", 1e-3, 1.0, sampling="log")
    for name in ("useless", "idle"):
        parameters.Float(name, 0.0, 1.0)
    return parameters


def fails_far_off(values):
    """A training: nothing is learnt with too large a rate; else .99 at most, at a rate of .05."""
    distance = np.log10(values["rate"] / 0.05)
    return 0.1 if distance > 0.7 else 0.99 - 0.01 * distance ** 2


def test_the_model_finds_small_differences_beside_trainings_that_came_to_nothing(tmp_path):
    found = tried(oracle(tmp_path, rate_and_others()), fails_far_off, 16)
    random, chosen = found[:6], found[6:]
    assert any(score == 0.1 for _, score in random)
    assert np.median([score for _, score in chosen]) > max(score for _, score in random)
    assert max(score for _, score in chosen) > 0.9895


def test_scores_are_as_they_were_after_the_model_has_seen_their_ranks(tmp_path):
    made = oracle(tmp_path, rate_and_others())
    found = tried(made, fails_far_off, 8)
    assert [trial.score for trial in made.trials.values()] == [score for _, score in found]
    _, errors = made._vectorize_trials()
    order = np.argsort([-score for _, score in found], kind="stable")
    assert np.all(np.diff(errors[order]) >= 0) and len(set(errors)) > 4
    assert np.isclose(errors.mean(), 0, atol=1e-9)


@pytest.mark.parametrize("kind, momentum", [("plain", 0.0), ("momentum", 0.9)])
def test_an_unused_parameter_stands_at_its_default(tmp_path, kind, momentum):
    parameters = keras_tuner.HyperParameters()
    parameters.Choice("kind", ["plain", "momentum"], ordered=False)
    with parameters.conditional_scope("kind", ["momentum"]):
        parameters.Choice("momentum", [0.0, 0.5, 0.9], default=0.0)
    made = oracle(tmp_path, parameters)
    whole = dict(zip(("kind", "momentum"), made.as_it_would_be([0.9 if kind == "momentum" else 0.1, 0.99]),
                     strict=True))
    assert [parameters.space[index].prob_to_value(part) for index, part in enumerate(whole.values())] == [
        kind, momentum]


def test_an_error_is_minimised(tmp_path):
    found = tried(oracle(tmp_path, rate_and_others(), "min"), lambda values: 1 - fails_far_off(values), 16)
    scores = [score for _, score in found]
    assert np.median(scores[6:]) < min(scores[:6]) and min(scores) < 0.0105


@pytest.mark.parametrize("initial", [None, 1, 3])
def test_a_small_space_is_tried_whole_and_nothing_twice(tmp_path, initial):
    parameters = keras_tuner.HyperParameters()
    parameters.Choice("width", [1, 2, 3])
    parameters.Boolean("bias")
    found = tried(oracle(tmp_path, parameters, initial=initial), lambda values: float(values["width"]), 20)
    assert len(found) == 6 and len({tuple(values.items()) for values, _ in found}) == 6


def test_where_nothing_is_searched_there_is_one_trial(tmp_path):
    found = tried(oracle(tmp_path, keras_tuner.HyperParameters(), initial=None), lambda values: 0.5, 5)
    assert found == [({}, 0.5)]
