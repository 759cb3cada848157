"""Weights of other libraries and of files: same outputs, plain refusals, nothing half changed."""
import importlib.util
import json
import re
import urllib.error
import zipfile

import keras
import numpy as np
import pytest
from references import PARTS, filled
from soundness import images_for

import models
from models.weights import IMAGENET, torch_names, weighted

CLASSES = 1000


def equal_networks(model, reference, size=64, tolerance=1e-4):
    """Same logits on random images, then in training the same ones and the same moving statistics."""
    images = np.random.default_rng(2).random((4, size, size, 3), np.float32)
    for training in (False, True):
        expected = np.asarray(reference(images, training=training))
        assert expected.std() > 1e-3
        np.testing.assert_allclose(model(images, training=training), expected, rtol=0,
                                   atol=(10 if training else 1) * tolerance * np.abs(expected).max())
    ours, theirs = ([weight for weight in each.weights if "moving" in weight.path]
                    for each in (model, reference))
    for weight, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-3, atol=1e-4)


def stand_in(monkeypatch, name, **arguments):
    """Random weights where keras.applications would download its own."""
    build = getattr(keras.applications, IMAGENET[name])
    built = []

    def builder(weights, include_top):
        assert weights == "imagenet"
        built.append(filled(build(weights=None, include_top=include_top, classifier_activation=None,
                                  **arguments)))
        return built[0]
    monkeypatch.setattr(keras.applications, IMAGENET[name], builder)
    return built


@pytest.mark.parametrize("name", [
    "resnet50", "resnet50_v2", "densenet121",
    *(pytest.param(name, marks=pytest.mark.slow) for name in
      ("resnet101", "resnet101_v2", "resnet152", "resnet152_v2", "densenet169", "densenet201"))])
def test_weights_of_keras_applications(name, monkeypatch):
    built = stand_in(monkeypatch, name, input_shape=(64, 64, 3))
    builder, _, version = name.partition("_")
    arguments = {"version": version} if version else {}
    model = getattr(models, builder)((64, 64, 3), weights="imagenet", **arguments)
    equal_networks(model, built[0])


@pytest.mark.parametrize("depth", [16, 19])
def test_weights_of_keras_applications_without_the_top(depth, monkeypatch):
    built = stand_in(monkeypatch, f"vgg{depth}", input_shape=(None, None, 3))
    model = models.vgg((40, 33, 3), depth=depth, include_top=False, weights="imagenet")
    images = 255 * images_for(model, 2)
    expected = np.asarray(built[0](images))
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_weights_of_keras_applications_for_all_of_vgg16(monkeypatch):
    built = stand_in(monkeypatch, "vgg16")
    model = models.vgg16(weights="imagenet")
    images = images_for(model, 1)
    np.testing.assert_allclose(model(images), built[0](images), rtol=1e-4, atol=1e-4)


def test_all_names_of_imagenet_are_those_of_builders():
    for name, builder in IMAGENET.items():
        assert hasattr(keras.applications, builder)
        module = builder.lower().replace("v2", "_v2") if "V2" in builder else builder.lower()
        assert module == name
        images = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3)).astype(np.float32)
        own = getattr(keras.applications, re.sub(r"(resnet|densenet)\d+", r"\1", name))
        np.testing.assert_allclose(models.preprocess(name)(images), own.preprocess_input(images.copy()))


def test_preprocess_as_torchvision_does():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for name in ("resnet50_v1_5", "vgg16", "alexnet_owt"):
        np.testing.assert_allclose(models.preprocess(name, "torchvision")(images),
                                   (images / 255 - mean) / std, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(models.preprocess("googlenet_bn", "torchvision")(images), images / 127.5 - 1,
                               rtol=1e-4, atol=1e-5)
    for name, weights in (("resnet18", "imagenet"), ("resnet50", "torchvision"), ("vgg16", "timm")):
        with pytest.raises(ValueError, match=f"Received: '{name}', weights='{weights}'"):
            models.preprocess(name, weights)


def unreachable(*arguments, **keywords):
    raise urllib.error.URLError("no route to host")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    from keras.src.applications import imagenet_utils
    from keras.src.utils import file_utils
    monkeypatch.setattr(file_utils, "urlretrieve", unreachable)
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", None)
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path))


