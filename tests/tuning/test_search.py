"""Algorithms, outcomes and resume, with a recipe that takes milliseconds and no TensorFlow."""
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from searches import outcome, until

from training.results import ROOT
from tuning import oracles
from tuning.process import Starter
from tuning.search import Search, Stopped, ranked, records
from tuning.worker import Worker, history


def starts(search, trial_id):
    return (search.trial_folder(trial_id) / "run" / "starts.txt").read_text()


@pytest.mark.parametrize("algorithm, trials", [("random", 8), ("grid", 8), ("bayesian", 13),
                                               ("hyperband", None)])
def test_the_same_seed_gives_the_same_search_and_a_stopped_one_goes_on(new, monkeypatch, algorithm, trials):
    whole, cut = new("whole", algorithm, trials), new("cut", algorithm, trials)
    whole.run()
    looks = iter(range(4))
    monkeypatch.setattr(cut, "watch", lambda *_: next(looks))         # stopped at the fifth look, wherever
    with pytest.raises(StopIteration):                                # the search is by then
        cut.run()
    assert len(records(cut)) < len(records(whole))
    again = Search(cut.folder)
    again.messages = lambda text: None
    again.run()
    assert outcome(again) == outcome(whole)
    rows = records(whole)
    assert {row["outcome"] for row in rows} <= {"finished", "pruned"}
    assert len({json.dumps(row["values"]) + str(row["continues"]) for row in rows}) == len(rows)
    first = rows[0]["config"]
    assert {**first, "epochs": 4} == {**whole.base, "epochs": 4}, "the first trial is the recipe's own"
    if trials:
        assert len(rows) == trials


def test_another_seed_is_another_search(new):
    one, other = new("one", trials=4), new("other", trials=4, seed=1)
    one.run()
    other.run()
    drawn = [{row["values"]["rate"] for row in records(search)[1:]} for search in (one, other)]
    assert not drawn[0] & drawn[1]


@pytest.mark.parametrize("asked, initial", [({}, 5), ({"initial_points": 2}, 2)])
def test_bayesian_search_is_random_only_until_its_model_chooses(new, asked, initial):
    """Left to itself, keras-tuner draws three for each parameter: 12 here, and 24 of 20 for convnet_mnist."""
    drawn, chosen = new("drawn", "random", initial + 2), new("chosen", "bayesian", initial + 2, **asked)
    drawn.run()
    chosen.run()
    drawn, chosen = ([row["values"] for row in records(search)] for search in (drawn, chosen))
    assert chosen[:initial] == drawn[:initial]
    assert all(values not in drawn for values in chosen[initial:])


def test_grid_goes_through_all_combinations_of_what_is_not_fixed(new):
    search = new("grid", "grid", None, fields={"rate": .01, "width": 6}, fixed=["rate", "width"])
    search.run()
    assert [(row["config"]["kind"], row["config"]["momentum"]) for row in records(search)] == [
        ("plain", 0.0), ("momentum", 0.5), ("momentum", 0.9)]
    assert all(row["config"]["rate"] == .01 and "rate" not in row["values"] for row in records(search))


def test_a_fixed_value_decides_what_depends_on_it(new):
    search = new("fixed", "grid", None, fields={"rate": .01, "width": 6, "kind": "momentum"},
                 fixed=["rate", "width", "kind"])
    search.run()
    assert [row["config"]["momentum"] for row in records(search)] == [0.5, 0.9]


def test_hyperband_continues_the_rung_before(new):
    search = new("hyperband", "hyperband", None, fields={"epochs": 9})
    search.run()
    rows = {row["id"]: row for row in records(search)}
    assert not list(search.folder.glob("**/checkpoints"))
    continued = [row for row in rows.values() if row["continues"]]
    assert len(continued) > 4 and any(rows[row["continues"]]["continues"] for row in continued)
    for row in continued:
        source = rows[row["continues"]]
        assert row["config"] == {**source["config"], "epochs": row["config"]["epochs"]}
        assert row["epochs"] == row["config"]["epochs"] - source["config"]["epochs"] > 0
        # Every epoch of the whole was made once, by one of the two.
        assert starts(search, row["id"]).count("e") == row["config"]["epochs"]
        assert [each["epoch"] for each in history(search.trial_folder(row["id"]) / "run")] == list(
            range(1, row["config"]["epochs"] + 1))


def test_two_workers_share_a_search(new):
    search = new("two", trials=8, fields={"pause": .02}, pruning=False)
    search.run(workers=2)
    rows = records(search)
    assert len(rows) == 8 and {row["outcome"] for row in rows} == {"finished"}
    assert {row["worker"] for row in rows} == {"local0", "local1"}
    assert all(starts(search, row["id"]) == "seeee" for row in rows)         # none was run twice


