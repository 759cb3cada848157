import csv
import dataclasses
import io
import json
import math
import re
import shutil
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import card, predictions, report, run_files

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["T-shirt/top", "<b>bag</b>", 'he said "no" & left']
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Parses a report, and fails where a tag is closed that was not the last one opened."""

    def __init__(self, path):
        super().__init__()
        self.open, self.addresses, self.images, self.words, self.tags = [], [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open, f"never closed: {self.open}"
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        attributes = dict(attributes)
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "img":
            self.images.append(attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    def titles(self):
        return [name for name in TITLES if name in self.text]


def write_json(path, value):
    path.write_text(json.dumps(value))


def write_network(path, class_names, layers=(), weights=None):
    import h5py
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, value in (weights or {}).items():
            file[name] = value
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": list(layers)}}))
        archive.writestr("model.weights.h5", content.getvalue())
        archive.writestr("about.json", json.dumps({"recipe": "convnet_mnist", "class_names": class_names}))


def write_history(path, epochs):
    with open(path.with_name("times.csv"), "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["updates", "seconds"])
        writer.writerows([10 * epoch, 30.0 * epoch] for epoch in range(1, epochs + 1))
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "updates", "accuracy", "loss", "val_accuracy", "val_loss"])
        for epoch in range(1, epochs + 1):
            validation = 0.9 - 0.02 * (epoch - 2) ** 2                  # best in epoch 2
            writer.writerow([epoch, 10 * epoch, 0.5 + 0.1 * epoch, 1 / epoch, validation, 0.4])


TITLES = ["Learning curve", "Confusion matrix", "Accuracy per class", "Mistakes", "Calibration",
          "First layer", "Pictures of this recipe", "Configuration", "What to do next"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A finished run with everything in it, and its report."""
    folder = make_by_hand(tmp_path_factory.mktemp("runs") / "a run & more")
    assert report.write(folder) == folder / "report.html"
    return folder


@pytest.fixture
def made_by_hand(tmp_path):
    """The same run without its report, to be changed."""
    return make_by_hand(tmp_path / "run")


def make_by_hand(folder):
    """Three classes and 60 examples, the first twelve of them wrong."""
    (folder / "figures").mkdir(parents=True)
    generator = np.random.default_rng(3)
    labels = np.arange(60) % 3
    logits = generator.normal(size=(60, 3)).astype(np.float32)
    predicted = np.where(np.arange(60) < 12, (labels + 1) % 3, labels)
    logits[np.arange(60), predicted] = logits.max(axis=1) + generator.uniform(0.1, 4, 60)
    inputs = generator.integers(0, 256, (60, 8, 8, 1), np.uint8)
    np.savez(folder / "predictions.npz", logits=logits, labels=labels,
             **predictions.kept_mistakes(logits, labels, inputs))
    write_json(folder / "config.json", {
        "recipe": "convnet_mnist", "name": "4", "seed": 7, "precision": "float32",
        "config": {"data": "mnist", "filters": [20, 40], "epochs": 3, "learning_rate": 0.03}})
    write_json(folder / "environment.json", {"device": "a <fast> device", "commit": "0123456789ab",
                                             "versions": {"keras": "3.15.1", "tensorflow": "2.21.0"}})
    write_json(folder / "metrics.json", {"test_accuracy": 0.8, "test_loss": 0.123456, "best_epoch": 2})
    write_history(folder / "history.csv", 3)
    kernel = generator.normal(size=(3, 3, 1, 5)).astype(np.float32)
    write_network(folder / "model.keras", NAMES, weights={"layers/conv2d/vars/0": kernel}, layers=[
        {"class_name": "InputLayer", "config": {"batch_shape": [None, 8, 8, 1]}},
        {"class_name": "Conv2D", "config": {"name": "stage1_conv"}}])
    Image.fromarray(inputs[59, ..., 0]).save(folder / "figures" / "ladder.png")
    return folder


def test_report_holds_every_part_and_its_numbers(written):
    page = Page(written / "report.html")
    assert page.titles() == TITLES
    for words in ("80.00 %", "12 wrong of 60", "0.1235", "seed 7", "90 s", "0123456789ab", "Keras 3.15.1",
                  "Nielsen 2015", "was best in epoch 2 of 3: 90.00 %"):
        assert words in page.text
    assert "Not finished" not in page.text
    for command in ("resume", "evaluate", "predict"):
        assert f"python -m recipes {command} '{written}'" in page.text