def test_offline(offline):
    with pytest.raises(ConnectionError, match="of densenet121 are not in Keras's cache.*weights= the path"):
        models.densenet121((32, 32, 3), include_top=False, weights="imagenet")
    with pytest.raises(ConnectionError, match="names of ImageNet's classes are not in Keras's cache"):
        models.decode_predictions(np.zeros((1, 1000)))


def test_decoded_predictions(monkeypatch):
    from keras.src.applications import imagenet_utils
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", {str(i): [f"n{i}", f"name{i}"] for i in range(1000)})
    scores = np.zeros((2, 1000))
    scores[0, 7], scores[0, 3], scores[1, 999] = 2, 1, 5
    assert models.decode_predictions(scores, top=2)[0] == [("n7", "name7", 2.0), ("n3", "name3", 1.0)]
    with pytest.raises(ValueError, match=r"Received: \(2, 10\)"):
        models.decode_predictions(scores[:, :10])


@pytest.mark.parametrize("call, message", [
    (lambda: models.resnet50((64, 64, 3), 10, weights="imagenet"), "num_classes=1000, resnet50 has 10"),
    (lambda: models.resnet18((64, 64, 3), weights="imagenet"), "not for resnet18"),
    (lambda: models.vgg16((32, 32, 3), batch_norm=True, include_top=False, weights="imagenet"),
     "not for vgg16_bn"),
    (lambda: models.resnet_cifar(weights="imagenet"), "not for resnet20_cifar")])
def test_imagenet_for_other_networks(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_imagenet_for_images_of_other_channels(monkeypatch):
    stand_in(monkeypatch, "densenet121", input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match=r"'stem_conv' has \(7, 7, 1, 64\).*\(7, 7, 3, 64\)"):
        models.densenet121((32, 32, 1), include_top=False, weights="imagenet")


def small(num_classes=7):
    return filled(models.densenet_cifar((8, 8, 3), num_classes, depth=7, growth_rate=3))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("build", [
    lambda **a: models.densenet_cifar((8, 8, 3), 7, depth=7, growth_rate=3, **a),
    lambda **a: models.vgg11((32, 32, 3), hidden=(5,), batch_norm=True, **a),
    lambda **a: models.alexnet((19, 19, 3), 5, stem_kernel=5, stem_stride=1, hidden=(7, 6), **a),
    lambda **a: models.airbench94((9, 9, 3), widths=(3, 4, 5), **a),
    lambda **a: models.googlenet((79, 79, 3), 5, auxiliary=True, **a)])
def test_files_of_keras(build, suffix, tmp_path):
    saved = filled(build())
    path = tmp_path / f"saved{suffix}"
    saved.save_weights(path) if suffix == ".weights.h5" else saved.save(path)
    keras.utils.set_random_seed(5)
    for weight, value in zip(build(weights=path).weights, saved.weights, strict=True):
        np.testing.assert_array_equal(weight, value)
    weighted(build(), str(path))                 # a path can be text, too


def test_a_file_with_the_top_for_a_network_without(tmp_path):
    saved = small()
    saved.save_weights(tmp_path / "a.weights.h5")
    model = models.densenet_cifar((8, 8, 3), depth=7, growth_rate=3, include_top=False,
                                  weights=tmp_path / "a.weights.h5")
    for weight, value in zip(model.weights, saved.weights, strict=False):
        np.testing.assert_array_equal(weight, value)


def unchanged(model, path, message, error=ValueError):
    before = model.get_weights()
    with pytest.raises(error, match=message) as caught:
        weighted(model, path)
    assert "\n" not in str(caught.value)
    for value, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)


