"""Search space of recipes/sequences/sequential_mnist.py: cell, width, dropout, rate; any order of pixels."""
import dataclasses

from recipes.sequences.sequential_mnist import Config

OBJECTIVE = "val_accuracy", "max"
BUDGET = "epochs"                # the field that says how long to train


def sample(hp, base=Config()):
    return dataclasses.replace(
        base,
        cell=hp.Choice("cell", ["lstm", "gru"], default=base.cell),
        units=(hp.Choice("units.width", [32, 64, 96, 128], default=96),)
        * hp.Int("units.layers", 1, 2, default=1),
        chrono=hp.Boolean("chrono", default=base.chrono),
        dropout=hp.Float("dropout", 0.0, 0.5, step=0.1, default=base.dropout),
        learning_rate=hp.Float("learning_rate", 0.0003, 0.03, sampling="log", default=base.learning_rate))