def test_report_needs_nothing_from_outside(written):
    path = written / "report.html"
    page = Page(path)
    assert "script" not in page.tags
    assert page.addresses and all(address.startswith("data:") for address in page.addresses)
    style = re.search(r"<style>(.*?)</style>", path.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme: dark" in style
    assert len({image["src"] for image in page.images}) == len(page.images), "a picture is embedded twice"


def test_names_are_escaped(written):
    page = Page(written / "report.html")
    source = (written / "report.html").read_text(encoding="utf-8")
    assert "<b>bag</b>" in page.text and "<b>bag</b>" not in source      # text for the reader, no markup
    assert "<fast>" not in source and "a <fast> device" in page.text
    assert NAMES[0] in page.text and NAMES[2] in page.text


def test_pictures_are_files_too_and_show_something(written):
    for name in report.PLOTS:
        pixels = np.asarray(Image.open(written / "figures" / f"{name}.png").convert("L"), np.float64)
        assert pixels.std() > 8, f"{name} is blank"
        assert len(np.unique(pixels)) > 10


def test_published_is_compared_only_at_the_published_settings(written, made_by_hand):
    assert "with other settings than here: epochs 60" in Page(written / "report.html").text
    about = json.loads((made_by_hand / "config.json").read_text())
    about["config"]["epochs"] = 60
    write_json(made_by_hand / "config.json", about)
    text = Page(report.write(made_by_hand)).text
    assert "99.23 %" in text and "measured minus published: −19.23 points" in text


def test_a_lesson_without_predictions_leads_with_its_headline_and_unit(tmp_path):
    write_json(tmp_path / "config.json", {"recipe": "perceptron", "name": "", "config": {}})
    write_json(tmp_path / "metrics.json", {"sets": 20, "learnable_of_3_inputs": 103})
    page = Page(report.write(tmp_path))
    assert "learnable of 3 inputs 103 of 256 published 104 the authors' figure, of 256 sets 20" in page.text
    assert "%" not in page.text.split("All metrics")[0]


def test_configuration_marks_what_differs(written):
    text = Page(written / "report.html").text
    assert "Marked: what differs from convnet_mnist 4." in text and "epochs 3 not 60" in text
    assert "data mnist or fashion_mnist" in text                  # the comment of the field, no mark


def test_mistakes_are_those_of_argmax_the_surest_first(written):
    page = Page(written / "report.html")
    stored = np.load(written / "predictions.npz")
    logits, labels = stored["logits"].astype(np.float64), stored["labels"]
    chance = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = [i for i in range(60) if logits[i].argmax() != labels[i]]
    assert wrong == list(range(12))
    wrong.sort(key=lambda i: -chance[i].max())
    assert stored["mistakes"].tolist() == wrong
    captions = [f"{NAMES[labels[i]]} → {NAMES[logits[i].argmax()]} ({100 * chance[i].max():.0f} %)"
                for i in wrong]
    places = []
    for caption in captions:
        places.append(page.text.index(caption, places[-1] + 1 if places else 0))
    assert sum(image.get("class") == "pixels" for image in page.images) == 12


def test_kept_images_are_the_stored_ones_and_at_most_so_many():
    generator = np.random.default_rng(0)
    inputs = generator.integers(0, 256, (90, 4, 4, 3), np.uint8)
    logits, labels = generator.normal(size=(90, 2)), np.zeros(90, np.int64)
    logits[:, 1] = logits[:, 0] + 1 + np.arange(90) / 90           # all wrong, the last one surest
    kept = predictions.kept_mistakes(logits, labels, inputs, count=5)
    assert kept["mistakes"].tolist() == [89, 88, 87, 86, 85]
    np.testing.assert_array_equal(kept["mistake_inputs"], inputs[[89, 88, 87, 86, 85]])
    assert kept["mistake_inputs"].dtype == np.uint8
    assert predictions.kept_mistakes(logits, labels, inputs.reshape(90, -1)) == {}          # no images
    assert predictions.kept_mistakes(logits, labels.astype(float), inputs) == {}            # no classes


def test_calibration_error_by_hand():
    # Bins of confidence: (8/15, 9/15] holds .55 right and .6 wrong, (13/15, 14/15] holds .9 right twice.
    confidences = np.array([[0.55, 0.45], [0.4, 0.6], [0.9, 0.1], [0.1, 0.9]])
    result = predictions.calibration(confidences, np.array([0, 0, 0, 1]))
    expected = 2 / 4 * abs(1 / 2 - (0.55 + 0.6) / 2) + 2 / 4 * abs(1 - 0.9)
    assert result.error == pytest.approx(expected, abs=1e-12)
    assert result.counts.tolist() == [0] * 8 + [2] + [0] * 4 + [2, 0]
    assert np.isnan(result.accuracy[0]) and result.accuracy[8] == 0.5


def test_calibration_of_certainty():
    result = predictions.calibration(np.eye(3), np.array([0, 1, 2]))
    assert result.error == 0 and result.counts[-1] == 3


@pytest.mark.parametrize("outputs, expected", [
    ([[0.0, math.log(3)]], [[0.25, 0.75]]),                        # logits
    ([[1000.0, 0.0, -1000.0]], [[1.0, 0.0, 0.0]]),                 # without overflow
    ([[0.2, 0.8]], [[0.2, 0.8]]),                                  # softmax already
    ([[0.9, 0.3, 0.1]], [[0.9, 0.3, 0.1]]),                        # sigmoids
    ([[0.0, 0.0]], [[0.5, 0.5]]),                                  # an output layer still at zero
    ([[math.log(3)]], [[0.25, 0.75]]),                             # one logit
    ([0.8], [[0.2, 0.8]])])
def test_probabilities(outputs, expected):
    np.testing.assert_allclose(predictions.probabilities(np.array(outputs)), expected, atol=1e-12)


def test_confusion_matrix_rows_are_true():
    counts = predictions.confusion_matrix(np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 0, 2]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 2]]


