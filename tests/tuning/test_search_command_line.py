"""python -m tuning: what it says, and what it refuses, in this process."""
import json
import subprocess
import sys

import pytest
from searches import SPACE

from tuning.__main__ import configuration, main
from tuning.search import Search


@pytest.fixture
def command(capfd):
    """Runs `python -m tuning ARGUMENTS` here: (exit status, stdout, stderr)."""
    def run(*arguments):
        capfd.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        return status or 0, *capfd.readouterr()
    return run


@pytest.fixture
def refused(command):
    def run(*arguments):
        status, _, err = command(*arguments)
        assert status == 2 and err.startswith("error: ") and len(err.splitlines()) == 1, err
        return err
    return run


def test_a_search_from_begin_to_the_run_of_its_best(command, tmp_path):
    folder = tmp_path / "search"
    status, out, err = command("search", SPACE, "--trials", 4, "--width", 6, "--epochs", 3, "--seed", 2,
                               "--folder", folder)
    assert status == 0, err
    assert "4 trials in" in out and "best: trial" in out and out.count("val_score") == 5
    status, out, _ = command("show", folder, "--top", 2)
    lines = out.splitlines()
    assert status == 0 and "4 trials" in lines[0] and lines[1].split()[:5] == [
        "trial", "val_score", "outcome", "epochs", "seconds"] and len(lines) == 4
    assert float(lines[2].split()[1]) >= float(lines[3].split()[1])
    status, out, _ = command("best", folder)
    best = json.loads(out)
    assert best["config"]["width"] == 6 and best["config"]["epochs"] == 3
    (tmp_path / "config.json").write_text(out)
    (tmp_path / "again").mkdir()
    subprocess.run([sys.executable, SPACE.with_name("fake_recipe.py"), "--config", tmp_path / "config.json",
                    "--run-dir", tmp_path / "again", "--seed", "2"], check=True)
    value = json.loads((tmp_path / "again" / "metrics.json").read_text())["val_score"]
    assert value == best["search"]["val_score"]
    status, out, _ = command("report", folder)
    assert status == 0 and out.strip() == str(folder / "report.html")
    status, out, _ = command("resume", folder)                       # it is complete: nothing is run again
    assert status == 0 and "4 trials in" in out and out.count("finished") <= 2


def test_the_same_folder_twice_is_refused(refused, new):
    search = new("one", trials=1)
    assert "already holds a search" in refused("search", SPACE, "--folder", search.folder)


@pytest.mark.parametrize("arguments, told", [
    (["serch"], "there is no command serch. Did you mean search"),
    (["search", "convnet_mnits"], "Did you mean convnet_mnist"),
    (["search", "ensemble_mnist"], "has no search space: it trains nothing of its own"),
    (["search", SPACE, "--trials", "0"], "--trials must be at least 1. Received: 0"),
    (["search", SPACE, "--algorithm", "bayesian", "--initial-points", "0"],
     "--initial-points must be at least 1. Received: 0"),
    (["search", SPACE, "--initial-points", "3"],
     "--initial-points goes with --algorithm bayesian alone. Received: --algorithm random"),
    (["search", SPACE, "--folds", "1"], "--folds must be at least 2. Received: 1"),
    (["search", SPACE, "--minutes", "-1"], "--minutes must be positive"),
    (["search", SPACE, "--algorithm", "best"], "invalid choice: 'best'"),
    (["search", SPACE, "--widht", "3"], "unknown argument --widht. Did you mean --width"),
    (["search", SPACE, "--width", "wide"], "--width takes"),
    (["search", SPACE, "--run-dir", "x"], "--run-dir does not go with a search"),
    (["search", "fast_mnist", "--algorithm", "hyperband"], "does not go with hyperband"),
    (["search", "fast_mnist", "--epochs", "3"], "has no --epochs to set"),
    (["show", "nowhere"], "there is no folder nowhere"),
    (["worker", "."], "holds no search"),
])
def test_what_does_not_fit_is_told_in_a_sentence(refused, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    assert told in refused(*arguments)
    assert not list(tmp_path.iterdir())


def test_best_of_nothing(refused, new):
    assert "no trial in" in refused("best", new("begun").folder)


def test_the_recipe_s_flags_fix_values_and_those_of_runs_are_passed_on(space, tmp_path):
    base, fixed, flags = configuration(space, ["--width", "4", "--rate=0.5", "--precision", "mixed_bfloat16",
                                               "--deterministic"])
    assert (base.width, base.rate) == (4, .5) and fixed == ["rate", "width"]
    assert flags == ["--precision", "mixed_bfloat16", "--deterministic"]
    base, fixed, _ = configuration(space, ["--smoke"])
    assert base.epochs == 2 and fixed == []
    (tmp_path / "config.json").write_text('{"config": {"width": 9}}')
    base, fixed, _ = configuration(space, ["--config", str(tmp_path / "config.json")])
    assert base.width == 9 and fixed == []


def test_help_and_show_do_without_tensorflow(new):
    search = new("quick", trials=1)
    search.run()
    program = ("import sys\nfrom tuning.__main__ import main\n"
               f"main(['--help']); main(['list']); main(['show', {str(search.folder)!r}])\n"
               f"main(['best', {str(search.folder)!r}])\n"
               "assert not {'tensorflow', 'keras', 'keras_tuner'} & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "search NAME" in done.stdout and "convnet_mnist" in done.stdout


def test_the_workers_port_is_what_the_folder_says(refused, new):
    search = new("far")
    assert "does not say where its chief is" in refused("worker", search.folder)
    assert "--chief takes HOST:PORT. Received: here" in refused("worker", search.folder, "--chief", "here")
    assert Search(search.folder).base["width"] == 4
