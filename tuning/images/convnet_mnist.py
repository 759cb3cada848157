"""Search space of recipes/images/convnet_mnist.py: widths, rate, decay, dropout and first biases."""
import dataclasses

from recipes.images.convnet_mnist import Config

OBJECTIVE = "val_accuracy", "max"
BUDGET = "epochs"                # the field that says how long to train


def sample(hp, base=Config()):
    first = hp.Int("filters.first", 8, 48, step=4, default=20)
    second = hp.Int("filters.second", 16, 96, step=8, default=40)
    return dataclasses.replace(
        base,
        filters=(first, second),
        hidden=(hp.Choice("hidden.width", [50, 100, 200, 400], default=100),),
        activation=hp.Choice("activation", ["relu", "sigmoid"], default=base.activation),
        learning_rate=hp.Float("learning_rate", 0.003, 0.3, sampling="log", default=base.learning_rate),
        weight_decay=hp.Float("weight_decay", 1e-6, 1e-3, sampling="log", default=base.weight_decay),
        dropout=hp.Float("dropout", 0.0, 0.6, step=0.1, default=base.dropout),
        bias_stddev=hp.Float("bias_stddev", 0.0, 1.0, step=0.25, default=base.bias_stddev))
