"""Search space of fake_recipe.py."""
import dataclasses

from fake_recipe import Config

OBJECTIVE = "val_score", "max"
BUDGET = "epochs"


def sample(hp, base=Config()):
    kind = hp.Choice("kind", ["plain", "momentum"], default=base.kind)
    with hp.conditional_scope("kind", ["momentum"]):
        momentum = hp.Choice("momentum", [0.5, 0.9], default=0.5)
    return dataclasses.replace(
        base, kind=kind, momentum=momentum if kind == "momentum" else 0.0,
        rate=hp.Float("rate", 1e-3, 1.0, sampling="log", default=base.rate),
        width=hp.Int("width", 1, 10, default=base.width))
