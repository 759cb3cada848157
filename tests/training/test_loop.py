import csv
import gc

import keras
import numpy as np
import pytest
from interrupting import InterruptAfter, Interrupted
from tensorflow.python.framework import func_graph, ops

from models import nielsen_convnet
from pipelines import digits
from pipelines.stream import Stream
from training import Run


@pytest.fixture(scope="module")
def data():
    return digits.load(20, seed=4, size=12)


def network(dropout=0.0, optimizer=None):
    model = nielsen_convnet((12, 12, 1), filters=(3,), hidden=(12,), dropout=dropout)
    model.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def trained(folder, stream, validation=None, *, strategy="none", jit="off", build=network, **options):
    """A network after run.fit, and its history; goes on where folder already holds a run."""
    run = Run(folder, seed=7, strategy=strategy, jit=jit, resume=(folder / "config.json").exists())
    with run.scope():
        model = build()
    return model, run.fit(model, stream, validation, verbose=0, **options)


def assert_same_weights(model, other, atol=0.0):
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol, rtol=0, err_msg=a.path)


def test_equals_keras_updates_one_by_one(tmp_path, data):
    model, _ = trained(tmp_path / "run", data.train, updates=30)
    keras.utils.set_random_seed(7)
    plain = network()
    for i in range(30):
        plain.train_on_batch(*data.train.batch(i))
    assert_same_weights(model, plain, atol=1e-5)


def test_overfits_a_small_batch(tmp_path, data):
    few = data.training[:20]
    _, history = trained(tmp_path / "run", Stream(few, 20), few, updates=400, validate_every=100)
    assert history[-1]["val_accuracy"] == 1.0 and history[-1]["val_loss"] < 0.05 < history[0]["loss"]


def test_history_counts_updates_and_is_written(tmp_path, data):
    _, history = trained(tmp_path / "run", data.train, data.validation, updates=50, validate_every=20,
                         steps_per_execution=7)
    assert [row["updates"] for row in history] == [20, 40, 50]
    with open(tmp_path / "run" / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == [row["val_loss"] for row in history]


def test_the_size_of_a_block_does_not_matter(tmp_path, data):
    one, first = trained(tmp_path / "a", data.train, updates=40, validate_every=20, steps_per_execution=1)
    many, second = trained(tmp_path / "b", data.train, updates=40, validate_every=20, steps_per_execution=13)
    assert_same_weights(one, many)
    assert [row["loss"] for row in first] == [row["loss"] for row in second]


@pytest.mark.parametrize("calls", [0, 2, 5, 9])
def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path, data, calls):
    options = {"updates": 60, "validate_every": 20, "steps_per_execution": 5, "checkpoint_every": 5,
               "keep_best": "val_accuracy", "build": lambda: network(0.5, keras.optimizers.Adam(1e-2))}
    whole, history = trained(tmp_path / "whole", data.train, data.validation, **options)
    with pytest.raises(Interrupted):
        trained(tmp_path / "cut", data.train, data.validation, callbacks=[InterruptAfter(calls)], **options)
    again, resumed = trained(tmp_path / "cut", data.train, data.validation, **options)
    assert_same_weights(whole, again)                # dropout and Adam included: bitwise
    assert resumed == history


def test_keeps_the_best_weights(tmp_path, data):
    model, history = trained(tmp_path / "run", data.train, data.validation, updates=60, validate_every=10,
                             keep_best="val_loss", mode="max",          # so that it is an early epoch
                             build=lambda: network(0.0, keras.optimizers.SGD(0.05)))
    worst = max(history, key=lambda row: row["val_loss"])
    assert worst["epoch"] < len(history)
    loss, _ = model.evaluate(data.validation.dataset(), verbose=0)
    assert loss == pytest.approx(worst["val_loss"], rel=1e-5)


def test_two_devices_give_what_one_gives(tmp_path, data):
    one, first = trained(tmp_path / "one", data.train, data.validation, updates=50, validate_every=25)
    two, second = trained(tmp_path / "two", data.train, data.validation, updates=50, validate_every=25,
                          strategy="mirrored")
    assert_same_weights(one, two, atol=1e-5)
    for a, b in zip(first, second, strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_xla_gives_the_same(tmp_path, data):
    plain, _ = trained(tmp_path / "plain", data.train, updates=20)
    compiled, _ = trained(tmp_path / "compiled", data.train, updates=20, jit="on")
    assert_same_weights(plain, compiled, atol=1e-4)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path, data):
    with pytest.raises(FloatingPointError, match="loss became .* at update .*First not finite: .*smaller"):
        trained(tmp_path / "run", data.train, updates=500, steps_per_execution=10, checkpoint_every=10,
                build=lambda: network(0.0, keras.optimizers.SGD(3e38)))


@pytest.mark.parametrize(("options", "message"), [
    ({}, "either epochs or updates"),
    ({"epochs": 1, "updates": 1}, "either epochs or updates"),
    ({"epochs": 0}, "epochs must be at least 1. Received: 0"),
    ({"updates": 5, "steps_per_execution": 0}, "steps_per_execution must be at least 1"),
    ({"updates": 5, "mode": "most"}, "Received: 'most'"),
    ({"updates": 5, "keep_best": "val_f1"}, "keep_best must be one of .*loss.* Received: val_f1"),
    ({"updates": 5, "build": lambda: network(optimizer=keras.optimizers.SGD(-1.0))}, "positive number"),
])
def test_bad_arguments_say_what_is_allowed(tmp_path, data, options, message):
    with pytest.raises(ValueError, match=message):
        trained(tmp_path / "run", data.train, **options)


def test_nothing_of_a_fit_stays_behind(tmp_path, data):
    """Neither its graphs nor the gradients that TensorFlow registers; see training/memory.py."""
    def graphs():
        gc.collect()
        return [each for each in gc.get_objects() if isinstance(each, func_graph.FuncGraph)]
    trained(tmp_path / "first", data.train, updates=5)              # whatever is made once
    registered, kept = len(ops.gradient_registry._registry), len(graphs())
    for name in ("second", "third"):
        trained(tmp_path / name, data.train, updates=5)
    assert len(ops.gradient_registry._registry) == registered and len(graphs()) <= kept
