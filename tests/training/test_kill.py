"""Runs that are killed end as those that were not: weights, optimizer, metrics and history, bit by bit."""
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from training.results import ROOT

PROGRAM = Path(__file__).with_name("killed_run.py")
DEADLINE = 180                 # seconds; only a hanging process comes near it


def start(kind, folder, *options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen([sys.executable, PROGRAM, kind, folder, *options], env=environment,
                            stderr=subprocess.PIPE, text=True)


def ended(process):
    """(status, stderr) of a process, which does not outlive the test."""
    try:
        _, errors = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    return process.returncode, errors


def newest(folder):
    return max((path.name for path in folder.glob("checkpoints/[0-9]*.npz")), default="")


def kill(process, folder, delay):
    """Sends SIGKILL a while after the first checkpoint of this process; True if it was still at work."""
    before, deadline = newest(folder), time.monotonic() + DEADLINE
    while process.poll() is None and newest(folder) == before:
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.002)
    time.sleep(delay)                                   # the moment of the kill, not a synchronisation
    process.kill()
    return ended(process)[0] == -signal.SIGKILL


def assert_same_end(folder, other):
    assert (folder / "history.csv").read_bytes() == (other / "history.csv").read_bytes()
    with np.load(folder / "final.npz") as one, np.load(other / "final.npz") as two:
        assert one.files == two.files
        for name in one.files:
            np.testing.assert_array_equal(one[name], two[name])


def test_killed_in_an_epoch_and_while_a_checkpoint_is_written(tmp_path):
    folder, other = tmp_path / "run", tmp_path / "other"
    assert kill(start("schedule", folder), folder, 0.05)
    assert ended(start("schedule", folder, "--die-writing", "6"))[0] == -signal.SIGKILL
    assert list((folder / "checkpoints").glob(".*.part*"))                   # the half that was written
    assert ended(start("schedule", folder, "--undisturbed", other))[0] == 0
    assert_same_end(folder, other)


@pytest.mark.slow
def test_a_loop_of_its_own_is_killed(tmp_path):
    folder, other = tmp_path / "run", tmp_path / "other"
    assert kill(start("own", folder), folder, 0.1)
    assert ended(start("own", folder, "--undisturbed", other))[0] == 0
    assert_same_end(folder, other)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["schedule", "plateau", "own"])
def test_killed_at_random_moments(tmp_path, kind):
    moments, kills = random.Random(f"{kind} 1"), 0
    for attempt in range(20):
        folder = tmp_path / f"run{attempt}"
        while kills < 8 and kill(start(kind, folder), folder, moments.uniform(0, 0.6)):
            kills += 1
        if kills == 8:
            break
    other = tmp_path / "other"
    assert ended(start(kind, folder, "--undisturbed", other))[0] == 0
    assert_same_end(folder, other)
    if kind == "plateau":                                # the callbacks acted, or nothing was tested
        rows = (folder / "history.csv").read_text().splitlines()
        assert 3 < len(rows) < 9 and len({row.split(",")[rows[0].split(",").index("learning_rate")]
                                          for row in rows[1:]}) > 1
