"""Search space of recipes/sequences/char_lm_shakespeare.py: cell, width, dropout, steps and rate."""
import dataclasses

from recipes.sequences.char_lm_shakespeare import Config

OBJECTIVE = "val_loss", "min"
BUDGET = "epochs"                # the field that says how long to train


def sample(hp, base=Config()):
    width = hp.Choice("units.width", [128, 256, 384, 512], default=512)
    layers = hp.Int("units.layers", 1, 3, default=2)
    return dataclasses.replace(
        base,
        cell=hp.Choice("cell", ["lstm", "gru"], default=base.cell),
        units=(width,) * layers,
        dropout=hp.Float("dropout", 0.0, 0.7, step=0.1, default=base.dropout),
        steps=hp.Choice("steps", [32, 64, 128], default=base.steps),
        learning_rate=hp.Float("learning_rate", 3e-4, 1e-2, sampling="log", default=base.learning_rate))
