"""Search space of recipes/images/mlp_mnist.py: one to three sigmoid layers, their cost, rate and decay."""
import dataclasses

from recipes.images.mlp_mnist import Config

OBJECTIVE = "val_accuracy", "max"
BUDGET = "epochs"                # the field that says how long to train


def sample(hp, base=Config()):
    if base.learner != "network":
        raise ValueError(f"only learner=network has something to search. Received: {base.learner}")
    width = hp.Int("hidden.width", 20, 200, step=10, default=30)
    layers = hp.Int("hidden.layers", 1, 3, default=1)
    cost = hp.Choice("cost", ["cross_entropy", "quadratic"], default=base.cost)
    # The gradient of the quadratic cost is small where an output is saturated, so its rates are larger.
    with hp.conditional_scope("cost", ["cross_entropy"]):
        entropy_rate = hp.Float("learning_rate.cross_entropy", 0.01, 3.0, sampling="log", default=0.1)
    with hp.conditional_scope("cost", ["quadratic"]):
        quadratic_rate = hp.Float("learning_rate.quadratic", 0.1, 30.0, sampling="log", default=3.0)
    return dataclasses.replace(
        base,
        hidden=(width,) * layers,
        cost=cost,
        learning_rate=entropy_rate if cost == "cross_entropy" else quadratic_rate,
        initialisation=hp.Choice("initialisation", ["scaled", "large"], default=base.initialisation),
        weight_decay=hp.Float("weight_decay", 1e-6, 1e-3, sampling="log", default=base.weight_decay),
        compared_on="validation")