def test_files_that_do_not_fit(tmp_path):
    path = tmp_path / "seven.weights.h5"
    small().save_weights(path)
    unchanged(small(10), path,
              r"'logits' has \(\d+, 10\) and \(10,\) in the network and \(\d+, 7\) and \(7,\) in "
              r"the weights. The weights are for num_classes=7, the network has 10; with include_top=F.*Not")
    unchanged(models.densenet_cifar((8, 8, 3), 7, depth=7, growth_rate=4), path,
              r"'stage1_layer0_conv1' has \(3, 3, 16, 4\) in the network and \(3, 3, 16, 3\) in the weights")
    unchanged(models.resnet_cifar((8, 8, 3), depth=8), path,
              r"'stage1_block0_conv1' has \(3, 3, 16, 16\) in the network and \(3, 3, 16, 3\) in the weights")
    models.densenet_cifar((8, 8, 3), 7, depth=10, growth_rate=3).save_weights(tmp_path / "deep.weights.h5")
    unchanged(small(), tmp_path / "deep.weights.h5",
              r"'transition1_conv' has \(1, 1, 19, 19\) .* \(3, 3, 19, 3\)")


def test_a_deeper_file_of_the_same_shapes(tmp_path):
    def chain(depth):
        return keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4) for _ in range(depth)),
                                 keras.layers.Dense(4, name="logits")])
    chain(2).save_weights(tmp_path / "a.weights.h5")
    unchanged(chain(1), tmp_path / "a.weights.h5", "they have more layers, the first of them dense_2")


def test_files_that_are_none(tmp_path):
    model = small()
    (tmp_path / "text.weights.h5").write_text("no weights")
    (tmp_path / "text.keras").write_text("no model")
    unchanged(model, tmp_path / "text.weights.h5", "text.weights.h5 is not a weights file of Keras")
    unchanged(model, tmp_path / "text.keras", "text.keras is not a model saved by Keras 3")
    unchanged(model, tmp_path / "none.weights.h5", "there is no file .*none.weights.h5", FileNotFoundError)
    unchanged(model, tmp_path, "no weights can be read from")
    unchanged(model, "resnet50.pth", r"A PyTorch checkpoint can carry code.*save_file\(model.state_dict\(\)")
    unchanged(model, "imagnet", "None, \"imagenet\" or a file that ends in .weights.h5, .keras, .safetensors")


def test_a_file_that_carries_code_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: 2 * x), keras.layers.Dense(3)])
    model.save(tmp_path / "code.keras")
    unchanged(small(), tmp_path / "code.keras", "code.keras is refused: it carries code.*Lambda")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation=lambda x: 2 * x)])
    model.save(tmp_path / "activation.keras")
    unchanged(small(), tmp_path / "activation.keras", "activation.keras is refused: it carries code")


def test_a_file_with_unknown_classes_is_refused(tmp_path):
    small().save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config["config"]["layers"][1].update(module="os", class_name="system", registered_name="os>system")
    parts["config.json"] = json.dumps(config)
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    unchanged(small(), tmp_path / "b.keras", "b.keras is refused: it has a system of os, a class that is not")


# Files in torchvision's layout.

def tensors_of(model):
    """The model's weights as torchvision would store them."""
    names, tensors = torch_names(model), {}
    for layer in model.layers:
        for part, weight in zip(PARTS, layer.weights, strict=False):
            value = np.asarray(weight)
            value = value.transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim])
            tensors[f"{names[layer.name]}.{part}"] = np.ascontiguousarray(value)
        if "bn" in layer.name:
            tensors[f"{names[layer.name]}.num_batches_tracked"] = np.array(3)
    return tensors


# Some of the keys, as torchvision's state_dict has them.
RESNET18_KEYS = {
    "conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "layer1.0.conv1.weight",
    "layer2.0.downsample.0.weight", "layer2.0.downsample.1.running_var", "layer4.1.bn2.bias", "fc.weight"}
DENSENET121_KEYS = {
    "features.conv0.weight", "features.norm0.bias", "features.denseblock1.denselayer1.norm1.weight",
    "features.denseblock3.denselayer24.conv2.weight", "features.transition2.norm.running_mean",
    "features.transition3.conv.weight", "features.norm5.weight", "classifier.bias"}


@pytest.fixture
def save_file():
    return pytest.importorskip("safetensors.numpy", reason="safetensors is not installed").save_file


