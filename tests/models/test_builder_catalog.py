"""The catalogue: every builder is in it, with its true numbers, and it prints without Keras."""
import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import models
from models import canziani
from models.catalog import catalog, measured, named, table

ROOT = Path(__file__).parents[2]
NO_BUILDERS = {"catalog", "complexity", "decode_predictions", "features", "mcculloch_pitts", "on_images",
               "preprocess", "scaled_tanh", "set_whitening", "weighted", "vgg",      # vgg: as vgg11 to vgg19
               "beam_search", "greedy", "continuation", "streaming",
               "bag_of_words", "fasttext",      # no size of input to count with
               "show_and_tell", "word_detector"}      # their encoder is one of these builders
QUICK = ["lenet1", "lenet5", "modern_lenet5", "mlp 784-30-10", "nielsen_convnet", "resnet_cifar depth 20",
         "alexnet_owt", "vgg16", "airbench94", "threshold_perceptron 2-2-1", "resnet18 v2"]


def test_every_builder_is_there():
    builders = {name for name in models.__all__ if inspect.isfunction(getattr(models, name))} - NO_BUILDERS
    assert {network.builder for network in catalog()} == builders
    for network in catalog():
        assert getattr(models, network.builder).__module__ == f"models.{network.module}"
    names = [network.name for network in catalog()]
    assert len(names) == len(set(names))


def test_editors_see_every_builder():
    stub = ast.parse((ROOT / "models" / "__init__.pyi").read_text())
    seen = {node.module.removeprefix("models."): tuple(alias.asname for alias in node.names)
            for node in stub.body if isinstance(node, ast.ImportFrom)}
    assert seen == models.BUILDERS


def stored_numbers_are_measured(name):
    _, module, builder, arguments, _ = next(entry for entry in named() if entry[0] == name)
    network = next(network for network in catalog() if network.name == name)
    for count, value in measured(module, builder, arguments).items():
        stored = getattr(network, count)
        assert (list(stored) if count == "input_shape" else stored) == value, (name, count)


@pytest.mark.parametrize("name", QUICK)
def test_stored_numbers(name):
    stored_numbers_are_measured(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [entry[0] for entry in named() if entry[0] not in QUICK])
def test_all_stored_numbers(name):
    stored_numbers_are_measured(name)


@pytest.mark.parametrize("name, count, value", [
    ("alexnet", "parameters", 60_965_224), ("alexnet", "multiply_adds", 724_406_816),
    ("vgg16", "parameters", 138_357_544), ("vgg19", "multiply_adds", 19_632_062_464),
    ("googlenet", "parameters", 6_998_552), ("resnet50", "multiply_adds", 3_857_973_248),
    ("resnet50 v1.5", "trainable_parameters", 25_557_032), ("resnet152 v2", "parameters", 60_380_648),
    ("densenet264", "multiply_adds", 5_751_653_376), ("resnet_cifar depth 1202", "depth", 1202),
    ("densenet_cifar L 190, k 40, BC", "trainable_parameters", 25_624_430),
    ("airbench94", "trainable_parameters", 1_971_352), ("modern_lenet5", "multiply_adds", 416_520)])
def test_published_figures(name, count, value):
    assert getattr(next(network for network in catalog() if network.name == name), count) == value


def test_a_network_builds_itself():
    network, = catalog("resnet_cifar depth 20")
    assert network.build(num_classes=3).output_shape == (None, 3)
    assert network.build().count_params() == network.parameters


def test_matching():
    assert {network.builder for network in catalog("vgg1?")} == {"vgg11", "vgg13", "vgg16", "vgg19"}
    assert len(catalog("resnet50")) == 3 and catalog("*v1.5")[0].name == "resnet50 v1.5"
    with pytest.raises(ValueError, match=r"no network matches 'resnet51'. Nearest: resnet50, "):
        catalog("resnet51")


def test_table_has_every_digit():
    lines = table(catalog("resnet50")).splitlines()
    assert len(lines) == 5 and "25,636,712" in lines[2] and "3,857,973,248" in lines[2] and " 50 " in lines[2]
    assert len({line.index(" 20") for line in lines[2:]}) == 1             # the years stand under each other


def command(*arguments):
    return subprocess.run([sys.executable, "-X", "importtime", "-m", "models", *arguments], cwd=ROOT,
                          capture_output=True, text=True, timeout=120)


def test_the_command_needs_no_keras(tmp_path):
    result = command("--match", "densenet1*", "--plot", str(tmp_path / "a.png"))
    assert result.returncode == 0, result.stderr[-2000:]
    assert "densenet161" in result.stdout and "resnet" not in result.stdout
    imported = {line.split("|")[-1].strip() for line in result.stderr.splitlines()}
    assert "models.catalog" in imported and not {"keras", "tensorflow", "models.resnet"} & imported
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.parametrize("arguments, said", [
    (["--match", "densnet"], "no network matches 'densnet'. Nearest: densenet"),
    (["--match", "lenet*", "--plot", "a.png"], "no accuracy to draw"),
    (["--plot", "a.doc"], "a plot can be .*png.* Received: a.doc")])
def test_bad_commands(arguments, said):
    result = command(*arguments)
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 1 and last.startswith("error: ") and re.search(said, last)


def test_accuracies_are_of_networks_of_the_catalogue():
    drawn = {network.name: network for network in catalog()}
    assert set(canziani.ACCURACIES) <= set(drawn)
    assert all(drawn[name].module in canziani.COLORS for name in canziani.ACCURACIES)


PROGRAM = """
import sys
import models
print("keras" in sys.modules, set(models.__all__) <= set(dir(models)))
import models.alexnet                                   # a module of the name of a builder
from models import alexnet, mlp
print(alexnet is sys.modules["models.alexnet"].alexnet, models.alexnet is alexnet)
print(mlp((2,), 3, hidden=()).count_params())
try:
    models.alexnet3
except AttributeError as error:
    print(error)
models.import_all()
print(all(getattr(models, name).__name__ == name for name in models.__all__))
"""


def test_builders_are_imported_when_they_are_asked_for():
    result = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True,
                            timeout=300)
    said = "module 'models' has no attribute 'alexnet3'"
    assert result.stdout.splitlines() == ["False True", "True True", "9", said, "True"], result.stderr
