"""Search space of recipes/images/resnet_cifar10.py: depth, and the cycle of its rates.

It has no BUDGET: the cycle is stretched over all updates, so that a shorter training is another one.
"""
import dataclasses

from recipes.images.resnet_cifar10 import Config

OBJECTIVE = "val_accuracy", "max"


def sample(hp, base=Config()):
    return dataclasses.replace(
        base,
        depth=hp.Choice("depth", [8, 14, 20, 26, 32], default=base.depth),
        shortcut=hp.Choice("shortcut", ["A", "B"], default=base.shortcut),
        learning_rate=hp.Float("learning_rate", 0.01, 1.0, sampling="log", default=base.learning_rate),
        kernel_rate=hp.Float("kernel_rate", 0.002, 0.1, sampling="log", default=base.kernel_rate),
        weight_decay=hp.Float("weight_decay", 1e-5, 2e-3, sampling="log", default=base.weight_decay),
        nesterov=hp.Boolean("nesterov", default=base.nesterov),
        batch_size=hp.Choice("batch_size", [64, 128, 256], default=base.batch_size))
