"""Search space of recipes/images/densenet_cifar10.py: growth rate, dropout, and the cycle of its rate.

It has no BUDGET: the cycle is stretched over all epochs, so that a shorter training is another one.
"""
import dataclasses

from recipes.images.densenet_cifar10 import Config

OBJECTIVE = "val_accuracy", "max"


def sample(hp, base=Config()):
    return dataclasses.replace(
        base,
        growth_rate=hp.Choice("growth_rate", [6, 8, 12, 16, 24], default=base.growth_rate),
        bottleneck=hp.Boolean("bottleneck", default=base.bottleneck),
        dropout=hp.Float("dropout", 0.0, 0.4, step=0.1, default=base.dropout),
        learning_rate=hp.Float("learning_rate", 0.01, 1.0, sampling="log", default=base.learning_rate),
        weight_decay=hp.Float("weight_decay", 1e-5, 2e-3, sampling="log", default=base.weight_decay),
        batch_size=hp.Choice("batch_size", [32, 64, 128], default=base.batch_size))
