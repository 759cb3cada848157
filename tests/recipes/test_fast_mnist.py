"""fast_mnist: its schedule, its clock, and that the smoke run learns."""
import subprocess
import sys
import time

import pytest

from pipelines import mnist
from recipes.images.fast_mnist import SMOKE, Config, compiled_model, main, seconds_from_start
from training import Run


def test_smoke_learns(tmp_path):
    run = Run(tmp_path / "run", recipe="fast_mnist", config=SMOKE, seed=0)
    metrics = main(SMOKE, run)
    assert metrics["test_accuracy"] > 0.8                              # chance: .1
    assert metrics["test_loss"] < 1.0
    assert (tmp_path / "run" / "model.keras").exists()


def test_one_cycle_of_the_learning_rate():
    config = Config(data="digits")
    rate = compiled_model(config, mnist.load("digits", 100)).optimizer._learning_rate
    values = [float(rate(update)) for update in range(config.updates + 1)]
    assert values[0] == pytest.approx(config.learning_rate / 25)
    assert values.index(max(values)) == round(config.warm_up * config.updates)
    assert max(values) == pytest.approx(config.learning_rate)
    assert values[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells when a process started")
def test_the_clock_counts_from_the_start_of_the_process():
    started = time.perf_counter()
    before = seconds_from_start()
    time.sleep(0.05)
    passed = seconds_from_start() - before
    assert 0.05 - 1e-3 < passed <= time.perf_counter() - started + 1e-3
    program = ("import time; time.sleep(.3); before = time.monotonic(); "
               "from recipes.images.fast_mnist import seconds_from_start; "
               "print(seconds_from_start() - (time.monotonic() - before))")
    seconds = float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                                   check=True).stdout)
    assert seconds >= 0.29                                             # the sleep before our import counts