def test_bad_trials_end_early_and_keep_their_value(new):
    search = new("pruned", trials=14)
    search.run()
    pruned = [row for row in records(search) if row["outcome"] == "pruned"]
    assert pruned
    for row in pruned:
        curve = [each["val_score"] for each in history(search.trial_folder(row["id"]) / "run")]
        ended = int(row["reason"].split()[-2])
        assert row["value"] == max(curve[:ended])
    unpruned = new("unpruned", trials=14, pruning=False)
    unpruned.run()
    assert {row["outcome"] for row in records(unpruned)} == {"finished"}
    assert ranked(search, records(search))[0]["values"] == ranked(unpruned, records(unpruned))[0]["values"]


def test_repeats_and_folds_are_averaged(new):
    search = new("repeats", trials=2, repeats=2, folds=3, pruning=False)
    search.run()
    for row in records(search):
        assert len(row["values"]) and len(list(search.trial_folder(row["id"]).glob("run-*"))) == 6
        config = search.loaded.Config(**row["config"])
        from fake_recipe import value
        expected = sum(value(config, 4, seed) for seed in (0, 1)) / 2
        assert row["value"] == pytest.approx(expected, abs=1e-12)


# What goes wrong


def test_a_loss_that_is_not_finite_is_a_bad_trial(new):
    search = new("nan", "bayesian", 5, fields={"fault": "nan"})
    search.run()
    rows = records(search)
    assert [row["outcome"] for row in rows] == ["diverged"] * 5
    assert rows[0]["reason"] == "the loss became nan at update 25" and rows[0]["value"] is None
    assert not ranked(search, rows)


def test_a_configuration_that_cannot_be_is_rejected_with_its_reason(new):
    search = new("impossible", trials=5, fields={"fault": "impossible", "width": 3}, fixed=["width"])
    with pytest.raises(Stopped, match="rejected with the same reason: width must be even. Received: 3"):
        search.run()
    search = new("others", trials=5, fields={"fault": "impossible"})
    search.run()
    reasons = [row["reason"] for row in records(search)]
    assert len(reasons) == 5 and len(set(reasons)) > 2


def test_three_exceptions_in_a_row_stop_the_search_with_the_first_traceback(new):
    search = new("exceptions", trials=8, fields={"fault": "exception"})
    with pytest.raises(Stopped) as error:
        search.run()
    assert "Traceback (most recent call last)" in str(error.value)
    assert f"RuntimeError: no such width: {search.base['width']}" in str(error.value)
    assert [row["outcome"] for row in records(search)] == ["error"] * 3


def test_too_little_memory_is_one_failed_trial(new):
    search = new("memory", trials=2, fields={"fault": "memory"})
    search.run()
    rows = records(search)
    assert [row["outcome"] for row in rows] == ["killed"] * 2 and "SIGKILL" in rows[0]["reason"]
    assert rows[0]["starts"] == 3


def test_a_killed_trial_goes_on_where_it_was(new, tmp_path):
    search = new("killed", trials=1, fields={"fault": "killed once", "marker": str(tmp_path / "marker")})
    search.run()
    assert starts(search, "0") == "seesee" and records(search)[0]["outcome"] == "finished"


def test_the_time_of_a_search_is_kept(new):
    search = new("time", trials=None, minutes=.02, fields={"pause": .2, "epochs": 50}, pruning=False)
    began = time.monotonic()
    search.run()
    assert time.monotonic() - began < 10
    rows = records(search)
    assert rows[-1]["outcome"] == "pruned" and "time" in rows[-1]["reason"] and rows[-1]["value"] is not None


# Leases, without a network


def test_a_trial_whose_worker_is_silent_is_another_s(new, monkeypatch):
    search = new("lease", trials=2, pruning=False)
    search.load_space()
    oracle = oracles.create(search)
    lost = oracle.create_trial("far")
    assert oracle.return_lost() == {}
    monkeypatch.setattr(oracles, "LEASE", 0)
    assert oracle.update_trial(f"{lost.trial_id}@far", {}).status == "RUNNING"
    time.sleep(.01)
    assert oracle.return_lost() == {"far": lost.trial_id}
    monkeypatch.undo()
    mine = oracle.create_trial("near")
    assert mine.trial_id == lost.trial_id
    assert oracle.update_trial(f"{lost.trial_id}@far", {}).status == "INVALID"
    lost.trial_id = f"{mine.trial_id}@far"
    oracle.end_trial(lost)                                      # it comes back: not heard
    assert list(oracle.ongoing_trials) == ["near"] and not oracle.end_order


def test_workers_wait_while_another_s_trial_may_come_back(new):
    search = new("wait", trials=1, pruning=False)
    search.load_space()
    oracle = oracles.create(search)
    oracle.create_trial("far")
    worker = Worker(search, oracle, "near", wait=.01)
    thread = threading.Thread(target=worker.work)
    thread.start()
    time.sleep(.1)
    assert thread.is_alive() and not oracle.finished
    assert oracle.give_back("far") == "0"
    thread.join(timeout=20)
    assert oracle.finished and records(search)[0]["worker"] == "near"


def test_a_process_that_was_killed_while_it_waited_costs_no_trial(new):
    search = new("waited", trials=3, pruning=False)
    search.load_space()
    worker = Worker(search, oracles.create(search), "near", wait=.01)
    worker.starter = killed = Starter(search.recipe, search.folder)
    killed.process.kill()
    killed.process.wait()
    worker.work()
    assert [row["outcome"] for row in records(search)] == ["finished"] * 3
    assert worker.starter is not killed and worker.starter.gone          # there was no trial for it any more


