"""A batch in parts: the same as on so many devices, and as whole where nothing is normalised."""
import subprocess
import sys

import keras
import numpy as np
import pytest

from pipelines import digits
from training import Run, device
from training.parts import each_by_itself


@pytest.fixture(scope="module")
def data():
    return digits.load(20, seed=4, size=12)


def trained(folder, stream, *, normalised, strategy="none", synchronized=False, updates=20, **options):
    run = Run(folder, seed=7, strategy=strategy, synchronized=synchronized)
    with run.scope():
        model = keras.Sequential([
            keras.Input((12, 12, 1)), keras.layers.Conv2D(3, 3),
            *([keras.layers.BatchNormalization(momentum=0.9)] if normalised else []), keras.layers.ReLU(),
            keras.layers.Flatten(), keras.layers.Dense(10)])
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9),
                      keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    run.fit(model, stream, updates=updates, verbose=0, **options)
    return model


def difference(one, other, kind="trainable_weights"):
    return max(np.abs(np.asarray(a) - np.asarray(b)).max()
               for a, b in zip(getattr(one, kind), getattr(other, kind), strict=True))


def test_parts_are_normalised_as_the_batches_of_so_many_devices(tmp_path, data):
    whole = trained(tmp_path / "whole", data.train, normalised=True)
    parts = trained(tmp_path / "parts", data.train, normalised=True, in_parts=2)
    for more in ({}, {"in_parts": 2}):                       # a part for each device
        devices = trained(tmp_path / f"devices{len(more)}", data.train, normalised=True, strategy="mirrored",
                          **more)
        assert difference(parts, devices) < 1e-4 < 1e-3 < difference(parts, whole)
    four = trained(tmp_path / "four", data.train, normalised=True, in_parts=4)
    halved = trained(tmp_path / "halved", data.train, normalised=True, in_parts=4, strategy="mirrored")
    assert difference(four, halved) < 1e-4 < 1e-3 < difference(four, parts)


def test_synchronised_statistics_are_of_the_whole_batch(tmp_path, data):
    whole = trained(tmp_path / "whole", data.train, normalised=True)
    same = trained(tmp_path / "same", data.train, normalised=True, in_parts=2, synchronized=True)
    assert difference(whole, same, "weights") == 0


def test_without_normalisation_parts_change_nothing(tmp_path, data):
    whole = trained(tmp_path / "whole", data.train, normalised=False)
    parts = trained(tmp_path / "parts", data.train, normalised=False, in_parts=4)
    assert difference(whole, parts) < 1e-5


def test_the_averages_move_once_for_each_part(data):
    images = np.random.default_rng(0).normal(size=(6, 2, 2, 3)).astype("float32")
    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.BatchNormalization(momentum=0.9)])
    with each_by_itself(model, 2):
        outputs = np.asarray(model(images, training=True))
        np.testing.assert_allclose(model(images, training=False), model.call(images, training=False))
    for part, seen in ((images[:3], outputs[:3]), (images[3:], outputs[3:])):
        normal = (part - part.mean((0, 1, 2))) / np.sqrt(part.var((0, 1, 2)) + 1e-3)
        np.testing.assert_allclose(seen, normal, atol=1e-5)
    first, second = images[:3].mean((0, 1, 2)), images[3:].mean((0, 1, 2))
    np.testing.assert_allclose(model.layers[0].moving_mean, 0.09 * first + 0.1 * second, atol=1e-6)
    assert "call" not in vars(model)


def test_several_inputs_and_outputs_stay_together():
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    model = keras.Model({"left": left, "right": right},
                        {"sum": keras.layers.Concatenate()([left, right]), "right": right * 1.0})
    for rows in (4, 3, 1):                                  # an evaluation's last batch may be any number
        inputs = {"left": np.arange(3. * rows).reshape(rows, 3), "right": np.ones((rows, 2))}
        whole = model(inputs)
        with each_by_itself(model, 2):
            parts = model(inputs)
        assert set(parts) == {"sum", "right"}
        for name, value in whole.items():
            np.testing.assert_array_equal(value, parts[name])


def test_training_in_parts_goes_on_where_it_was_interrupted(tmp_path, data):
    straight = trained(tmp_path / "straight", data.train, normalised=True, in_parts=2)
    trained(tmp_path / "cut", data.train, normalised=True, in_parts=2, updates=7, validate_every=7)
    run = Run(tmp_path / "cut", seed=7, strategy="none", resume=True)
    with run.scope():
        model = keras.models.clone_model(straight)
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9),
                      keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    run.fit(model, data.train, updates=20, validate_every=7, verbose=0, in_parts=2)
    assert difference(model, straight, "weights") == 0


@pytest.mark.parametrize(("parts", "message"), [
    (0, r"in_parts must be a number of parts, at least 1\. Received: 0"), (1.5, "at least 1"),
    (3, r"multiple of the number of parts, 3\. Received: 20")])
def test_parts_that_do_not_make_up_the_batch_are_refused(tmp_path, data, parts, message):
    with pytest.raises(ValueError, match=message):
        trained(tmp_path, data.train, normalised=False, in_parts=parts)


def test_an_evaluation_in_parts_counts_every_example(data):
    model = keras.Sequential([
        keras.Input((12, 12, 1)), keras.layers.Conv2D(3, 3), keras.layers.BatchNormalization(),
        keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    rows = data.test[:41].dataset(20)                      # the last batch has one
    whole = model.evaluate(rows, verbose=0)
    model.compile(loss=model.loss, metrics=["accuracy"])
    with each_by_itself(model, 2):
        assert model.evaluate(rows, verbose=0) == pytest.approx(whole)


def test_threads_are_shared_before_anything_is_computed():
    script = ("from training import device; device.share_threads({}); import tensorflow as tf; "
              "print(tf.config.threading.get_intra_op_parallelism_threads())")
    for parts, expected in ((1, 0), (2, max(1, device.cores() // 2))):
        done = subprocess.run([sys.executable, "-c", script.format(parts)], capture_output=True, text=True,
                              check=True)
        assert int(done.stdout) == expected
