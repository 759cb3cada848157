"""ResNet on CIFAR-10: what a shortcut connection buys, and what depth costs without it.

Source     He et al. 2016, arXiv:1512.03385, section 4.2, Table 6 and Figure 6.
Run        python -m recipes run resnet_cifar10           (--depth 56, --plain; --config paper, paper-110 or
           degradation, which draws plain and residual networks of growing depth; --smoke: seconds)
Published  91.25 % test accuracy at depth 20, 92.49 (32), 92.83 (44), 93.03 (56), 93.57 (110), 92.07 % (1202).
Departs    The default trains for a quarter of the paper's 64,000 updates: one cycle of the rate, up to .2
           and down a cosine to 0, with Nesterov's momentum and five times the decay. The paper-*
           configurations have its own schedule; there depth 110 warms up for 400 updates, where the
           paper waits for 20 % of training accuracy, which it says takes about as long. Decay is apart
           from momentum and 1 / (1 - momentum) times as strong: the same to first order. First
           weights are uniform, of He's variance. The weights of the last update count.
"""
import dataclasses
from typing import Literal

import keras

from models import plain_cifar, resnet_cifar
from pipelines import cifar
from training import launch
from training.run import read_history
from training.schedules import one_cycle


@dataclasses.dataclass(frozen=True)
class Config:
    depth: int = 20              # 6n + 2: 20, 32, 44, 56, 110, 1202
    plain: bool = False          # leave the shortcuts out
    shortcut: Literal["A", "B"] = "A"      # where the number of maps changes: zeros, or 1x1 convolutions
    data: str = "cifar10"        # or cifar100; digits needs no download
    augment: Literal["crop-flip", "crop", "flip", "none"] = "crop-flip"      # 4 pixels of padding
    schedule: Literal["cycle", "steps"] = "cycle"     # cosine; or a tenth after 1/2 and 3/4 of the updates
    learning_rate: float = 0.2   # the highest
    warm_up: int = 1_500         # updates in which the rate rises to it; for steps, at a tenth of it
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4   # of all weights, as added to the gradient
    updates: int = 15_800        # 45 epochs of 45,000 images
    batch_size: int = 128        # over all devices
    validation: int = 5_000      # training images that validate; 0: all train
    compared: tuple[int, ...] = ()         # train a plain and a residual network of each of these depths


PAPER = Config(schedule="steps", learning_rate=0.1, warm_up=0, nesterov=False, weight_decay=1e-4,
               updates=64_000, validation=0)
NAMED = {
    "paper": PAPER,
    "paper-32": dataclasses.replace(PAPER, depth=32),
    "paper-44": dataclasses.replace(PAPER, depth=44),
    "paper-56": dataclasses.replace(PAPER, depth=56),
    "paper-110": dataclasses.replace(PAPER, depth=110, warm_up=400),
    "paper-1202": dataclasses.replace(PAPER, depth=1202, warm_up=400),
    "degradation": Config(compared=(20, 32, 44, 56), learning_rate=0.1, warm_up=350, updates=3_510),
}
PUBLISHED = {"": 91.25, "paper": 91.25, "paper-32": 92.49, "paper-44": 92.83, "paper-56": 93.03,
             "paper-110": 93.57, "paper-1202": 92.07}
SMOKE = Config(data="digits", depth=8, augment="crop", learning_rate=0.1, warm_up=20, updates=120,
               batch_size=32)


