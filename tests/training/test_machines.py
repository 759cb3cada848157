"""A recipe under the launcher, its workers killed at seeded random moments."""
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from training.results import ROOT
from training.run import load_network

DEADLINE = 300                                  # seconds; only a hanging process comes near it


def launched(folder, workers, *options):
    command = [sys.executable, "-m", "recipes", "run", "fast_mnist", "--data", "digits", "--updates", "240",
               "--batch-size", "48", "--checkpoint-every", "20", "--run-dir", str(folder), *options]
    launcher = [sys.executable, "-m", "training.launch", "--workers", str(workers), "--restarts", "9", "--"]
    return subprocess.Popen([*launcher, *command], cwd=ROOT, text=True, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})


def ended(process):
    """(status, stderr); the launcher, which ends its workers, does not outlive the test."""
    try:
        _, errors = process.communicate(timeout=DEADLINE)
    finally:
        process.terminate()
        process.wait(60)
    return process.returncode, errors


def children(process):
    """The process numbers of the workers, in their order."""
    found = subprocess.run(["ps", "--ppid", str(process.pid), "-o", "pid=", "--sort", "start_time"],
                           capture_output=True, text=True)
    return [int(number) for number in found.stdout.split()]


def until_a_new_checkpoint(process, folder):
    before, deadline = set(folder.glob("checkpoints/[0-9]*")), time.monotonic() + DEADLINE
    while process.poll() is None and set(folder.glob("checkpoints/[0-9]*")) <= before:
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.01)
    return process.poll() is None


def results(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics.pop("seconds_from_start")
    return metrics, (folder / "history.csv").read_text(), load_network(folder / "model.keras").get_weights()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_killed_workers_end_as_undisturbed_ones(tmp_path, workers):
    moments, kills, process = random.Random(workers), 0, launched(tmp_path / "killed", workers)
    try:
        for _ in range(4):
            if not until_a_new_checkpoint(process, tmp_path / "killed"):
                break
            time.sleep(moments.uniform(0, 0.5))                        # the moment, not a synchronisation
            running = children(process)
            if running:
                os.kill(moments.choice(running), signal.SIGKILL)
                kills += 1
    finally:
        status, errors = ended(process)
    assert status == 0, errors
    assert kills >= 3 and len(re.findall("all workers start again", errors)) >= 3, errors
    assert ended(launched(tmp_path / "whole", workers))[0] == 0
    metrics, history, weights = results(tmp_path / "killed")
    undisturbed = results(tmp_path / "whole")
    assert (metrics, history) == undisturbed[:2]
    for one, other in zip(weights, undisturbed[2], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_stop_is_saved_and_resumed(tmp_path):
    process = launched(tmp_path / "run", 2)
    try:
        assert until_a_new_checkpoint(process, tmp_path / "run")
        process.send_signal(signal.SIGTERM)
    finally:
        status, errors = ended(process)
    assert status == 143
    assert re.search("saved at update .* of 240. Go on with: python -m recipes resume", errors), errors
    assert ended(launched(tmp_path / "run", 2, "--resume"))[0] == 0
    assert ended(launched(tmp_path / "whole", 2))[0] == 0
    assert results(tmp_path / "run")[:2] == results(tmp_path / "whole")[:2]
