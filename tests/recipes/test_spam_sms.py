"""spam_sms: threshold and measures by hand, the smoke run, bad folds."""
import dataclasses

import numpy as np
import pytest

from recipes.sequences.spam_sms import SMOKE, best_threshold, main, measures, shortened
from training import Run


def test_measures():
    blocked = np.array([True, True, True, False, False, False])
    labels = np.array([1, 1, 0, 1, 0, 0])
    found = measures(blocked, labels)
    assert found == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "accuracy": 4 / 6,
                                   "ham_blocked": 1 / 3})
    assert measures(np.zeros(3, bool), np.array([0, 1, 0]))["f1"] == 0


def test_the_threshold_is_the_best_of_all_but_for_one_message():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 40)
    z = labels + generator.normal(size=40)
    found = measures(z > best_threshold(z, labels), labels)["f1"]
    best = max(measures(z > cut, labels)["f1"] for cut in [-np.inf, *z])
    assert best - 1 / labels.sum() < found <= best


def test_smoke(smoke_run, drawn):
    folder, metrics = smoke_run("spam_sms")
    drawn(folder, "spam")
    assert metrics["f1"] > 0.9 and metrics["precision"] > 0.9 and metrics["recall"] > 0.9
    assert {path.name for path in folder.glob("fold-*")} == {"fold-1", "fold-2"}


@pytest.mark.slow
def test_an_lstm_reads_messages_too(tmp_path):
    config = dataclasses.replace(SMOKE, network="lstm", pairs=0, folds=1)
    assert main(config, Run(tmp_path / "run", config=config))["f1"] > 0.9


def test_folds_that_do_not_exist_are_refused(tmp_path):
    config = dataclasses.replace(SMOKE, folds=6)
    with pytest.raises(ValueError, match=r"folds must be in \[1, 5\]"):
        main(config, Run(tmp_path / "run", config=config))


def test_shortened():
    assert shortened("a\tb") == "a b" and shortened("x" * 10, 8) == "xxxxx..."