def test_names_of_torchvision():
    def names(model):
        return torch_names(model).values()
    for builder, keys in ((models.resnet18, RESNET18_KEYS), (models.densenet121, DENSENET121_KEYS)):
        assert {key.rpartition(".")[0] for key in keys} <= set(names(builder((32, 32, 3), 5)))
    vgg = models.vgg11((32, 32, 3), 5, hidden=(6, 7), batch_norm=True)
    assert [torch_names(vgg)[name] for name in (
        "stage1_conv1", "stage1_conv1_bn", "stage5_conv2_bn", "hidden1", "hidden2", "logits")] == [
        "features.0", "features.1", "features.26", "classifier.0", "classifier.3", "classifier.6"]
    alexnet = models.alexnet_owt((63, 63, 3), 5, hidden=(6, 7))
    assert [torch_names(alexnet)[layer.name] for layer in alexnet.layers if layer.weights] == [
        "features.0", "features.3", "features.6", "features.8", "features.10", "classifier.1", "classifier.4",
        "classifier.6"]
    google = torch_names(models.googlenet((31, 31, 3), 5, batch_norm=True, auxiliary=True))
    assert {"conv1.conv", "inception3a.branch1.bn", "inception4e.branch3.1.conv", "aux2.conv.conv",
            "aux1.fc2", "fc"} <= set(google.values())


def test_safetensors(save_file, tmp_path):
    saved = filled(models.resnet18((32, 32, 3), 7))
    tensors = tensors_of(saved)
    assert set(tensors) >= RESNET18_KEYS
    save_file(tensors, tmp_path / "a.safetensors")
    model = models.resnet18((32, 32, 3), 7, weights=tmp_path / "a.safetensors")
    for weight, value in zip(model.weights, saved.weights, strict=True):
        np.testing.assert_array_equal(weight, value)
    model = models.resnet18((32, 32, 3), include_top=False, weights=tmp_path / "a.safetensors")
    np.testing.assert_array_equal(model.weights[0], saved.weights[0])

    wrong = models.resnet18((32, 32, 3), 10)
    unchanged(wrong, tmp_path / "a.safetensors", r"'logits' has \(512, 10\) .* \(512, 7\).*num_classes=7, ")
    deeper = models.resnet34((32, 32, 3), 7)
    unchanged(deeper, tmp_path / "a.safetensors", "'stage1_block2_conv1' has .* and nothing in the weights")
    save_file({**tensors, "layer5.0.conv1.weight": np.zeros(3)}, tmp_path / "b.safetensors")
    unchanged(saved, tmp_path / "b.safetensors", "more layers, the first of them layer5.0.conv1.weight")
    (tmp_path / "c.safetensors").write_text("no tensors, a text that is long enough")
    unchanged(saved, tmp_path / "c.safetensors", "c.safetensors is not a safetensors file")
    unchanged(small(), tmp_path / "a.safetensors", "Received: a model named densenet7_k3_cifar")
    narrow = {name: value.astype("bfloat16") for name, value in tensors.items()}
    save_file(narrow, tmp_path / "d.safetensors")
    model = models.resnet18((32, 32, 3), 7, weights=tmp_path / "d.safetensors")
    np.testing.assert_allclose(model.weights[0], saved.weights[0], rtol=1e-2)


def test_other_names_for_the_same_tensors(save_file, tmp_path):
    """torchvision's own DenseNet files have norm.1 and conv.2, timm's VGG convolutions as dense layers."""
    saved = filled(models.densenet121((32, 32, 3), 3))
    save_file({re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): value
               for name, value in tensors_of(saved).items()}, tmp_path / "a.safetensors")
    model = models.densenet121((32, 32, 3), 3, weights=tmp_path / "a.safetensors")
    np.testing.assert_array_equal(model.weights[-9], saved.weights[-9])

    saved = models.vgg11((64, 64, 3), 3, hidden=(6, 5))                  # whose last map is 2x2x512
    tensors, kernel = tensors_of(saved), np.asarray(saved.get_layer("hidden1").kernel)
    place = np.arange(2048).reshape(512, 2, 2)               # PyTorch's order of rows: channel, row, column
    assert place[9, 1, 0] == 38
    torch_kernel = np.zeros((6, 2048), np.float32)
    for channel in range(512):
        for row in range(2):
            for column in range(2):
                torch_kernel[:, place[channel, row, column]] = kernel[(row * 2 + column) * 512 + channel]
    save_file({**tensors, "classifier.0.weight": torch_kernel}, tmp_path / "b.safetensors")
    for old, new in (("classifier.0", "pre_logits.fc1"), ("classifier.3", "pre_logits.fc2"),
                     ("classifier.6", "head.fc")):
        tensors = {name.replace(old, new): value for name, value in tensors.items()}
    save_file({**tensors, "pre_logits.fc1.weight": torch_kernel.reshape(6, 512, 2, 2),
               "pre_logits.fc2.weight": tensors["pre_logits.fc2.weight"][..., None, None]},
              tmp_path / "c.safetensors")
    for name in ("b", "c"):
        model = models.vgg11((64, 64, 3), 3, hidden=(6, 5), weights=tmp_path / f"{name}.safetensors")
        for weight, value in zip(model.weights, saved.weights, strict=True):
            np.testing.assert_array_equal(weight, value)


