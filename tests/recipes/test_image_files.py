"""transfer_learning and resnet50_imagenet on generated JPEG files, through main."""
import dataclasses

import keras
import numpy as np
import pytest
from PIL import Image

from models import resnet_cifar
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
    source, model = resnet_cifar(num_classes=7, depth=8), resnet_cifar(num_classes=5, depth=8)
    path = tmp_path / f"source{suffix}"
    source.save(path) if suffix == ".keras" else source.save_weights(path)
    before = model.get_layer("logits").get_weights()
    transfer_learning.give_features(model, path)
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    features = [keras.Model(each.input, each.get_layer("features").output) for each in (source, model)]
    np.testing.assert_allclose(features[0](images), features[1](images), atol=1e-6)
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], before[0])


def test_a_file_that_does_not_fit_names_the_layer_and_changes_nothing(tmp_path):
    resnet_cifar(depth=8).save(tmp_path / "other.keras")
    model = resnet_cifar(depth=14)
    before = model.get_weights()
    with pytest.raises(ValueError, match="does not fit .* its layer stage1_block1.* has no weights"):
        transfer_learning.give_features(model, tmp_path / "other.keras")
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        transfer_learning.give_features(model, tmp_path / "absent.keras")
    config = dataclasses.replace(transfer_learning.SMOKE, network="resnet_huge")
    with pytest.raises(ValueError, match="Received: resnet_huge"):
        transfer_learning.main(config, Run(tmp_path / "run", config=config))


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
