"""Search space of recipes/sequences/speech_commands.py: the small network and its rate."""
import dataclasses

from recipes.sequences.speech_commands import Config

OBJECTIVE = "val_accuracy", "max"
BUDGET = "epochs"                # the field that says how long to train


def sample(hp, base=Config()):
    first = hp.Int("filters.first", 16, 64, step=16, default=32)
    return dataclasses.replace(
        base,
        filters=(first, 2 * first, 4 * first),
        dropout=hp.Float("dropout", 0.0, 0.6, step=0.1, default=base.dropout),
        noise=hp.Float("noise", 0.0, 0.1, step=0.025, default=base.noise),
        learning_rate=hp.Float("learning_rate", 0.0003, 0.01, sampling="log", default=base.learning_rate))