def test_wilson_interval_of_nine_in_ten():
    low, high = predictions.wilson_interval(9, 10)                 # Wilson's formula by hand, z = 1.96
    assert (low, high) == (pytest.approx(0.5958, abs=1e-4), pytest.approx(0.9821, abs=1e-4))
    assert predictions.wilson_interval(10, 10)[1] == pytest.approx(1)


@pytest.mark.parametrize("missing, gone", [
    ("predictions.npz", ["Confusion matrix", "Accuracy per class", "Mistakes", "Calibration"]),
    ("history.csv", ["Learning curve"]), ("model.keras", ["First layer"]), ("environment.json", []),
    ("config.json", ["Configuration"]), ("figures/ladder.png", ["Pictures of this recipe"])])
def test_what_is_missing_is_left_out(made_by_hand, missing, gone):
    (made_by_hand / missing).unlink()
    page = Page(report.write(made_by_hand))
    assert page.titles() == [title for title in TITLES if title not in gone]
    assert "80.00 %" in page.text and "could not be read" not in page.text


@pytest.mark.parametrize("name", ["predictions.npz", "history.csv", "model.keras", "environment.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00 not what it should be"])
def test_what_is_broken_is_named(made_by_hand, name, content):
    if name == "history.csv" and not content:
        pytest.skip("an empty history is one without rows")
    shutil.rmtree(made_by_hand / "figures")
    for other in {"predictions.npz", "history.csv", "model.keras"} - {name}:
        (made_by_hand / other).unlink()
    (made_by_hand / name).write_bytes(content)
    page = Page(report.write(made_by_hand))
    assert "80.00 %" in page.text
    assert f"could not be read: {name}" in page.text


def test_unfinished_run(tmp_path):
    write_json(tmp_path / "config.json", {"recipe": "convnet_mnist", "name": "", "seed": 0, "config": {}})
    assert "Not finished: no epoch so far" in Page(report.write(tmp_path)).text
    write_history(tmp_path / "history.csv", 1)
    text = Page(report.write(tmp_path)).text
    assert "Not finished: 1 epoch so far" in text and f"python -m recipes resume {tmp_path}" in text
    assert "88.00 %" in text and "recipes predict" not in text


def test_history_of_another_loop(tmp_path):
    write_json(tmp_path / "metrics.json", {"mean_return": 195.5, "note": "a <text>", "curve": [1, 2]})
    (tmp_path / "history.csv").write_text("episode,return,epsilon\n1,10,1.0\n2,nan,0.5\n3,30\n")
    page = Page(report.write(tmp_path))
    assert page.titles() == ["Learning curve", "What to do next"]
    assert "195.5" in page.text and "a <text>" in page.text
    assert len(page.images) == 1 and "return, epsilon over episode" in page.images[0]["alt"]


def test_series_lists_its_runs(tmp_path):
    write_json(tmp_path / "config.json", {"recipe": "convnet_mnist", "name": "all", "seed": 0, "config": {}})
    for name, accuracy in (("10", 0.91), ("2", 0.8), ("a <b>", None)):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "config.json", {"recipe": "convnet_mnist", "name": name, "config": {}})
        if accuracy:
            write_json(tmp_path / name / "metrics.json", {"test_accuracy": accuracy})
            report.write(tmp_path / name)
    (tmp_path / "checkpoints").mkdir()
    page = Page(report.write(tmp_path))
    assert "2 of the 3 runs begun so far are complete" in page.text
    links = [address for address in page.addresses if not address.startswith("data:")]
    assert links == ["./2/report.html", "./10/report.html", "./a%20%3Cb%3E/"]
    for words in ("2 80.00 % 98.78 %", "10 91.00 %", "a <b> not finished"):
        assert words in page.text


