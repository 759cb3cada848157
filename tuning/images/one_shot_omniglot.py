"""Search space of recipes/images/one_shot_omniglot.py: the episodes of prototypical networks and the rate."""
import dataclasses

from recipes.images.one_shot_omniglot import Config

OBJECTIVE = "val_accuracy", "max"
BUDGET = "updates"               # the field that says how long to train


def sample(hp, base=Config()):
    return dataclasses.replace(
        base,
        way=hp.Choice("way", [20, 40, 60, 80], default=60),
        queries=hp.Choice("queries", [1, 5, 10], default=5),
        filters=(hp.Choice("filters.first", [16, 32, 64], default=64),
                 *(hp.Choice("filters.others", [32, 64, 128], default=64),) * 3),
        side=hp.Choice("side", [21, 28, 35], default=28),
        distorted=hp.Choice("distorted", [False, True], default=base.distorted),
        learning_rate=hp.Float("learning_rate", 2e-4, 1e-2, sampling="log", default=base.learning_rate))
