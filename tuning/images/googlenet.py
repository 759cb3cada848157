"""Search space of recipes/images/googlenet.py: the cycle of the rate, the decay and the dropout.

It has no BUDGET: the cycle is stretched over all updates, so that a shorter training is another one, which
tells little of the longer and cannot be continued. Hyperband does not apply.
"""
import dataclasses

from recipes.images.googlenet import Config

OBJECTIVE = "val_accuracy", "max"


def sample(hp, base=Config()):
    return dataclasses.replace(
        base,
        dropout=hp.Float("dropout", 0.0, 0.6, step=0.1, default=base.dropout),
        learning_rate=hp.Float("learning_rate", 0.01, 0.4, sampling="log", default=base.learning_rate),
        warm_up=hp.Float("warm_up", 0.1, 0.5, step=0.1, default=base.warm_up),
        weight_decay=hp.Float("weight_decay", 2e-4, 1e-2, sampling="log", default=base.weight_decay))