def test_many_classes(made_by_hand):
    generator = np.random.default_rng(1)
    labels = np.arange(470) % 47
    logits = generator.normal(size=(470, 47))
    np.savez(made_by_hand / "predictions.npz", logits=logits, labels=labels)       # as without images
    page = Page(report.write(made_by_hand))
    assert "Confusion matrix" in page.text and "Mistakes" not in page.text
    drawn = Image.open(made_by_hand / "figures" / "confusion_matrix.png")
    assert min(drawn.size) >= 47 * 30                             # pixels: room for a number in each cell


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither config.json nor metrics.json"):
        report.write(tmp_path)


def test_first_layer_is_the_kernel_keras_saved(tmp_path):
    import keras

    import models
    image = keras.Input((8, 8, 1))
    normalised = keras.layers.Rescaling(2.0)(image)
    wrapped = keras.Sequential([keras.layers.Conv2D(3, 3, name="inner"), keras.layers.Flatten()])(normalised)
    nested = keras.Model(image, keras.layers.Dense(4)(wrapped))
    grouped = models.alexnet((32, 32, 3), stem_kernel=5, stem_stride=1, hidden=(8,))
    for network, kind, name in ((models.mlp((8, 8, 1), hidden=(6,)), "Dense", "hidden1"),
                                (models.nielsen_convnet((28, 28, 1)), "Conv2D", "stage1_conv"),
                                (grouped, "Conv2D", "stage1_conv"), (nested, "Conv2D", "inner")):
        network.save(tmp_path / "model.keras")
        found = run_files.read_network(tmp_path / "model.keras")["first"]
        assert found[:2] == (kind, name)
        np.testing.assert_array_equal(found[2], np.asarray(network.trainable_variables[0]))
        assert tuple(found[3]) == network.input_shape[1:]


def test_first_layer_behind_a_frame_of_zeros(tmp_path):
    import keras

    import models
    image = keras.Input((28, 28, 1))
    framed = keras.layers.ZeroPadding2D(((0, 1), (2, 3)))(image)
    units = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(framed)))
    units.save(tmp_path / "units.keras")
    found = run_files.read_network(tmp_path / "units.keras")["first"]
    assert tuple(found[3]) == (29, 33, 1) and found[2].shape == (29 * 33, 3)
    models.lenet5((32, 32, 1)).save(tmp_path / "lenet.keras")
    kind, name, kernel, _ = run_files.read_network(tmp_path / "lenet.keras")["first"]
    assert (kind, name, kernel.shape) == ("Conv2D", "stage1_conv", (5, 5, 1, 6))
    flat = keras.Input((16,))                               # no image until it is one
    shaped = keras.layers.ZeroPadding2D(1)(keras.layers.Reshape((4, 4, 1))(flat))
    keras.Model(flat, keras.layers.Conv2D(2, 3)(shaped)).save(tmp_path / "flat.keras")
    assert run_files.read_network(tmp_path / "flat.keras")["first"][2].shape == (3, 3, 1, 2)


def test_card_equals_the_recipe_itself():
    from recipes.images import convnet_mnist as recipe
    read = card.read("convnet_mnist")

    def fields(config):
        return json.loads(json.dumps(dataclasses.asdict(config)))
    assert read.idea == recipe.__doc__.splitlines()[0]
    assert read.default == fields(recipe.Config())
    assert read.named == {name: fields(config) for name, config in recipe.RUNGS.items()}
    assert read.published == recipe.PUBLISHED
    assert read.published_for("") == recipe.PUBLISHED["4"]         # the default is rung 4
    assert read.entries["Source"].startswith("Nielsen 2015")
    assert "three runs by validation" in read.entries["Departs"]
    assert card.read("no_such_recipe") is None and card.read("../images/convnet_mnist") is None


def test_a_real_run_writes_it(tmp_path):
    folder = tmp_path / "run"
    subprocess.run([sys.executable, "recipes/images/convnet_mnist.py", "--smoke", "--epochs", "1",
                    "--run-dir", folder], cwd=ROOT, check=True, capture_output=True)
    page = Page(folder / "report.html")
    assert page.titles() == [title for title in TITLES if title != "Pictures of this recipe"]
    accuracy = json.loads((folder / "metrics.json").read_text())["test_accuracy"]
    assert f"{100 * accuracy:.2f} %" in page.text
    stored = np.load(folder / "predictions.npz")
    predicted = stored["logits"].argmax(axis=1)
    assert np.mean(predicted == stored["labels"]) == pytest.approx(accuracy, abs=1e-6)
    from pipelines import digits
    wrong = stored["mistakes"]
    assert (predicted[wrong] != stored["labels"][wrong]).all() and 0 < len(wrong) <= predictions.MISTAKES_KEPT
    np.testing.assert_array_equal(stored["mistake_inputs"], digits.load(size=28).test.inputs[wrong])
