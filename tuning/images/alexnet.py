"""Search space of recipes/images/alexnet.py: the rate of SGD, the decay, and the dense layers.

It has no BUDGET: the rate falls along a cosine over all epochs, so that a shorter training is no beginning
of a longer one. Hyperband does not apply.
"""
import dataclasses

from recipes.images.alexnet import Config

OBJECTIVE = "val_accuracy", "max"


def sample(hp, base=Config()):
    return dataclasses.replace(
        base,
        learning_rate=hp.Float("learning_rate", 1e-3, 2e-2, sampling="log", default=base.learning_rate),
        weight_decay=hp.Float("weight_decay", 1e-4, 2e-2, sampling="log", default=base.weight_decay),
        hidden=(hp.Choice("hidden", [256, 512, 1024], default=base.hidden[0]),) * len(base.hidden),
        dropout=hp.Float("dropout", 0.0, 0.7, step=0.1, default=base.dropout))