TORCHVISION = {      # by torchvision's builder: our network, their arguments, images' side in pixels
    "resnet18": (lambda w: models.resnet18((64, 64, 3), 11, weights=w), {"num_classes": 11}, 64),
    "resnet50": (lambda w: models.resnet50((64, 64, 3), 11, version="v1.5", weights=w),
                 {"num_classes": 11}, 64),
    "densenet121": (lambda w: models.densenet121((64, 64, 3), 11, reference="torchvision", weights=w),
                    {"num_classes": 11}, 64),
    "vgg11_bn": (lambda w: models.vgg11(num_classes=11, batch_norm=True, weights=w),
                 {"num_classes": 11}, 224),
    "alexnet": (lambda w: models.alexnet_owt(num_classes=11, weights=w), {"num_classes": 11}, 224),
    "googlenet": (lambda w: models.googlenet((96, 96, 3), 11, batch_norm=True, auxiliary=True, weights=w),
                  {"num_classes": 11, "aux_logits": True, "init_weights": False}, 96)}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
@pytest.mark.parametrize("name", TORCHVISION)
def test_weights_of_torchvision(name, save_file, tmp_path):
    import torch
    import torchvision
    torch.manual_seed(0)
    build, arguments, size = TORCHVISION[name]
    reference = getattr(torchvision.models, name)(**arguments)
    for module in reference.modules():               # statistics and scales that are not the first ones
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0                           # its numbers would differ in training
    tensors = {key: value.numpy().copy() for key, value in reference.state_dict().items()}
    save_file(tensors, tmp_path / "a.safetensors")
    model = build(tmp_path / "a.safetensors")
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    images = np.random.default_rng(3).random((4, size, size, 3), np.float32)
    for training in (False, True):
        reference.train(training)
        with torch.no_grad():
            theirs = reference(torch.from_numpy(images.transpose(0, 3, 1, 2)))
        ours = model(images, training=training)
        if name == "googlenet":                      # in evaluation torchvision has the main output alone
            theirs = {"main": theirs} if not training else {
                "main": theirs.logits, "aux1": theirs.aux_logits1, "aux2": theirs.aux_logits2}
        else:
            ours, theirs = {"main": ours}, {"main": theirs}
        for output, expected in theirs.items():
            expected = expected.numpy()
            np.testing.assert_allclose(ours[output], expected, rtol=0,
                                       atol=(10 if training else 1) * 1e-4 * np.abs(expected).max())
    for key, module in torch_names(model).items():   # the moving averages after that batch
        layer = model.get_layer(key)
        if isinstance(layer, keras.layers.BatchNormalization):
            statistics = reference.get_submodule(module)
            np.testing.assert_allclose(layer.moving_mean, statistics.running_mean, rtol=1e-3, atol=1e-4)
            count = int(np.prod(layer.input.shape[1:3])) * len(images)
            # PyTorch takes the unbiased variance of the batch, which is n / (n - 1) times ours.
            kept = 0.9 * tensors[f"{module}.running_var"]
            moved = kept + (statistics.running_var.numpy() - kept) * (count - 1) / count
            np.testing.assert_allclose(layer.moving_variance, moved, rtol=1e-3, atol=1e-4)
