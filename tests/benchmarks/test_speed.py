"""The timing scripts run on a tiny setting and report what they say; no timing is asserted."""
import importlib.util
import json

import keras
import pytest

from benchmarks import (
    build_time,
    distortions,
    evaluation,
    recurrent_steps,
    run_time,
    scaling,
    search,
    small_steps,
    start,
    step_time,
    time_to_94,
    time_to_99,
)

TORCH = importlib.util.find_spec("torch") is not None


@pytest.mark.slow
def test_time_to_99_quick(tmp_path):
    report = time_to_99.main(["--quick", "--repeats", "1", "--target", "0.5",
                              "--out", str(tmp_path / "out.json"), "--only", "ours", "keras-io"])
    assert json.loads((tmp_path / "out.json").read_text()) == report
    assert report["runs"]["ours"][0]["test_accuracy"] > 0.5
    own, seen_from_outside = (report["runs"]["ours"][0][name] for name in ("seconds_from_start", "seconds"))
    assert own is None or 0 < own <= seen_from_outside + 0.02            # the process's clock ticks in .01 s
    row, = report["runs"]["keras-io"][0]["epochs"]
    assert row["epoch"] == 1 and row["seconds"] > 0
    assert report["ours_over_fastest_peer"] > 0


@pytest.mark.slow
def test_time_to_94_quick(tmp_path):
    report = time_to_94.main(["--quick", "--seeds", "1", "--precision", "float32", "--no-jit",
                              "--out", str(tmp_path / "out.json")])
    keras.config.set_dtype_policy("float32")
    assert json.loads((tmp_path / "out.json").read_text()) == report
    assert (report["runs"]["pytorch"] is not None) == TORCH
    for name in ("ours", "ours-muon"):
        row, = report["runs"][name]
        parts = (row[f"{part}_seconds"] for part in ("whitening", "training", "evaluation"))
        assert row["seconds"] == pytest.approx(sum(parts), abs=0.005) and 0 <= row["test_accuracy"] <= 1


def test_improvements_of_a_search():
    trials = [{"value": value, "seconds": seconds, "outcome": "finished"}
              for seconds, value in ((3, .9), (1, .8), (2, None), (5, .85), (4, .95))]
    found = search.told(7200, trials, [{"config": {"width": 3}}])
    assert found["error_against_seconds"] == [[1, .2], [3, .1], [4, .05]]
    assert (found["best_error"], found["trials"], found["trials_per_hour"]) == (.05, 5, 2.5)
    nothing = search.told(1, [{"value": None, "seconds": 1, "outcome": "diverged"}], [])
    assert nothing["best_error"] is None and nothing["error_against_seconds"] == []


@pytest.mark.slow
def test_search_quick(tmp_path):
    for part, check in (("overhead", "process_seconds_beyond_training"), ("workers", "ratio")):
        report = search.main([part, "--quick", "--out", str(tmp_path / "out.json")])
        assert report[part]["quick"] and report[part][check]
    report = search.main(["curves", "--quick", "--seeds", "1", "--minutes", ".4", "--algorithms", "random",
                          "--out", str(tmp_path / "out.json")])
    assert report["curves"]["runs"][0]["trials"] > 0 and "ratio" in report["workers"]
    assert (tmp_path / "out.png").stat().st_size > 5_000


def test_time_to_99_summary():
    runs = [{"seed": 0, "seconds": 3.0, "test_accuracy": 0.991},
            {"seed": 1, "seconds": 1.0, "test_accuracy": 0.985}]
    assert time_to_99.summary(runs, 0.99) == {
        "runs": 2, "reached": 1, "mean_test_accuracy": pytest.approx(0.988), "median_seconds": 2.0,
        "least_seconds": 1.0}


def test_a_failing_process_says_why():
    with pytest.raises(RuntimeError, match="no reason at all"):
        time_to_99.follow([time_to_99.sys.executable, "-c", "raise SystemExit('no reason at all')"])


@pytest.mark.slow
@pytest.mark.parametrize(("network", "shorten"), [("keras-imdb-lstm", 20), ("sequential_mnist", 100)])
def test_recurrent_steps(tmp_path, network, shorten):
    report = recurrent_steps.main(["--repeats", "1", "--threads", "1", "--networks", network,
                                   "--shorten", str(shorten), "--out", str(tmp_path / "out.json")])
    row = report["median"]["processors"][network]
    ours = ("xla, 1",) if network == "sequential_mnist" else ("hoisted, 1", "hoisted-bfloat16, 1")
    assert {"keras, 1", "keras-bfloat16, 1", *ours} <= set(row)
    assert all(value > 0 for value in row.values())
    assert ("pytorch, 1" in row) == TORCH


