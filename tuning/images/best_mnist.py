"""Search space of recipes/images/best_mnist.py: widths, the cycle of the rate, dropout and distortions.

It has no BUDGET: the cycle is stretched over all epochs, so that a shorter training is no beginning of a
longer one. Hyperband does not apply.
"""
import dataclasses

from recipes.images.best_mnist import Config

OBJECTIVE = "val_accuracy", "max"


def sample(hp, base=Config()):
    width = hp.Choice("filters.first", [16, 32, 64], default=32)
    return dataclasses.replace(
        base,
        filters=(width, 2 * width, 4 * width),
        dropout=hp.Float("dropout", 0.0, 0.6, step=0.1, default=base.dropout),
        learning_rate=hp.Float("learning_rate", 3e-4, 3e-2, sampling="log", default=base.learning_rate),
        rotation=hp.Float("rotation", 0.0, 20.0, step=4.0, default=base.rotation),
        shear=hp.Float("shear", 0.0, 16.0, step=4.0, default=base.shear),
        scale=hp.Float("scale", 0.0, 0.2, step=0.04, default=base.scale),
        alpha=hp.Float("alpha", 0.0, 50.0, step=10.0, default=base.alpha))
