"""Search space of recipes/sequences/handwriting_lines.py: cells, features and rate of the MDLSTM."""
import dataclasses

from recipes.sequences.handwriting_lines import Config

OBJECTIVE = "val_label_error_rate", "min"
BUDGET = "epochs"                # the field that says how long to train


def sample(hp, base=Config()):
    return dataclasses.replace(
        base,
        cells=(hp.Choice("cells.first", [2, 4, 8], default=4),
               hp.Choice("cells.second", [8, 16, 32], default=16),
               hp.Choice("cells.third", [16, 32, 64], default=64)),
        features=(hp.Choice("features.first", [8, 16, 32], default=16),
                  hp.Choice("features.second", [16, 32, 64], default=64)),
        learning_rate=hp.Float("learning_rate", 0.0005, 0.02, sampling="log", default=base.learning_rate))