def test_small_steps(monkeypatch):
    monkeypatch.setattr(small_steps, "NETWORKS", {"FC100": small_steps.NETWORKS["FC100"]})
    rows = small_steps.tensorflow_rows(shorten=40)
    assert set(rows) == {"loop", "keras-1", "keras-100"}
    assert all(row["FC100"] > 0 for row in rows.values())


@pytest.mark.skipif(not TORCH, reason="PyTorch is not installed: pip install -r benchmarks/requirements.txt")
def test_small_steps_pytorch(monkeypatch):
    monkeypatch.setattr(small_steps, "NETWORKS", {"FC100": small_steps.NETWORKS["FC100"]})
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rows = small_steps.pytorch_rows(shorten=40)
    assert set(rows) == {"pytorch", "pytorch-fused"} and all(row["FC100"] > 0 for row in rows.values())


@pytest.mark.slow
def test_run_time(monkeypatch, tmp_path):
    arguments, batch, execution, _ = run_time.NETWORKS["tiny"]
    monkeypatch.setitem(run_time.NETWORKS, "tiny", (arguments, batch, execution, 3 * execution))
    assert 0 < run_time.fit_part("run.fit", "tiny") < 100 and 0 < run_time.fit_part("model.fit", "tiny") < 100
    assert run_time.checkpoint_part("30")["parameters"] == 30 * 31
    assert len(run_time.memory_part("run.fit", 2)) == 2
    monkeypatch.setattr(run_time, "measured", lambda *arguments: 2.0)
    report = run_time.main(["jit", "--repeats", "3", "--out", str(tmp_path / "out.json")])
    assert report["jit"]["median"]["on, tiny, 1 thread"] == 2.0
    assert json.loads((tmp_path / "out.json").read_text()) == report


def test_scaling_is_that_of_a_ring():
    # Two devices exchange half of the bytes twice; many devices all of them twice.
    assert scaling.sum_seconds(2, 1e9, 1e9, 0.0) == 1.0
    assert scaling.sum_seconds(10**6, 1e9, 1e9, 0.0) == pytest.approx(2.0, rel=1e-5)
    assert scaling.sum_seconds(3, 0.0, 1e9, 0.5) == 2.0
    assert scaling.speed_up(1.0, 1e9, (2, 1e9, 0.0)) == 1.0                  # waits as long as it works
    assert scaling.speed_up(1.0, 1e9, (2, 1e9, 0.0), overlap=1.0) == 2.0
    assert scaling.speed_up(1.0, 0.0, (8, 1e9, 0.0), (8, 1e9, 0.0)) == 64.0


def test_the_page_on_scaling_is_current():
    if not scaling.MEASURED.exists():
        pytest.skip("nothing measured")
    assert scaling.PAGE.read_text() == scaling.page(json.loads(scaling.MEASURED.read_text()))


def test_distortions(monkeypatch, tmp_path):
    rows = distortions.tensorflow_rows(200)
    assert set(rows) == {"affine_and_elastic", "elastic"} and min(rows.values()) > 1000
    monkeypatch.setattr(distortions, "missing", lambda python: "it is not installed")
    monkeypatch.setattr(distortions, "measured", lambda *arguments: {"elastic": 100.0 * arguments[2]})
    report = distortions.main(["--repeats", "2", "--out", str(tmp_path / "out.json")])
    assert json.loads((tmp_path / "out.json").read_text()) == report
    assert report["median"] == {"elastic, 1": 100, "elastic, 2": 200} and report["elastic_over"] == {}
    assert report["seconds_for_60000"]["elastic, 2"] == 300 and report["missing"]["pytorch"]


def test_the_fastest_of_all_numbers_of_threads():
    medians = {"elastic, 1": 3.0, "elastic, 2": 5.0, "elastic_more, 1": 9.0}
    assert distortions.fastest(medians, "elastic") == 5.0 and distortions.fastest(medians, "other") == 0


