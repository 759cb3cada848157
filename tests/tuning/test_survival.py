"""Kills: of the search, of its chief, of workers over gRPC. Each process starts TensorFlow, seconds."""
import json
import signal
import socket
import subprocess
import time

import pytest
from searches import DEADLINE, SPACE, outcome, until

from tuning.search import Search, records

SLOW = ["--epochs", "4", "--pause", "0.3"]


def rows_of(folder):
    try:
        return records(Search(folder))
    except FileNotFoundError:
        return []


def ended(folder):
    return sum(row["outcome"] != "running" for row in rows_of(folder))


def running(folder):
    """Whether a trial is in the middle of its epochs."""
    return any(row["outcome"] == "running" and list((folder / f"trial_{row['id']}").glob("*/history.csv"))
               for row in rows_of(folder))


def processes(folder):
    """The trials' processes that are still there."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [each for each in listed.splitlines() if "tuning.process" in each and str(folder) in each]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def epochs_made(folder, trial_id):
    """How often an epoch of a trial was made, by all who ran it."""
    return sum(path.read_text().count("e") for path in (folder / f"trial_{trial_id}").rglob("starts.txt"))


@pytest.mark.slow
def test_a_search_killed_with_9_goes_on_to_the_same_end(new, tuning, tmp_path):
    whole = new("whole", trials=5, fields={"pause": .3, "epochs": 4}, fixed=["pause"])
    whole.run()
    folder = tmp_path / "killed"
    search = tuning("search", SPACE, "--trials", 5, *SLOW, "--folder", folder)
    until(lambda: ended(folder) == 2 and running(folder))
    search.kill()
    search.wait()
    until(lambda: not processes(folder))
    again = tuning("resume", folder)
    text, _ = again.communicate(timeout=DEADLINE)
    assert again.returncode == 0, text
    assert outcome(Search(folder)) == outcome(whole)
    assert "5 trials" in text and "best: trial" in text
    assert all(epochs_made(folder, row["id"]) <= 5 for row in rows_of(folder))      # gone on, not begun again


def test_ctrl_c_saves_and_says_how_to_go_on(tuning, tmp_path):
    folder = tmp_path / "stopped"
    search = tuning("search", SPACE, "--trials", 3, *SLOW, "--folder", folder)
    until(lambda: running(folder))
    search.send_signal(signal.SIGINT)
    text, _ = search.communicate(timeout=DEADLINE)
    assert search.returncode == 130 and f"go on with: python -m tuning resume {folder}" in text
    assert not processes(folder)


@pytest.mark.slow
def test_a_real_recipe_killed_in_a_trial_goes_on_from_its_checkpoint(tuning, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    flags = ["convnet_mnist", "--data", "digits", "--filters", 8, "--hidden", 20, "--epochs", 12,
             "--trials", 2, "--folder"]
    search = tuning("search", *flags, whole)
    text, _ = search.communicate(timeout=DEADLINE)
    assert search.returncode == 0, text
    search = tuning("search", *flags, folder)
    until(lambda: ended(folder) == 1 and running(folder))
    search.kill()
    search.wait()
    until(lambda: not processes(folder))
    history = folder / "trial_1" / "run" / "history.csv"
    assert 1 < len(history.read_text().splitlines()) < 13            # in the middle, or nothing is tested
    text, _ = (again := tuning("resume", folder)).communicate(timeout=DEADLINE)
    assert again.returncode == 0, text
    assert outcome(Search(folder)) == outcome(Search(whole))
    assert history.read_text() == (whole / "trial_1" / "run" / "history.csv").read_text()


@pytest.mark.slow
def test_a_silent_worker_s_trial_goes_on_elsewhere_and_its_own_end_is_not_heard(tuning, tmp_path):
    folder, port = tmp_path / "far", free_port()
    chief = tuning("chief", SPACE, "--trials", 2, "--epochs", 60, "--pause", ".5", "--no-pruning",
                   "--folder", folder, "--port", port)
    until(lambda: (folder / "chief.json").exists())
    sleeper = tuning("worker", folder)
    until(lambda: running(folder))
    sleeper.send_signal(signal.SIGSTOP)                              # its trial trains on
    other = tuning("worker", folder)
    until(lambda: list(folder.glob("trial_0/taken-*")))
    sleeper.send_signal(signal.SIGCONT)
    text, _ = chief.communicate(timeout=2 * DEADLINE)
    assert chief.returncode == 0, text
    rows = rows_of(folder)
    assert [row["outcome"] for row in rows] == ["finished"] * 2
    assert rows[0]["worker"].endswith(str(other.pid))
    assert sleeper.wait(timeout=DEADLINE) == other.wait(timeout=DEADLINE) == 0
    assert "has not been heard of" in text


@pytest.mark.slow
def test_workers_and_the_chief_are_killed_and_no_trial_is_lost_or_run_twice(tuning, tmp_path):
    folder, port = tmp_path / "far", free_port()
    chief = tuning("chief", SPACE, "--trials", 12, *SLOW, "--no-pruning", "--folder", folder, "--port", port)
    until(lambda: (folder / "chief.json").exists())
    other = tuning("chief", SPACE, "--trials", 1, "--folder", tmp_path / "other", "--port", port)
    workers = [tuning("worker", folder, "--threads", 1) for _ in range(2)]
    text, _ = other.communicate(timeout=DEADLINE)
    assert other.returncode == 2 and "Is another chief at it?" in text
    until(lambda: ended(folder) >= 2 and running(folder))
    workers[0].kill()                                      # -9, in the middle of a trial
    killed = time.monotonic()
    until(lambda: ended(folder) >= 4)
    chief.kill()
    chief.wait()
    time.sleep(1)
    chief = tuning("resume", folder)
    workers.append(tuning("worker", folder, "--threads", 1))
    text, _ = chief.communicate(timeout=DEADLINE)
    assert chief.returncode == 0, text
    assert time.monotonic() - killed < 90
    for worker in workers[1:]:
        text, _ = worker.communicate(timeout=DEADLINE)
        assert worker.returncode == 0, text
    rows = rows_of(folder)
    assert [row["id"] for row in rows] == [f"{index:02d}" for index in range(12)]
    assert {row["outcome"] for row in rows} == {"finished"}
    assert len({json.dumps(row["values"]) for row in rows}) == 12
    again = [row["id"] for row in rows if epochs_made(folder, row["id"]) > 4]
    assert len(again) <= 2 and all(epochs_made(folder, name) <= 8 for name in again)
    state = json.loads((folder / "oracle.json").read_text())
    assert not state["ongoing_trials"] and not state["retry_queue"]
    assert len(state["end_order"]) == len(set(state["end_order"])) == 12
