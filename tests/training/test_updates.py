"""A loop of one's own: history, resume, and what it says when a value is not finite."""
import keras
import numpy as np
import pytest

from training import Run


def falling(folder, total, *, stop_at=None, rate=0.1):
    """Gradient descent on x^2 from 1, logged every second update; its last x and the loop."""
    run = Run(folder, checkpoint_every=3, resume=(folder / "config.json").exists())
    x = keras.Variable(1.0)
    updates = run.updates(total, {"x": x})
    for i in updates:
        if i == stop_at:
            raise InterruptedError
        x.assign(x - rate * 2 * x)
        if i % 2:
            updates.log(loss=x * x)
    return float(x.numpy()), updates


def test_goes_on_from_its_checkpoint(tmp_path):
    whole, first = falling(tmp_path / "whole", 11)
    with pytest.raises(InterruptedError):
        falling(tmp_path / "cut", 11, stop_at=7)
    assert (tmp_path / "cut" / "history.csv").read_text().count("\n") == 4          # updates 2, 4, 6
    again, second = falling(tmp_path / "cut", 11)
    assert again == whole == pytest.approx(0.8 ** 11) and first.history == second.history
    assert [row["updates"] for row in second.history] == [2, 4, 6, 8, 10]
    assert falling(tmp_path / "cut", 11)[0] == whole                                 # nothing left to do


@pytest.mark.parametrize(("rate", "message"), [
    (10.0, r"loss became inf by update 16 \(it was 6.38\S+ at update 14\). The last checkpoint, of"),
    (1e30, "loss became inf by update 2. First not finite: x.")])
def test_a_value_that_is_not_finite_ends_the_loop_and_says_what_it_saw(tmp_path, rate, message):
    with pytest.raises(FloatingPointError, match=message):
        falling(tmp_path / "run", 500, rate=rate)
    assert not any("inf" in path.read_text() for path in tmp_path.glob("run/history.csv"))


def test_bad_arguments(tmp_path):
    run = Run(tmp_path / "run")
    with pytest.raises(ValueError, match="at least 1. Received: 0"):
        run.updates(0, {})
    with pytest.raises(TypeError, match="list cannot be|a list has neither"):
        for _ in run.updates(1, {"rows": [np.ones(2)]}):
            pass