def learning_rate(config):
    """The rate at each update, as a schedule of Keras."""
    top, rise = config.learning_rate, config.warm_up
    if not 0 <= rise < config.updates:
        raise ValueError("warm_up must be a number of updates, less than all. "
                         f"Received: warm_up={rise}, updates={config.updates}")
    if config.schedule == "cycle":
        return one_cycle(top, config.updates, rise)
    ends, rates = [config.updates // 2, 3 * config.updates // 4], [top, top / 10, top / 100]
    if rise:
        ends, rates = [rise, *ends], [top / 10, *rates]
    return keras.optimizers.schedules.PiecewiseConstantDecay(ends, rates)


def compiled_model(config, data):
    variant = {} if config.plain else {"shortcut": config.shortcut}
    network = plain_cifar if config.plain else resnet_cifar
    model = network(data.input_shape, data.num_classes, depth=config.depth, **variant)
    optimizer = keras.optimizers.SGD(learning_rate(config), config.momentum, config.nesterov,
                                     weight_decay=config.weight_decay / (1 - config.momentum) or None)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    return model


def trained(config, run):
    """-> (history, metrics) of one network, which run keeps."""
    data = cifar.load(config.data, config.batch_size, seed=run.seed, fold=run.fold, augment=config.augment,
                      validation=run.validation_size(config.validation, cifar.VALIDATION))
    with run.scope():
        model = compiled_model(config, data)
    history = run.fit(model, data.train, data.validation, updates=config.updates)
    run.save(model, data.class_names, mean=data.mean, std=data.std)
    validated = {} if data.validation is None else {"val_accuracy": history[-1]["val_accuracy"]}
    return history, {**validated, **run.evaluate(model, data.test)}          # once, at the very end


def main(config, run):
    return degradation(config, run) if config.compared else trained(config, run)[1]


def degradation(config, run):
    """A plain and a residual network of each depth, in folders of their own, and their curves."""
    if not config.validation:
        raise ValueError("curves against depth are of validation images. Received: validation=0")
    histories, metrics = {}, {}
    for depth in config.compared:
        for kind in ("plain", "residual"):
            one = dataclasses.replace(config, depth=depth, plain=kind == "plain", compared=())
            child = run.child(f"{kind}{depth}", one)
            print(f"-- {kind}, depth {depth}", flush=True)
            if child.metrics is None:
                histories[kind, depth], found = trained(one, child)
                child.finish(found)
            else:                          # finished before this series was interrupted
                histories[kind, depth], found = read_history(child.folder), child.metrics
            metrics.update({f"{kind}{depth}_{name}": value for name, value in found.items()
                            if name.endswith("accuracy")})
    draw_degradation(run, histories)
    deepest = f"residual{max(config.compared)}"
    return {**metrics, **{name: metrics[f"{deepest}_{name}"] for name in ("val_accuracy", "test_accuracy")
                          if f"{deepest}_{name}" in metrics}}


def draw_degradation(run, histories):
    """After Figure 6: training error thin, validation error bold; and the last errors against depth."""
    import matplotlib.pyplot as plt
    figure, (*curves, last) = plt.subplots(1, 3, figsize=(13, 4.3), layout="constrained")
    curves[1].sharey(curves[0])
    depths = sorted({depth for _, depth in histories})
    colours = [plt.colormaps["viridis"](0.9 * index / len(depths)) for index in range(len(depths))]
    for axes, kind in zip(curves, ("plain", "residual"), strict=True):
        for depth, colour in zip(depths, colours, strict=True):
            rows = histories[kind, depth]
            updates = [row["updates"] for row in rows]
            axes.plot(updates, errors(rows, "accuracy"), color=colour, linewidth=0.8)
            axes.plot(updates, errors(rows, "val_accuracy"), color=colour, linewidth=2,
                      label=f"{depth} layers")
        axes.set(title=f"{kind}: training (thin), validation (bold)", xlabel="updates")
        axes.legend()
        for name, style in (("accuracy", "--"), ("val_accuracy", "-")):
            last.plot(depths, [errors(histories[kind, depth], name)[-1] for depth in depths], "o" + style,
                      color={"plain": "tab:red", "residual": "tab:blue"}[kind],
                      label=f"{kind}, {'training' if name == 'accuracy' else 'validation'}")
    curves[0].set(ylabel="error (%)")
    last.set(title=f"after the last epoch, seed {run.seed}", xlabel="layers", xticks=depths)
    last.legend()
    figure.savefig(run.figure("degradation"), dpi=120)
    plt.close(figure)


def errors(rows, name):
    return [100 - 100 * row[name] for row in rows]


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
