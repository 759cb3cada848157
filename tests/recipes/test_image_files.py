"""transfer_learning and resnet50_imagenet on generated JPEG files, through main."""
import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import models
from models import resnet_cifar
from pipelines import image_folder
from pipelines.stream import Standardized
from recipes.__main__ import main
from recipes.images import resnet50_imagenet, transfer_learning
from training import Run


@pytest.mark.slow
def test_transfer_learning_learns_and_tells_what_it_confuses(tmp_path):
    config = transfer_learning.SMOKE
    metrics = transfer_learning.main(config, Run(tmp_path / "run", config=config, seed=0))
    assert metrics["val_accuracy"] > 0.5 > metrics["frozen_val_accuracy"]       # chance: 0.1
    assert metrics["test_accuracy"] > 0.4
    lines = (tmp_path / "run" / "confusions.csv").read_text().splitlines()
    errors = sum(int(line.split(",")[2]) for line in lines[1:])
    assert errors == round(40 * (1 - metrics["test_accuracy"]))
    assert (tmp_path / "run" / "figures" / "confusions.png").stat().st_size > 5_000


def test_pairs_of_classes_are_counted():
    labels, predicted = np.array([0, 0, 0, 1, 1, 2, 2, 2]), np.array([0, 1, 1, 1, 2, 2, 0, 0])
    assert transfer_learning.most_confused(labels, predicted, 3) == [
        (0, 1, 2, pytest.approx(2 / 3)), (2, 0, 2, pytest.approx(2 / 3)), (1, 2, 1, 0.5)]


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_features_come_from_a_file_and_the_output_layer_does_not(tmp_path, suffix):
    source, path = resnet_cifar(num_classes=7), tmp_path / f"source{suffix}"
    source.save(path) if suffix == ".keras" else source.save_weights(path)
    config = dataclasses.replace(transfer_learning.SMOKE, weights=str(path))
    model = transfer_learning.network(config, 5)
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    features = [keras.Model(each.input, each.get_layer("features").output) for each in (source, model)]
    np.testing.assert_allclose(features[0](images), features[1](images), atol=1e-6)
    assert model.output_shape == (None, 5) and np.ptp(model.get_layer("logits").kernel) > 0


@pytest.mark.parametrize(("changes", "error", "said"), [
    ({"network": "resnet_huge"}, ValueError, "network must be one of airbench94.* Received: resnet_huge"),
    ({"network": "features"}, ValueError, "Received: features"),
    ({"network": "vgg11_v2"}, ValueError, "vgg11 has no variant v2"),
    ({"network": "resnet18_v2", "weights": "imagenet"}, ValueError, "not for resnet18_v2"),
    ({"weights": "absent.keras"}, FileNotFoundError, "there is no file absent.keras"),
])
def test_networks_and_weights_that_are_not_there(changes, error, said):
    config = dataclasses.replace(transfer_learning.SMOKE, **changes)
    with pytest.raises(error, match=said):
        transfer_learning.network(config, 5)


@pytest.mark.parametrize(("network", "weights"), [
    ("resnet50", "imagenet"), ("resnet50_v2", "imagenet"), ("densenet121", "imagenet"),
    ("resnet50_v1_5", "torchvision"), ("googlenet_bn", "torchvision"), ("vgg16", "imagenet")])
def test_the_scaling_is_that_of_preprocess(network, weights):
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), np.uint8)
    weights_file = "imagenet" if weights == "imagenet" else "some.safetensors"
    config = transfer_learning.Config(network=network, weights=weights_file)
    found = Standardized(**transfer_learning.scaling(config))(tf.constant(images))
    np.testing.assert_allclose(found, models.preprocess(network, weights)(images), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_weights_of_imagenet_and_a_raw_photograph(monkeypatch, tmp_path, capsys):
    """Blue comes first in these networks: in training, in the test, and in what predict makes of a file."""
    def reference(weights, include_top):
        assert weights == "imagenet" and include_top
        return keras.applications.resnet50.ResNet50(weights=None)
    monkeypatch.setattr(keras.applications, "ResNet50", reference)
    config = dataclasses.replace(transfer_learning.SMOKE, network="resnet50", weights="imagenet",
                                 frozen_epochs=1, tuned_epochs=0, smallest_crop=1.0)
    transfer_learning.main(config, Run(tmp_path / "run", config=config))
    data = image_folder.load(tmp_path / "run" / "images" / "train", 20, size=config.size,
                             **transfer_learning.scaling(config))
    row = 3
    with np.load(tmp_path / "run" / "predictions.npz") as stored:
        logits = stored["logits"]
    capsys.readouterr()
    main(["predict", str(tmp_path / "run"), str(data.test.paths[row]), "--top", "1"])
    chances = np.exp(logits[row] - logits[row].max())
    expected = f"{data.class_names[chances.argmax()]} {100 * chances.max() / chances.sum():.1f} %"
    assert expected in capsys.readouterr().out


def test_resnet50_imagenet_learns(tmp_path):
    config = resnet50_imagenet.SMOKE
    metrics = resnet50_imagenet.main(config, Run(tmp_path / "run", config=config, seed=0))
    assert metrics["test_accuracy"] > 0.3 and metrics["test_top5_accuracy"] > 0.7         # chance: 0.1, 0.5
    assert metrics["ten_crop_accuracy"] > 0.3


def test_schedules_and_mixing():
    config = resnet50_imagenet.Config(epochs=10, warm_up=2, learning_rate=0.5)
    cosine = resnet50_imagenet.rate(config, 100)
    assert float(cosine(200)) == pytest.approx(0.5) and float(cosine(1000)) == pytest.approx(0, abs=1e-6)
    steps = resnet50_imagenet.rate(resnet50_imagenet.NAMED["he"], 100)
    assert [float(steps(update)) for update in (2999, 3001, 6001)] == pytest.approx([0.1, 0.01, 0.001])
    assert resnet50_imagenet.mixing(resnet50_imagenet.NAMED["he"], 10) is None
    both = resnet50_imagenet.mixing(config, 10)
    assert (both.first.alpha, both.second.alpha, both.first.classes) == (0.2, 1.0, 10)


def test_the_average_over_ten_crops(tmp_path):
    """A network that tells the mean colour, on images whose colour is their class."""
    from pipelines import image_folder
    for name, colour in (("red", (200, 0, 0)), ("green", (0, 200, 0))):
        (tmp_path / name).mkdir()
        for index in range(4):
            Image.new("RGB", (40, 50), colour).save(tmp_path / name / f"{index}.png")
    data = image_folder.load(tmp_path, 2, size=16)
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.GlobalAveragePooling2D(),
                              keras.layers.Dense(2, use_bias=False)])
    for kernel, expected in (([[0, 1], [1, 0], [0, 0]], 1.0), ([[1, 0], [0, 1], [0, 0]], 0.0)):
        model.set_weights([np.array(kernel, np.float32)])
        assert resnet50_imagenet.ten_crop_accuracy(model, data.test, 16) == expected
