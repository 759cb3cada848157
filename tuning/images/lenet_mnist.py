"""Search space of recipes/images/lenet_mnist.py: rate and decay of Adam, and how far digits are distorted.

It has no BUDGET: the rate falls along a cosine over all epochs, so that a shorter training is no beginning
of a longer one. Hyperband does not apply.
"""
import dataclasses

from recipes.images.lenet_mnist import Config

OBJECTIVE = "val_accuracy", "max"


def sample(hp, base=Config()):
    if base.training != "adam":
        raise ValueError(f"only training=adam has something to search. Received: {base.training}")
    return dataclasses.replace(
        base,
        learning_rate=hp.Float("learning_rate", 2e-4, 2e-2, sampling="log", default=base.learning_rate),
        weight_decay=hp.Choice("weight_decay", [0.0, 0.003, 0.01, 0.03, 0.1, 0.3], default=base.weight_decay),
        batch_size=hp.Choice("batch_size", [20, 50, 100], default=base.batch_size),
        rotation=hp.Float("rotation", 0.0, 20.0, step=5.0, default=base.rotation),
        shear=hp.Float("shear", 0.0, 20.0, step=5.0, default=base.shear),
        scale=hp.Float("scale", 0.0, 0.2, step=0.05, default=base.scale),
        shift=hp.Float("shift", 0.0, 3.0, step=0.5, default=base.shift),
        alpha=hp.Choice("alpha", [0.0, 20.0, 34.0, 50.0], default=base.alpha))
