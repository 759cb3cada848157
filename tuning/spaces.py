"""Which recipes have a search space, and what a space does: hyperparameters in, a Config out."""
import dataclasses
import functools
import importlib
import importlib.util
import sys
from pathlib import Path

from training.command_line import nearest

ROOT = Path(__file__).parent
WITHOUT = {                     # recipes with nothing to search, and why
    "ensemble_mnist": "it trains nothing of its own: its members are runs of convnet_mnist, which has one",
    "ensemble": "it trains nothing: its members are finished runs",
    "transfer_learning": "its classes are one's own; --validation and --patience choose the epochs",
    "resnet50_imagenet": "a trial would take days; its schedule is torchvision's",
    "multi_column_mnist": "its network and its distortions are the paper's; best_mnist has a space",
    "perceptron": "its rule starts at zero, where a learning rate only scales the weights",
    "backpropagation": "it checks derivatives; its network only shows that they train it",
    "convolution": "nothing in it is trained",
    "activations": "it compares activation functions at the same settings",
    "gradient_descent": "the rates are its lesson, and there is nothing to validate them on",
    "vanishing_gradients": "its networks are looked at before training",
    "universal_approximation": "it compares widths at the same settings",
    "decision_boundaries": "it compares widths and depths at the same settings",
    "depth_and_width": "it compares depths and remedies at the same settings",
    "mlp_tabular": "its folds are test folds; a search would need further folds within them",
    "spam_sms": "its folds are test folds, too",
}


def names(root=ROOT):
    """The recipes that have a space, by subject and name: no space is imported."""
    return [path.stem for path in sorted(root.glob("*/*.py")) if not path.stem.startswith("_")]


def load(name, root=ROOT):
    """The Space of that name, or in that Python file of one's own; this imports its recipe.

    Raises ValueError, in a sentence, if there is none.
    """
    path = Path(name)
    if path.suffix == ".py":
        if not path.is_file():
            raise FileNotFoundError(f"there is no search space {path}")
        sys.path.insert(0, str(path.resolve().parent))          # of its recipe, beside it
        try:
            specification = importlib.util.spec_from_file_location(path.stem, path)
            module = importlib.util.module_from_spec(specification)
            specification.loader.exec_module(module)
        finally:
            sys.path.pop(0)
        return Space(str(path.resolve()), module)
    found = [path for path in root.glob(f"*/{name}.py")] if name.isidentifier() else []
    if name in WITHOUT:
        raise ValueError(f"{name} has no search space: {WITHOUT[name]}")
    if not found:
        raise ValueError(f"there is no search space {name}.{nearest(name, names(root))} "
                         f"There are: {', '.join(names(root))}, or name a Python file of your own.")
    return Space(name, importlib.import_module(f"tuning.{found[0].parent.name}.{name}"))


@functools.cache
def sampler():
    """keras_tuner.HyperParameters whose choices hold the default, too: a user may start from another."""
    import keras_tuner

    class Sampler(keras_tuner.HyperParameters):
        def Choice(self, name, values, ordered=None, default=None, **conditions):
            if default is not None and default not in values:
                values = [*values, default]
                values = values if isinstance(default, (str, bool)) else sorted(values)
            return super().Choice(name, values, ordered, default, **conditions)
    return Sampler


class Space:
    """A search space: a module with OBJECTIVE, sample(hp, base) and, where it has one, BUDGET.

    A hyperparameter is named after the field of the Config that it decides, or
    "field.part" where there are several for one field.
    """

    def __init__(self, name, module):
        self.name, self.sample, self.Config = name, module.sample, module.Config
        self.objective, self.direction = module.OBJECTIVE
        self.budget = getattr(module, "BUDGET", None)
        recipe = sys.modules[self.Config.__module__]
        self.recipe, self.smoke = Path(recipe.__file__), getattr(recipe, "SMOKE", None)

    def hyperparameters(self, base, fixed=()):
        """keras_tuner.HyperParameters with an entry for all that is searched; fixed: fields that are not."""
        import keras_tuner
        everything, searched = sampler()(), keras_tuner.HyperParameters()
        self.sample(everything, base)
        parents = {condition.name for parameter in everything.space for condition in parameter.conditions}
        for parameter in everything.space:
            if field(parameter.name) not in fixed:
                searched.merge([parameter])
            elif parameter.name in parents:
                searched.Fixed(parameter.name, getattr(base, parameter.name))
        return searched

    def config(self, hyperparameters, base, fixed=()):
        """The Config of a trial's values; fixed fields are those of base. Raises what sample raises."""
        sampled = self.sample(sampler().from_config(hyperparameters.get_config()), base)
        return dataclasses.replace(sampled, **{name: getattr(base, name) for name in fixed})


def field(name):
    """The field of Config that a hyperparameter belongs to: that before its first dot."""
    return name.split(".")[0]
