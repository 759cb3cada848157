import errno
import json
import zipfile

import keras
import numpy as np
import pytest

from models import nielsen_convnet
from pipelines import digits
from training import Run
from training.files import replacing
from training.run import Trial


@pytest.fixture(scope="module")
def data():
    return digits.load(20, seed=4, size=12)


def compiled():
    model = nielsen_convnet((12, 12, 1), filters=(3,), hidden=(12,))
    model.compile(keras.optimizers.SGD(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    return model


def test_evaluate_gives_what_the_logits_say_and_keeps_them(tmp_path, data):
    run = Run(tmp_path / "run")
    model = compiled()
    metrics = run.evaluate(model, data.test)
    kept = np.load(tmp_path / "run" / "predictions.npz")
    assert kept["logits"].shape == (360, 10) and kept["logits"].dtype == np.float32
    np.testing.assert_array_equal(kept["labels"], data.test.labels)
    right = kept["logits"].argmax(-1) == kept["labels"]
    assert metrics["test_accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    shifted = kept["logits"] - kept["logits"].max(-1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    loss = -log_probability[np.arange(360), kept["labels"]].mean()
    assert metrics["test_loss"] == pytest.approx(loss, rel=1e-4)


def test_saved_model_carries_its_classes_and_loads(tmp_path, data):
    run, model = Run(tmp_path / "run", recipe="convnet_mnist"), compiled()
    run.save(model, data.class_names)
    with zipfile.ZipFile(tmp_path / "run" / "model.keras") as archive:
        about = json.loads(archive.read("about.json"))
    assert about["class_names"] == list("0123456789") and about["recipe"] == "convnet_mnist"
    again = keras.saving.load_model(tmp_path / "run" / "model.keras")
    images = data.test[:5].arrays()[0]
    np.testing.assert_array_equal(model(images), again(images))


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_lower_precisions_learn_with_weights_in_float32(tmp_path, data, precision):
    run = Run(tmp_path / "run", precision=precision)
    with run.scope():
        model = compiled()
    history = run.fit(model, data.train, data.validation, updates=300, validate_every=100, verbose=0)
    assert all(weight.dtype == "float32" for weight in model.weights)
    assert model.layers[0].compute_dtype == precision.removeprefix("mixed_")
    assert history[-1]["val_accuracy"] > 0.6 and history[-1]["loss"] < history[0]["loss"]


def test_same_seed_same_run_and_another_seed_another(tmp_path, data):
    def weights(folder, seed):
        run = Run(tmp_path / folder, seed=seed)
        model = compiled()
        run.fit(model, digits.load(20, seed=seed, size=12).train, updates=10, verbose=0)
        return np.concatenate([np.ravel(weight) for weight in model.get_weights()])
    first, second, other = weights("a", 1), weights("b", 1), weights("c", 2)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0.01


@pytest.mark.parametrize(("arguments", "message"), [
    ({"strategy": "tpu"}, "auto, none, mirrored, multi_worker. Received: tpu"),
    ({"precision": "float8"}, "mixed_bfloat16.*Received: float8"),
    ({"jit": "yes"}, "auto, on or off. Received: yes"),
    ({"jit": "on", "strategy": "mirrored"}, "--jit off, or --strategy none"),
])
def test_bad_arguments_say_what_is_allowed(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        Run(tmp_path / "run", **arguments)
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "value.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["value.txt"]


def test_a_full_disk_is_told_with_the_file_and_leaves_the_old_one(tmp_path):
    path = tmp_path / "value.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left on device: .*value.txt"), replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["value.txt"]


def test_a_finished_child_is_not_trained_again(tmp_path, data):
    def series():
        run = Run(tmp_path / "series", resume=(tmp_path / "series" / "config.json").exists())
        child, model = run.child("one", None), compiled()
        history = child.fit(model, data.train, data.validation, updates=30, validate_every=10, verbose=0)
        child.save(model)
        child.finish({"loss": history[-1]["loss"]})
        return model.get_weights(), history, (child.folder / "times.csv").stat().st_mtime_ns
    weights, history, written = series()
    again = series()
    assert again[1:] == (history, written)
    for one, other in zip(weights, again[0], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("kind", "fold", "asked", "size"), [
    (Run, "", 0, 0), (Run, "", 70, 70), (Run, "1/5", 0, 100), (Run, "1/5", 70, 70), (Trial, "", 0, 100),
    (Trial, "", 70, 70)])
def test_a_search_and_folds_validate_even_where_a_run_would_train_on_all(tmp_path, kind, fold, asked, size):
    assert kind(tmp_path / "run", fold=fold).validation_size(asked, 100) == size
