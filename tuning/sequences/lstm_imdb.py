"""Search space of recipes/sequences/lstm_imdb.py: widths, pooling, dropout and rate of the LSTM."""
import dataclasses

from recipes.sequences.lstm_imdb import Config

OBJECTIVE = "val_accuracy", "max"
BUDGET = "epochs"                # the field that says how long to train


def sample(hp, base=Config()):
    return dataclasses.replace(
        base,
        embedding=hp.Choice("embedding", [16, 32, 64, 128], default=base.embedding),
        units=(hp.Choice("units.width", [16, 32, 64, 128], default=64),),
        pooling=hp.Choice("pooling", ["max", "mean", "last"], default=base.pooling),
        dropout=hp.Float("dropout", 0.0, 0.7, step=0.1, default=base.dropout),
        learning_rate=hp.Float("learning_rate", 1e-4, 1e-2, sampling="log", default=base.learning_rate))
