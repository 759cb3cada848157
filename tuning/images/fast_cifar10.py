"""Search space of recipes/images/fast_cifar10.py: rates, decay, smoothing and the batch.

It has no BUDGET: the line along which the rates fall is stretched over all updates, so that a shorter
training is another one. Hyperband does not apply.
"""
import dataclasses

from recipes.images.fast_cifar10 import Config

OBJECTIVE = "val_accuracy", "max"


def sample(hp, base=Config()):
    batch_size = hp.Choice("batch_size", [512, 1024, 2000], default=base.batch_size)
    kernel_rate = base.kernel_rate
    if base.optimizer == "muon":
        kernel_rate = hp.Float("kernel_rate", 0.06, 0.5, sampling="log", default=kernel_rate)
    return dataclasses.replace(
        base,
        batch_size=batch_size,
        kernel_rate=kernel_rate,
        lookahead=base.lookahead * base.batch_size // batch_size,   # after as many images, whatever the batch
        learning_rate=hp.Float("learning_rate", 4.0, 24.0, sampling="log", default=base.learning_rate),
        weight_decay=hp.Float("weight_decay", 0.004, 0.06, sampling="log", default=base.weight_decay),
        label_smoothing=hp.Float("label_smoothing", 0.0, 0.3, step=0.1, default=base.label_smoothing),
        bias_rate=hp.Float("bias_rate", 1.0, 144.0, sampling="log", default=base.bias_rate))
