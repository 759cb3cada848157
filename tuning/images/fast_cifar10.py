"""Search space of recipes/images/fast_cifar10.py: rates, decay, smoothing and the batch.

It has no BUDGET: the triangle of the learning rate and the slow weights are stretched over all updates, so
that a shorter training is another one. Hyperband does not apply.
"""
import dataclasses

from recipes.images.fast_cifar10 import Config

OBJECTIVE = "val_accuracy", "max"


def sample(hp, base=Config()):
    batch_size = hp.Choice("batch_size", [256, 512, 1024], default=base.batch_size)
    return dataclasses.replace(
        base,
        batch_size=batch_size,
        lookahead=5 * 1024 // batch_size,          # after as many images, whatever the batch
        learning_rate=hp.Float("learning_rate", 4.0, 24.0, sampling="log", default=base.learning_rate),
        weight_decay=hp.Float("weight_decay", 0.004, 0.06, sampling="log", default=base.weight_decay),
        label_smoothing=hp.Float("label_smoothing", 0.0, 0.3, step=0.1, default=base.label_smoothing),
        bias_rate=hp.Choice("bias_rate", [1.0, 16.0, 64.0], default=base.bias_rate))
