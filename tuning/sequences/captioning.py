"""Search space of recipes/sequences/captioning.py: pooling, units, dropout and rate."""
import dataclasses

from recipes.sequences.captioning import Config

OBJECTIVE = "val_loss", "min"
BUDGET = "epochs"                # the field that says how long to train


def sample(hp, base=Config()):
    return dataclasses.replace(
        base,
        pooling=hp.Choice("pooling", ["mean", "max"], default=base.pooling),
        hidden=hp.Choice("hidden", [0, 128, 256, 512, 1024], default=base.hidden),
        embedding=hp.Choice("embedding", [128, 256, 512], default=base.embedding),
        units=hp.Choice("units", [128, 256, 512], default=base.units),
        dropout=hp.Float("dropout", 0.0, 0.5, step=0.1, default=base.dropout),
        learning_rate=hp.Float("learning_rate", 2e-4, 1e-2, sampling="log", default=base.learning_rate))
