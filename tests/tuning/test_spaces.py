"""Every search space: its defaults are the recipe's own, and its corners build."""
import ast
import dataclasses
import importlib
import itertools
from pathlib import Path

import keras_tuner
import numpy as np
import pytest

from pipelines import characters, digits, handwriting, imdb, memory_problems, mnist, speech
from recipes.catalog import cards
from tuning import spaces

BUILT_ELSEWHERE = {"one_shot_omniglot", "captioning"}       # of several inputs: in their own tests
# What the networks of a space read, where that is not the digits of scikit-learn.
DATA = {"spoken_digits": lambda: speech.load("formants", 8),
        "speech_commands": lambda: speech.commands("formants", 8),
        "handwriting_lines": lambda: handwriting.load("digits", 2, digits=2, count=16),
        "lstm_imdb": lambda: imdb.load("sentences", 2, words=50),
        "char_lm_shakespeare": lambda: characters.load("sentences", steps=5),
        "adding_problem": lambda: memory_problems.load(batch_size=2, steps=10, validation=2, test=2),
        "sequential_mnist": lambda: digits.load(2)}      # 64 pixels, not 784


def values_of(space, changes):
    """The HyperParameters with every value at its default but for {name: value}."""
    found = keras_tuner.HyperParameters()
    found.values = dict(changes)
    space.sample(found, space.Config())
    return found


def corners(space):
    """All at their least, all at their greatest, and each alone at either end."""
    everything = values_of(space, {}).space
    ends = {one.name: (list(one.values)[0], list(one.values)[-1]) if hasattr(one, "values")
            else (one.min_value, one.max_value) for one in everything}
    yield {name: least for name, (least, _) in ends.items()}
    yield {name: greatest for name, (_, greatest) in ends.items()}
    yield from ({name: end} for name, pair in ends.items() for end in pair)


def recipe_module(space):
    """By its full name: read once more as a file it would register its classes with Keras once more."""
    return importlib.import_module(f"recipes.{space.recipe.parent.name}.{space.recipe.stem}")


def test_every_recipe_has_a_space_or_a_reason():
    found = set(spaces.names())
    assert not found & set(spaces.WITHOUT)
    assert found | set(spaces.WITHOUT) == set(cards())
    for name in found:
        assert spaces.load(name).recipe == cards()[name].path


@pytest.mark.parametrize("name", spaces.names())
def test_the_defaults_are_the_recipe_s_own(name):
    space = spaces.load(name)
    assert space.config(values_of(space, {}), space.Config()) == space.Config()
    assert space.direction in ("min", "max")
    assert space.budget is None or type(getattr(space.Config(), space.budget)) is int


@pytest.mark.parametrize("name", spaces.names())
def test_a_parameter_is_named_after_its_field_and_may_be_fixed(name):
    space = spaces.load(name)
    fields = {field.name for field in dataclasses.fields(space.Config)}
    for parameter in values_of(space, {}).space:
        fixed = spaces.field(parameter.name)
        assert fixed in fields
        rest = space.hyperparameters(space.Config(), [fixed])
        assert fixed not in {spaces.field(one.name) for one in rest.space
                             if not isinstance(one, type(keras_tuner.HyperParameters().Fixed))
                             and len(list(getattr(one, "values", [0, 1]))) > 1}
        least, greatest = (space.config(values_of(space, changes), space.Config(), [fixed])
                           for changes in itertools.islice(corners(space), 2))
        assert getattr(least, fixed) == getattr(greatest, fixed) == getattr(space.Config(), fixed)


def test_a_value_that_is_none_of_the_choices_may_be_given():
    space = spaces.load("lenet_mnist")
    base = space.Config(weight_decay=0.02, batch_size=25)
    searched = space.hyperparameters(base, ["weight_decay"])
    assert "weight_decay" not in {parameter.name for parameter in searched.space}
    size, = (parameter for parameter in searched.space if parameter.name == "batch_size")
    assert list(size.values) == [20, 25, 50, 100] and size.default == 25
    config = space.config(searched, base, ["weight_decay"])
    assert (config.weight_decay, config.batch_size) == (0.02, 25)


@pytest.mark.parametrize("count", [2, pytest.param(None, marks=pytest.mark.slow)], ids=["opposite", "all"])
@pytest.mark.parametrize("name", [name for name in spaces.names() if name not in BUILT_ELSEWHERE])
def test_the_corners_build(name, count):
    space = spaces.load(name)
    recipe = recipe_module(space)
    recipe_data = next((getattr(recipe, name) for name in ("cifar", "cifar_or_imagenet")
                        if hasattr(recipe, name)), mnist)              # of the size of the recipe's images
    data = DATA.get(name, lambda: recipe_data.load("digits", 10))()
    inputs = data.train.batch(0)[0][:None if name in DATA else 2]         # a network with a state: all
    built = set()
    for changes in itertools.islice(corners(space), count):
        config = space.config(values_of(space, changes), space.Config())
        model = recipe.compiled_model(recipe.Config(**dataclasses.asdict(config)), data)
        model = model[0] if isinstance(model, tuple) else model        # lenet_mnist: and what trains it
        logits = model(inputs)
        assert len(logits) == len(inputs) and np.isfinite(logits).all()
        assert name in DATA or logits.shape == (2, data.num_classes)
        built.add(config)
    assert len(built) > 4 if count is None else len(built) == count


@pytest.mark.parametrize("name", spaces.names())
def test_a_space_builds_no_layer(name):
    tree = ast.parse(Path(spaces.load(name).sample.__code__.co_filename).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"dataclasses"}


def test_unknown_names_are_told():
    with pytest.raises(ValueError, match="Did you mean convnet_mnist"):
        spaces.load("convnet_mnits")
    with pytest.raises(ValueError, match="ensemble_mnist has no search space: it trains nothing"):
        spaces.load("ensemble_mnist")
    with pytest.raises(FileNotFoundError, match="no search space nowhere.py"):
        spaces.load("nowhere.py")