def test_build_time(monkeypatch, tmp_path):
    built = []
    contenders = {name: lambda name=name: built.append(name) for name in ("ours", "keras")}
    monkeypatch.setattr(build_time, "builders", lambda: {"tiny": contenders})
    monkeypatch.setattr(build_time, "seconds", lambda build: build() or {
        "processor": 2.0 if built[-1] == "ours" else 3.0, "wall": 4.0})
    report = build_time.main(["--repeats", "2", "--out", str(tmp_path / "out.json")])
    assert built == ["ours", "keras"] + ["ours", "keras", "keras", "ours"]          # once each, then in turn
    assert json.loads((tmp_path / "out.json").read_text()) == report
    assert report["median"]["tiny"] == {"ours, processor": 2.0, "ours, wall": 4.0, "keras, processor": 3.0,
                                        "keras, wall": 4.0, "keras_over_ours": 1.5}


@pytest.mark.slow
def test_start(tmp_path):
    report = start.main(["--repeats", "1", "--out", str(tmp_path / "out.json"), "convnet_mnist", "--smoke"])
    assert json.loads((tmp_path / "out.json").read_text()) == report
    assert report["recipe"] == "convnet_mnist --smoke" and 0 < report["median"] == report["runs"][0]


def test_a_start_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no training step from no_such_recipe:\nerror: .*no_such_recipe"):
        start.seconds_to_first_step(["no_such_recipe"])


@pytest.mark.parametrize("script", [start, evaluation])
def test_no_repetition_is_refused(script, capsys):
    with pytest.raises(SystemExit, match="2"):
        script.main(["--repeats", "0"])
    assert "--repeats must be at least 1. Received: 0" in capsys.readouterr().err


def test_evaluation(monkeypatch, tmp_path):
    monkeypatch.setattr(evaluation, "COUNTS", (30,))
    report = evaluation.main(["--repeats", "2", "--out", str(tmp_path / "out.json")])
    assert {name: len(seconds) for name, seconds in report["runs"][30].items()} == {"ours": 2, "autotuned": 2}
    ours, autotuned = (evaluation.contenders(30)[name] for name in ("ours", "autotuned"))
    assert autotuned.options().autotune.enabled and not ours.options().autotune.enabled
    for (images, labels), (others, same) in zip(ours, autotuned, strict=True):
        assert (images.numpy() == others.numpy()).all() and (labels.numpy() == same.numpy()).all()


def test_both_contenders_build_the_same_network():
    for contenders in build_time.builders().values():
        with keras.StatelessScope(initialize_variables=False):
            ours, theirs = (build().count_params() for build in contenders.values())
        assert ours == theirs > 20_000_000


@pytest.mark.parametrize("contender", ["ours", "keras"])
def test_step_time(monkeypatch, contender):
    monkeypatch.setitem(step_time.NETWORKS, "resnet20", ((32, 32, 3), 8, 2, 269_722))
    times = step_time.child(contender, "resnet20", "float32", 1)
    assert set(times) == {"wall", "processor", "first"} and min(times.values()) > 0


@pytest.mark.skipif(not TORCH, reason="PyTorch is not installed: pip install -r benchmarks/requirements.txt")
@pytest.mark.parametrize("name", step_time.NETWORKS)
def test_the_networks_of_step_time_are_as_large_in_pytorch(name):
    parameters = step_time.torch_network(name).parameters()
    assert sum(each.numel() for each in parameters if each.requires_grad) == step_time.NETWORKS[name][3]


def test_step_time_takes_turns_and_adds_to_what_it_has(monkeypatch, tmp_path):
    took = {"ours": 3.0, "pytorch": 2.0}
    monkeypatch.setattr(step_time, "measured", lambda python, contender, *rest: dict.fromkeys(
        ("wall", "processor", "first"), took[contender]))
    monkeypatch.setattr(step_time.subprocess, "run", lambda *arguments, **options: type("", (), {
        "returncode": 0, "stdout": ""})())
    arguments = ["--repeats", "1", "--networks", "resnet20", "--precisions", "float32", "--threads", "1",
                 "--contenders", "ours", "pytorch", "--out", str(tmp_path / "out.json")]
    step_time.main(arguments)
    took["ours"] = 5.0
    report = step_time.main(arguments)
    assert json.loads((tmp_path / "out.json").read_text()) == report
    assert report["median"]["wall"] == {"resnet20, float32, 1 thread": {"ours": 4.0, "pytorch": 2.0}}
    assert report["ours_over_pytorch"]["processor"] == {"resnet20, float32, 1 thread": 2.0}
