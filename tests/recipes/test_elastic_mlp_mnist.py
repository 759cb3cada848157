"""elastic_mlp_mnist: the published sizes, the first weights, and that the smoke run learns."""
import dataclasses

import keras
import numpy as np
import pytest

from pipelines import mnist
from recipes.images.elastic_mlp_mnist import NAMED, PUBLISHED, SMOKE, compiled_model, main
from training import Run

PAPER = {name: getattr(NAMED["tanh"], name) for name in ("activation", "first_weights", "black", "white")}


def test_smoke_learns(tmp_path, drawn):
    metrics = main(SMOKE, Run(tmp_path / "run", recipe="elastic_mlp_mnist", config=SMOKE, seed=0))
    assert metrics["test_accuracy"] > 0.85                             # chance: .1
    drawn(tmp_path / "run", "distorted")


def test_without_distortion_it_learns_the_images_as_they_are(tmp_path):
    config = dataclasses.replace(SMOKE, rotation=0, shear=0, scale=0, alpha=0, epochs=3)
    metrics = main(config, Run(tmp_path / "run", recipe="elastic_mlp_mnist", config=config, seed=0))
    assert metrics["test_accuracy"] > 0.75


@pytest.mark.parametrize(("name", "count"), [
    ("1000-500", 1_347_510), ("1500-1000-500", 3_269_510), ("2000-1500-1000-500", 6_692_010),
    ("2500-2000-1500-1000-500", 12_115_010), ("9x1000", 8_860_010), ("tanh", 12_115_010),
    ("simard-none", 681_610), ("simard-affine", 681_610), ("simard-elastic", 681_610)])
def test_parameters_of_table_1(name, count):
    model = compiled_model(NAMED[name], mnist.load("digits", 100))
    assert model.count_params() == count
    assert model.input_shape == (None, 28, 28, 1) and model.get_layer("flatten").output.shape == (None, 841)


def test_units_first_weights_and_pixels_of_the_paper():
    model = compiled_model(dataclasses.replace(SMOKE, **PAPER), mnist.load("digits", 20))
    kernel = model.get_layer("hidden1").kernel.numpy()
    assert np.abs(kernel).max() <= 0.05 and kernel.std() == pytest.approx(0.05 / np.sqrt(3), rel=0.02)
    hidden = keras.Model(model.inputs[0], model.get_layer("hidden1").output)(np.ones((1, 28, 28, 1))).numpy()
    assert pixels(model) == {-1: 841 - 784, 1: 784}
    image = np.full((841,), -1.0)
    image.reshape(29, 29)[:28, :28] = 1
    expected = 1.7159 * np.tanh(2 / 3 * (image @ kernel))
    np.testing.assert_allclose(hidden[0], expected, atol=1e-4)


def test_first_weights_and_warm_up_are_as_asked():
    config = dataclasses.replace(SMOKE, hidden=(400, 400), first_weights="lecun_normal", warm_up=0.1)
    data = mnist.load("digits", config.batch_size)
    model = compiled_model(config, data)
    assert model.get_layer("hidden2").kernel.numpy().std() == pytest.approx(1 / np.sqrt(400), rel=0.02)
    rate, updates = model.optimizer._learning_rate, config.epochs * data.train.batches_per_epoch
    found = [float(rate(update)) for update in (0, round(0.1 * updates), updates)]
    assert found == pytest.approx([config.learning_rate / 25, config.learning_rate, 0], abs=1e-8)


def test_without_validation_all_images_train(tmp_path):
    config = dataclasses.replace(SMOKE, hidden=(30,), validation=0, epochs=2)
    assert set(main(config, Run(tmp_path / "run", config=config))) == {"test_accuracy", "test_loss"}


def test_published_figures_are_of_configurations_that_exist():
    assert set(PUBLISHED) <= set(NAMED)


def pixels(model):
    """{value: how many} that the first layer reads of a white image, in its black frame."""
    inputs = keras.Model(model.inputs[0], model.get_layer("flatten").output)
    values, counts = np.unique(inputs(np.ones((1, 28, 28, 1), np.float32)), return_counts=True)
    return dict(zip((round(value, 4) for value in values.tolist()), counts.tolist(), strict=True))


def test_pixels_reach_the_network_from_black_to_white():
    found = pixels(compiled_model(SMOKE, mnist.load("digits", 20)))
    assert found == pytest.approx({-0.1: 841 - 784, 1.175: 784})
