"""Search space of recipes/sequences/spoken_digits.py, for words or, with --task strings, for strings."""
import dataclasses

from recipes.sequences.spoken_digits import Config

OBJECTIVE = "val_loss", "min"    # both tasks have it
BUDGET = "epochs"                # the field that says how long to train


def sample(hp, base=Config()):
    if base.task == "words":
        first = hp.Int("filters.first", 16, 48, step=8, default=24)
        task = {"filters": (first, 2 * first, 4 * first),
                "shift": hp.Float("shift", 0.0, 0.4, step=0.1, default=base.shift)}
    else:
        task = {"units": (hp.Choice("units.width", [64, 96, 128, 192], default=128),)
                * hp.Int("units.layers", 1, 3, default=1)}
    return dataclasses.replace(
        base, **task,
        dropout=hp.Float("dropout", 0.0, 0.6, step=0.1, default=base.dropout),
        noise=hp.Float("noise", 0.0, 0.05, step=0.01, default=base.noise),
        learning_rate=hp.Float("learning_rate", 0.0003, 0.01, sampling="log", default=base.learning_rate))
