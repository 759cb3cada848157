"""benchmarks/search_model.py: all kinds of search see the same first trial, and the report has each."""
import json

import numpy as np
import pytest

from benchmarks import search_model


def test_each_kind_is_measured_from_the_same_first_trial(tmp_path, monkeypatch):
    asked = []

    def accuracy(options, data, seed):
        asked.append(options)
        return 0.9 - 0.1 * abs(np.log10(options["learning_rate_init"] / 0.1))

    monkeypatch.setattr(search_model, "accuracy", accuracy)
    out = tmp_path / "model.json"
    search_model.main(["--quick", "--out", str(out)])
    report = json.loads(out.read_text())
    assert report["quick"] and len(asked) == 10 * 2 * len(report["kinds"])
    assert all(options == asked[0] for options in asked[::10])
    for found in report["kinds"].values():
        after = found["best_error_after_trials"]["10"]
        assert min(after["all"]) >= 0.1 and after["mean"] <= 0.1 + 0.1 * np.log10(0.1 / 0.03) + 1e-4


@pytest.mark.filterwarnings("ignore::RuntimeWarning")            # of the training that overflows
def test_the_training_is_one_and_a_hopeless_one_is_chance():
    data = search_model.digits()
    parameters = search_model.keras_tuner.HyperParameters()
    options = search_model.sample(parameters)
    assert search_model.accuracy(options, data, 0) == search_model.accuracy(options, data, 0) > 0.8
    assert search_model.accuracy({**options, "learning_rate_init": 1e30}, data, 0) <= 0.2
