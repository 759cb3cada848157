"""Search space of recipes/images/elastic_mlp_mnist.py: two to five layers, their training, the distortions.

It has no BUDGET: the rate falls along a cosine over all epochs, so that a shorter training is no beginning
of a longer one. Hyperband does not apply.
"""
import dataclasses

from recipes.images.elastic_mlp_mnist import Config

OBJECTIVE = "val_accuracy", "max"
PYRAMIDS = {2: (1000, 500), 3: (1500, 1000, 500), 4: (2000, 1500, 1000, 500),
            5: (2500, 2000, 1500, 1000, 500)}                 # table 1 of the paper


def sample(hp, base=Config()):
    return dataclasses.replace(
        base,
        hidden=PYRAMIDS[hp.Choice("hidden.layers", list(PYRAMIDS), default=5)],
        learning_rate=hp.Float("learning_rate", 1e-4, 1e-2, sampling="log", default=base.learning_rate),
        warm_up=hp.Float("warm_up", 0.0, 0.2, step=0.05, default=base.warm_up),
        first_weights=hp.Choice("first_weights", ["he_normal", "lecun_normal", "random_uniform"],
                                default=base.first_weights),
        batch_size=hp.Choice("batch_size", [50, 100, 200], default=base.batch_size),
        rotation=hp.Float("rotation", 0.0, 20.0, step=5.0, default=base.rotation),
        sigma=hp.Float("sigma", 4.0, 7.0, step=0.5, default=base.sigma),
        alpha=hp.Float("alpha", 29.0, 45.0, step=4.0, default=base.alpha))
