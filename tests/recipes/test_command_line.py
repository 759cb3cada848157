"""The command line from end to end, mostly inside this process: each start of TensorFlow costs seconds."""
import dataclasses
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import pytest
from PIL import Image

from pipelines import digits
from recipes.__main__ import main
from training import Run, launch
from training.results import ROOT

DIGITS = ["run", "convnet_mnist", "--smoke", "--epochs", "6"]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def history(folder):
    return (folder / "history.csv").read_text()


@pytest.fixture
def command(monkeypatch, capfd):
    """Runs `python -m recipes ARGUMENTS` here: (exit status, stdout, stderr)."""
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["recipes"])
        capfd.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        out, err = capfd.readouterr()
        return status or 0, out, err
    return run


@pytest.fixture
def refused(command):
    """Runs a command that must fail: its one sentence."""
    def run(*arguments, status=2):
        received, _, err = command(*arguments)
        assert received == status and "Traceback" not in err, err
        assert err.startswith("error: ") and len(err.splitlines()) == 1, err
        return err
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished smoke run on the digits, never interrupted."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    before, sys.argv = sys.argv, ["recipes"]
    try:
        assert main([*DIGITS, "--run-dir", str(folder)]) == 0
    finally:
        sys.argv = before
    return folder


def interrupted(folder):
    """The same run in a process of its own, with ctrl-C after its first epoch: (status, stderr)."""
    process = subprocess.Popen([sys.executable, "-m", "recipes", *DIGITS, "--epochs", "60",
                                "--run-dir", str(folder)], cwd=ROOT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (folder / "history.csv").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    return process.wait(timeout=60), process.stderr.read()


# Interruption and what comes after


@pytest.mark.slow
def test_a_run_goes_on_after_ctrl_c_as_if_never_interrupted(finished, tmp_path, command, refused):
    folder = tmp_path / "run"
    status, err = interrupted(folder)
    assert status == 130
    notice, error = err.strip().splitlines()
    assert notice.startswith("stopping: ")
    assert re.fullmatch(r"error: interrupted: saved at update \d+ of 7500. "
                        f"Go on with: python -m recipes resume {folder}", error), error
    assert not (folder / "metrics.json").exists()
    written = contents(folder)
    assert "already holds a run" in refused(*DIGITS, "--run-dir", folder)
    assert contents(folder) == written
    assert "is not finished" in refused("evaluate", folder)
    assert "is not finished" in refused("record", folder)
    assert "cannot change on the way" in refused("resume", folder, "--seed", "3")
    status, _, err = command("resume", folder, "--epochs", "6")
    assert status == 0, err
    assert history(folder) == history(finished)
    assert (folder / "metrics.json").read_text() == (finished / "metrics.json").read_text()


def test_a_finished_run_is_not_resumed(finished, command, refused):
    written = contents(finished)
    status, out, _ = command("resume", finished)
    assert status == 0 and "is finished already" in out
    assert "cannot be trained further" in refused("resume", finished, "--epochs", "9")
    assert "already holds a run" in refused(*DIGITS, "--run-dir", finished)
    assert contents(finished) == written


# Evaluate


def test_evaluate_finds_the_stored_metrics_and_writes_nothing(finished, command):
    written = contents(finished)
    status, out, _ = command("evaluate", finished)
    metrics = json.loads((finished / "metrics.json").read_text())
    assert status == 0 and contents(finished) == written and "differs" not in out
    for name, value in metrics.items():
        row = next(line.split() for line in out.splitlines() if line.startswith(name))
        assert [float(cell) for cell in row[1:]] == pytest.approx([value, value], abs=1e-4)


def test_evaluate_marks_a_difference(finished, tmp_path, command):
    folder = shutil.copytree(finished, tmp_path / "copy")
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["test_accuracy"] += 0.01
    (folder / "metrics.json").write_text(json.dumps(metrics))
    _, out, _ = command("evaluate", folder)
    assert [line.split()[0] for line in out.splitlines() if line.endswith("differs")] == ["test_accuracy"]


def test_evaluate_refuses_another_network(finished, tmp_path, refused):
    folder = shutil.copytree(finished, tmp_path / "copy")
    saved = json.loads((folder / "config.json").read_text())
    saved["config"]["hidden"] = [7]
    (folder / "config.json").write_text(json.dumps(saved))
    assert "another network" in refused("evaluate", folder)


def test_report_is_written_again(finished, tmp_path, command):
    folder = shutil.copytree(finished, tmp_path / "copy")
    (folder / "report.html").unlink()
    status, out, _ = command("report", folder)
    assert status == 0 and out.strip() == str(folder / "report.html")
    assert "convnet_mnist" in (folder / "report.html").read_text()


# Predict


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Files of the first test digit: as the model takes it, and as a scanner or camera would give it."""
    folder = tmp_path_factory.mktemp("pictures")
    digit = digits.load(size=28).test.inputs[0, ..., 0]
    grey, inverse = Image.fromarray(digit), Image.fromarray(255 - digit)
    grey.save(folder / "good.png")
    Image.fromarray(digit.astype(np.uint16) * 257).save(folder / "sixteen.png")
    grey.resize((90, 90)).convert("RGB").save(folder / "large.jpg", quality=95)
    grey.convert("CMYK").save(folder / "cmyk.tif")
    grey.convert("P").save(folder / "palette.gif")
    inverse.save(folder / "ink.png")
    ink = Image.new("RGBA", (28, 28), (0, 0, 0, 0))               # black on nothing
    ink.putalpha(grey)
    ink.save(folder / "transparent.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no image")
    (folder / "half.jpg").write_bytes((folder / "large.jpg").read_bytes()[:500])
    return folder


def test_predict_says_label_and_probabilities(finished, pictures, command):
    digit = digits.load(size=28).test
    status, out, _ = command("predict", finished, pictures / "good.png", "--top", "10")
    assert status == 0
    name, label, *_ = out.split()
    assert name == str(pictures / "good.png") and label == str(digit.labels[0])
    logits = np.load(finished / "predictions.npz")["logits"][0].astype(np.float64)
    wanted = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    received = {int(digit): float(percent) for digit, percent in re.findall(r"(\d) ([\d.]+) %", out)}
    assert sorted(received) == list(range(10))
    np.testing.assert_allclose([received[digit] for digit in range(10)], 100 * wanted, atol=0.06)


def test_predict_needs_model_keras_alone_and_converts_images(finished, pictures, tmp_path, command):
    model = shutil.copy(finished / "model.keras", tmp_path / "mine.keras")
    label = str(digits.load(size=28).test.labels[0])
    files = [pictures / name for name in ("sixteen.png", "large.jpg", "cmyk.tif", "palette.gif")]
    status, out, err = command("predict", model, *files, "--resize")
    assert status == 0, err
    assert [line.split()[1] for line in out.splitlines()] == [label] * 4
    assert command("predict", model, "--resize", *files)[:2] == (status, out)         # flags anywhere
    assert command("predict", "--resize", model, *files)[:2] == (status, out)
    files = [pictures / "ink.png", pictures / "transparent.png"]
    _, out, _ = command("predict", model, *files, "--resize", "--invert")
    assert [line.split()[1] for line in out.splitlines()] == [label] * 2


def test_bad_files_are_named_and_good_ones_still_predicted(finished, pictures, command):
    bad = {"large.jpg": "90x90 RGB image, and the model takes 28x28 grey.*--resize",
           "sixteen.png": "16-bit grey", "empty.png": "is empty",
           "text.png": "is not an image", "half.jpg": "damaged or truncated",
           "none.png": "", ".": "is a folder"}
    status, out, err = command("predict", finished, pictures / "text.png", pictures / "good.png",
                               *(pictures / name for name in bad if name != "text.png"))
    assert status == 2 and len(out.splitlines()) == 1 and str(pictures / "good.png") in out
    assert len(err.splitlines()) == len(bad) and "Traceback" not in err
    assert f"there is no file {pictures / 'none.png'}" in err
    for name, message in bad.items():
        assert re.search(f"error: .*{re.escape(str(pictures / name))}.*{message}", err), name


def test_preprocessing_travels_with_the_model(finished, pictures, tmp_path):
    from training.predict import Classifier
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(finished / "model.keras") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "about.json":
                data = json.dumps({**json.loads(data), "mean": [0.25], "std": [0.5]}).encode()
            target.writestr(name, data)
    plain, scaled = (Classifier(place).pixels(pictures / "good.png") for place in (finished, path))
    assert plain.min() == 0 and plain.max() == 1
    np.testing.assert_allclose(scaled, (plain - 0.25) / 0.5, rtol=1e-6)


def test_the_activation_that_the_cost_takes_travels_with_the_model(tmp_path):
    from training.predict import Network
    run = Run(tmp_path / "run")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, use_bias=False)])
    model.set_weights([np.diag([1, 1, -4]).astype(np.float32)])
    run.save(model, activation="sigmoid")
    found = Network(tmp_path / "run").probabilities(np.float32([[2, 0, 1]]))
    np.testing.assert_allclose(found, 1 / (1 + np.exp([[-2, 0, 4]])), rtol=1e-5)    # each class by itself
    run.save(model)
    np.testing.assert_allclose(Network(tmp_path / "run").probabilities(np.float32([[2, 0, 1]])).sum(), 1)


def test_a_part_of_a_run_is_not_evaluated_alone(tmp_path, refused):
    part = Run(tmp_path / "run", recipe="ensemble").child("member1", None)
    part.finish({"val_accuracy": 1.0})
    assert "is a part of the run in" in refused("evaluate", part.folder)
    whole = Run(tmp_path / "series", recipe="ensemble").child("one", None, part=False)
    assert "part" not in json.loads((whole.folder / "config.json").read_text())


@pytest.mark.parametrize("layer", [lambda: keras.layers.Dense(4, activation=lambda x: 2 * x),
                                   lambda: keras.layers.Lambda(lambda x: 2 * x)], ids=["activation", "layer"])
def test_a_model_that_carries_code_is_refused(tmp_path, pictures, refused, layer):
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), layer()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / "code.keras")
    assert "is refused: it carries code" in refused("predict", tmp_path / "code.keras", pictures / "good.png")


def test_predict_refuses_what_is_no_model(finished, pictures, tmp_path, refused):
    broken = tmp_path / "broken.keras"
    broken.write_bytes((finished / "model.keras").read_bytes()[:3000])
    good = pictures / "good.png"
    assert re.search("broken.keras is not a Keras model, or damaged", refused("predict", broken, good))
    assert "holds no model.keras" in refused("predict", tmp_path, good)
    assert "there is no model" in refused("predict", tmp_path / "none.keras", good)
    assert "must be in [1, 10]" in refused("predict", finished, good, "--top", "11")
    assert "Did you mean --resize" in refused("predict", finished, good, "--resise")


# Export


@pytest.mark.parametrize("format", ["saved_model", "onnx", "litert"])
def test_export_gives_the_same_outputs_and_overwrites_nothing(finished, tmp_path, command, refused, format):
    from training.export import NAMES, PACKAGES
    for module in PACKAGES[format]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install -r requirements-export.txt")
    output = tmp_path / NAMES[format]
    status, out, err = command("export", finished, "--format", format, "--output", output)
    assert status == 0, err
    assert output.exists() and [path.name for path in tmp_path.iterdir()] == [output.name]
    assert float(out.split()[-1]) < 1e-5
    assert "exists already" in refused("export", finished, "--format", format, "--output", output)


def test_export_is_checked(finished, tmp_path, refused, monkeypatch):
    from training import export
    monkeypatch.setitem(export.RUNNERS, "saved_model", lambda path, inputs: np.full((2, 10), 3.0))
    assert "differs from the Keras model" in refused("export", finished, "--format", "saved_model",
                                                     "--output", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_export_says_what_to_install(finished, tmp_path, refused, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "needs tf2onnx and onnxruntime: pip install" in refused("export", finished, "--format", "onnx")
    assert "invalid choice: 'onx'" in refused("export", finished, "--format", "onx")


# Commands and flags that do not exist, values that do not fit


@pytest.mark.parametrize(("arguments", "message"), [
    (["lst"], "no command lst. Did you mean list"),
    (["convnet_mnist"], "python -m recipes run convnet_mnist"),
    (["run"], "run needs the name of a recipe"),
    (["run", "convnet_mnits"], "no recipe convnet_mnits. Did you mean convnet_mnist"),
    ([*DIGITS, "--epoch", "3"], "unknown argument --epoch. Did you mean --epochs"),
    ([*DIGITS, "leftover"], "unknown argument leftover"),
    ([*DIGITS, "--epochs", "x"], r"--epochs takes INT. Received: x"),
    ([*DIGITS, "--learning_rate", "x"], "--learning-rate takes FLOAT. Received: x"),
    ([*DIGITS, "--epochs=x", "--rung", "1"], r"--epochs takes INT. Received: x"),
    ([*DIGITS, "--epochs"], r"Missing value for argument '--epochs'"),
    ([*DIGITS, "--filters", "3", "y"], "--filters takes any number of INT, with spaces .*. Received: 3 y"),
    ([*DIGITS, "--filters", "16,32,64"], "Received: 16,32,64"),
    (["run", "fast_cifar10", "--widths", "3,4,5"], "--widths takes 3 values, with spaces .*Received: 3,4,5"),
    (["run", "fast_cifar10", "--widths"], "--widths takes 3 values, with spaces .*Received: none"),
    ([*DIGITS, "--activation", "foo"], r"invalid choice 'foo' for .*'--activation'.*'sigmoid', 'relu'"),
    ([*DIGITS, "--strategy", "tpu"], r"invalid choice 'tpu' for argument '--strategy'"),
    ([*DIGITS, "--rung", "9"], "--rung must be one of 1, 2, 2b.*Received: 9"),
    ([*DIGITS, "--rung"], "--rung needs a value"),
    ([*DIGITS, "--config", "none.json"], "no file none.json"),
    ([*DIGITS, "--config", "4"], "--config takes a saved config.json"),
    ([*DIGITS, "--resume"], "--resume needs --run-dir"),
    (["resume", "none"], "no run folder none"),
    (["evaluate", "none"], "no run folder none"),
    (["report", "none"], "no run folder none"),
    (["record"], "RUN_DIR"),
])
def test_bad_arguments_get_a_sentence(refused, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.search(message, refused(*arguments))
    assert not list(tmp_path.iterdir())                  # no run folder yet


@pytest.mark.parametrize(("arguments", "message"), [
    (["--epochs", "0"], "epochs must be at least 1. Received: 0"),
    (["--batch-size", "0"], "batch_size must be in .*Received: 0"),
    (["--dropout", "1.5"], "dropout must be in .*Received: 1.5"),
    (["--learning-rate", "-1"], "learning_rate must be a positive number"),
    (["--data", "cifar11"], "data must be one of mnist, .*Received: cifar11"),
])
def test_numbers_out_of_range_get_a_sentence_and_leave_the_folder_free(refused, arguments, message, tmp_path):
    folder = tmp_path / "run"
    assert re.search(message, refused(*DIGITS, *arguments, "--run-dir", folder))
    # A second time: the folder of a run that failed at once is in nobody's way.
    assert re.search(message, refused(*DIGITS, *arguments, "--run-dir", folder))


def test_run_folders_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "file").write_text("kept")
    assert "cannot be written" in refused(*DIGITS, "--run-dir", tmp_path / "file")
    assert "cannot be written" in refused(*DIGITS, "--run-dir", tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "kept"
    (tmp_path / "config.json").write_text('{"mine": 1}')
    assert "is not of a run" in refused(*DIGITS, "--run-dir", tmp_path)
    assert (tmp_path / "config.json").read_text() == '{"mine": 1}'


def test_a_recipe_runs_as_a_file_too(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "recipes" / "images" / "convnet_mnist.py", "--smoke",
                           "--epochs", "1", "--run-dir", tmp_path / "run"], capture_output=True, text=True,
                          cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test_accuracy"] > 0.3


def test_help_shows_the_comments_of_the_config(command):
    status, out, _ = command("run", "convnet_mnist", "--rung", "7", "--help")
    text = " ".join(out.replace("│", " ").split())
    assert status == 0 and "over all versions of the training images (default: 40)" in text
    assert "--run-dir" in text and "--rung NAME chooses: 1, 2, 2b" in text


# launch, with a recipe as small as they get


@dataclasses.dataclass(frozen=True)
class Config:
    steps: int = 3               # how many
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"
    widths: tuple[int, ...] = (1, 2)


NAMED = {"one": Config(steps=1), "two": Config(steps=2, kind="b")}
calls = []


def lesson(config, run):
    calls.append((run.name, config))
    if config.kind == "b" and run.seed == 1:
        raise KeyboardInterrupt
    if run.seed == 2:
        os.kill(os.getpid(), signal.SIGTERM)
    return {"steps": config.steps}


@pytest.fixture
def lesson_run(monkeypatch, capfd, tmp_path):
    """launch(lesson) with arguments: (status, stderr)."""
    def run(*arguments, named=NAMED, **options):
        calls.clear()
        monkeypatch.setattr(sys, "argv", ["lesson", *map(str, arguments)])
        capfd.readouterr()
        try:
            launch(lesson, Config, named=named, flag="size", smoke=Config(rate=9.0), **options)
        except SystemExit as end:
            return end.code, capfd.readouterr().err
        return 0, capfd.readouterr().err
    monkeypatch.chdir(tmp_path)
    return run


@pytest.mark.parametrize(("arguments", "configs"), [
    ([], [("", Config())]),
    (["--steps", 7, "--widths", 4, 5, 6], [("", Config(steps=7, widths=(4, 5, 6)))]),
    (["--smoke"], [("", Config(rate=9.0))]),
    (["--size", "two", "--rate", 2], [("two", Config(steps=2, kind="b", rate=2.0))]),
    (["--size=one", "--smoke"], [("one", Config(steps=1, rate=9.0))]),
    (["--size", "all", "--rate", 4], [("one", Config(steps=1, rate=4.0)),
                                      ("two", Config(steps=2, kind="b", rate=4.0))]),
    (["--size", "two,o*"], [("one", Config(steps=1)), ("two", Config(steps=2, kind="b"))]),
    (["--size", "tw*"], [("two", Config(steps=2, kind="b"))]),
])
def test_the_command_line_becomes_configs(lesson_run, arguments, configs):
    assert lesson_run(*arguments) == (0, "")
    assert calls == configs


@pytest.mark.parametrize(("size", "message"), [
    ("one,", "--size must be one of one, two, all, several between commas or a pattern .* Received: one,."),
    ("w*", r"Received: w\*"),
    ("tow", "Received: tow. Did you mean two"),
])
def test_a_name_that_there_is_not(lesson_run, size, message):
    status, err = lesson_run("--size", size)
    assert status == 2 and not calls and re.search(message, err)


def test_a_saved_config_starts_another_run(lesson_run, tmp_path):
    lesson_run("--size", "two", "--widths", 8, "--run-dir", "first")
    assert lesson_run("--config", "first/config.json", "--steps", 5, "--run-dir", "second") == (0, "")
    assert calls == [("", Config(steps=5, kind="b", widths=(8,)))]
    saved = json.loads((tmp_path / "second" / "config.json").read_text())
    assert saved["changed"] == {"steps": 5, "kind": "b", "widths": [8]}
    status, err = lesson_run("--config", "first/config.json", "--size", "one")
    assert status == 2 and "not both" in err


def test_a_config_that_is_a_named_one_has_its_name(lesson_run):
    named = {**NAMED, "usual": Config()}
    assert lesson_run(named=named) == (0, "") and calls == [("usual", Config())]
    assert lesson_run("--steps", 7, "--run-dir", "changed", named=named) == (0, "")
    assert calls == [("usual", Config(steps=7))]
    assert json.loads(Path("changed/config.json").read_text())["changed"] == {"steps": 7}
    lesson_run("--size", "two", "--run-dir", "first")
    assert lesson_run("--config", "first/config.json") == (0, "") and calls == [("two", NAMED["two"])]


@pytest.mark.parametrize(("text", "message"), [
    ('{"config": {"stepz": 3}}', "has a field 'stepz' that this recipe does not have"),
    ('{"config": {"steps": "x"}}', "steps must be int. Received: 'x'"),
    ('{"config": {"steps": true}}', "steps must be int. Received: True"),
    ('{"config": {"kind": "c"}}', r"kind must be Literal\['a', 'b'\]. Received: 'c'"),
    ('{"config": {"widths": [1, 2.5]}}', "widths must be int. Received: 2.5"),
    ('{"configs": {"one": {}}}', "is of a series of runs"),
    ("[1]", "holds no fields"),
    ("{", "is not a JSON file"),
])
def test_a_saved_config_that_does_not_fit(lesson_run, tmp_path, text, message):
    (tmp_path / "mine.json").write_text(text)
    status, err = lesson_run("--config", "mine.json")
    assert status == 2 and re.search(message, err) and not calls


def test_an_interrupted_series_goes_on_with_its_own_configs(lesson_run, tmp_path):
    status, err = lesson_run("--size", "all", "--seed", 1, "--rate", 4, "--run-dir", "series")
    assert status == 130 and "resume series" in err
    # What was saved wins over the defaults of today, and over the flags that are not repeated.
    saved = json.loads((tmp_path / "series" / "config.json").read_text())
    saved["configs"]["two"].update(kind="a", steps=20)
    (tmp_path / "series" / "config.json").write_text(json.dumps(saved))
    drawn = []
    assert lesson_run("--run-dir", "series", "--resume", "--widths", 3,
                      compare=lambda run, results: drawn.append((run.seed, results))) == (0, "")
    assert calls == [("two", Config(steps=20, rate=4.0, widths=(3,)))]          # one was finished before
    assert drawn == [(1, {"one": {"steps": 1}, "two": {"steps": 20}})]
    assert json.loads((tmp_path / "series" / "metrics.json").read_text()) == drawn[0][1]
    assert all((tmp_path / "series" / name / "report.html").exists() for name in (".", "one", "two"))


def test_a_run_of_another_recipe_is_not_resumed(lesson_run, finished):
    status, err = lesson_run("--run-dir", finished, "--resume")
    assert status == 2 and not calls and "holds a run of convnet_mnist, not of test_command_line" in err


def test_debug_shows_where_an_error_came_from(lesson_run, monkeypatch):
    with pytest.raises(ValueError, match="invalid choice"):
        lesson_run("--kind", "c", "--debug")


def test_sigterm_ends_a_run_like_ctrl_c(lesson_run):
    before = signal.getsignal(signal.SIGTERM)
    status, err = lesson_run("--seed", 2, "--run-dir", "run")
    assert status == 143 and err == "error: interrupted. Go on with: python -m recipes resume run\n"
    assert signal.getsignal(signal.SIGTERM) is before
