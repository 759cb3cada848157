"""Search space of recipes/images/fast_mnist.py: its network, and the cycle of its learning rate.

It has no BUDGET: the cycle is stretched over all updates, so that a shorter training is another one, which
tells little of the longer and cannot be continued. Hyperband does not apply.
"""
import dataclasses

from recipes.images.fast_mnist import Config

OBJECTIVE = "val_accuracy", "max"


def sample(hp, base=Config()):
    return dataclasses.replace(
        base,
        filters=(hp.Int("filters.first", 8, 40, step=8, default=24),
                 hp.Int("filters.second", 16, 64, step=16, default=32)),
        hidden=hp.Choice("hidden", [64, 128, 256, 512], default=base.hidden),
        learning_rate=hp.Float("learning_rate", 0.001, 0.05, sampling="log", default=base.learning_rate),
        warm_up=hp.Float("warm_up", 0.1, 0.5, step=0.1, default=base.warm_up),
        beta_2=hp.Choice("beta_2", [0.95, 0.98, 0.99, 0.999], default=base.beta_2),
        batch_size=hp.Choice("batch_size", [50, 100, 200], default=base.batch_size))
