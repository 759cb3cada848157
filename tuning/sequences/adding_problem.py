"""Search space of recipes/sequences/adding_problem.py: width, rate and clipping, for the cell of the base."""
import dataclasses

from recipes.sequences.adding_problem import Config

OBJECTIVE = "val_loss", "min"
BUDGET = "updates"               # the field that says how long to train


def sample(hp, base=Config()):
    return dataclasses.replace(
        base,
        units=hp.Choice("units", [32, 64, 128], default=base.units),
        chrono=hp.Boolean("chrono", default=base.chrono),
        batch_size=hp.Choice("batch_size", [32, 64, 128], default=base.batch_size),
        learning_rate=hp.Float("learning_rate", 0.0001, 0.03, sampling="log", default=base.learning_rate),
        clip=hp.Choice("clip", [0.1, 1.0, 10.0], default=base.clip))