@pytest.fixture
def starter():
    """Makes Starters of a Python file; what is left of them ends with the test."""
    made = []

    def make(recipe):
        made.append(Starter(str(recipe), recipe.parent))
        return made[-1]
    yield make
    for each in made:
        each.close()


def ended(starter):
    """The exit status of its trial, once that has ended."""
    until(lambda: starter.poll() is not None)
    return starter.poll()


def test_trials_are_forked_from_one_process_and_end_as_they_end(starter, tmp_path):
    recipe = tmp_path / "recipe.py"
    recipe.write_text("import os, sys\nprint(os.getpid(), os.getppid(), flush=True)\n"
                      "os.kill(os.getpid(), 9) if sys.argv[1] == 'killed' else sys.exit(int(sys.argv[1]))\n")
    one, seen = starter(recipe), []
    for flag, status in (("0", 0), ("3", 3), ("killed", -9), ("0", 0)):
        one.start([flag], tmp_path / flag)
        assert ended(one) == status
        seen.append(one.told()[0])
    assert len(set(seen)) == 4 and not one.gone
    assert (tmp_path / "0").read_text().split() == [str(number) for trial in (seen[0], seen[3])
                                                    for number in (trial, one.process.pid)]


def test_a_trial_is_told_to_end_and_ends_with_the_process_that_started_it(starter, tmp_path):
    recipe = tmp_path / "recipe.py"
    recipe.write_text("import pathlib, signal, sys, time\n"
                      "signal.signal(signal.SIGTERM, lambda *_: sys.exit(17))\n"
                      "pathlib.Path(sys.argv[1]).touch()\ntime.sleep(60)\n")
    one = starter(recipe)
    for name in ("told", "killed"):
        one.start([str(tmp_path / name)], tmp_path / "output")
        until((tmp_path / name).exists)
        number, = until(one.told)
        if name == "told":
            one.send(signal.SIGTERM)
            assert ended(one) == 17
    one.process.kill()
    assert ended(one) == -9 and one.gone
    until(lambda: not lives(number))


def lives(number):
    """Whether a process computes; where nobody asks for its status, a dead one keeps its number."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_file_of_one_s_own_imports_its_neighbours_once_for_all_trials(starter, tmp_path):
    (tmp_path / "neighbour.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write('x')\n")
    recipe = tmp_path / "recipe.py"
    recipe.write_text("import neighbour, no_such_module_where_it_is_not_needed\n")
    broken = starter(recipe)
    broken.start([], tmp_path / "output")
    assert ended(broken) == 1 and "No module named 'no_such_module" in (tmp_path / "output").read_text()
    recipe.write_text("import neighbour\n")
    one = starter(recipe)
    for _ in range(2):
        one.start([], tmp_path / "output")
        assert ended(one) == 0
    assert (tmp_path / "imported").read_text() == "xx"               # once by each of the two processes


def test_where_a_thread_would_be_missing_the_process_runs_its_trial_itself(starter, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, threading, time\nif 'tuning.process' in sys.orig_argv:\n"
        "    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    recipe = tmp_path / "recipe.py"
    recipe.write_text("import os\nprint(os.getpid())\nraise SystemExit(5)")
    one = starter(recipe)
    one.start([], tmp_path / "output")
    assert ended(one) == 5 and one.gone
    assert one.told() == [one.process.pid, 5]
    assert (tmp_path / "output").read_text().split() == [str(one.process.pid)]


@pytest.mark.slow
def test_a_waiting_process_has_imported_what_its_recipe_needs_and_opened_no_device():
    """All recipes that can be searched, one after another: none computes or starts a thread on import."""
    told = subprocess.run([sys.executable, "-c", "import sys; from tuning import process, spaces\n"
                           "for name in spaces.names(): process.prepare(name)\n"
                           "from tensorflow.python.eager import context\n"
                           "print('recipes.images.convnet_mnist' in sys.modules, process.forkable(), "
                           "context.context()._physical_devices)"],
                          cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "True True None", told.stderr


@pytest.mark.parametrize("algorithm", ["random", "grid", "hyperband"])
def test_every_state_that_is_saved_is_whole(new, monkeypatch, algorithm):
    """A kill may leave any of them: each trial is ended, running or waiting, and only one of these."""
    states = []
    monkeypatch.setattr(oracles, "write_json", lambda path, state: states.append(json.dumps(state)))
    search = new("states", algorithm, 4)
    search.run()
    assert len(states) > 8
    for state in map(json.loads, states):
        places = [*state["end_order"], *state["ongoing_trials"].values(), *state["retry_queue"]]
        assert sorted(places) == [trial["trial_id"] for trial in state["trials"]]


def test_one_process_alone_is_at_a_search(new):
    search = new("alone", trials=1)
    from tuning.search import locked
    with locked(search.folder), pytest.raises(BlockingIOError, match="another process is at the search"):
        search.run()
    assert not records(search)
