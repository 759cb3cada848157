"""ResNet on CIFAR-10: what a shortcut connection buys, and what depth costs without it.

Source     He et al. 2016, arXiv:1512.03385, section 4.2, Table 6 and Figure 6.
Run        python -m recipes run resnet_cifar10           (--depth 56, --plain; --config paper, paper-110 or
           degradation, which draws plain and residual networks of growing depth; --smoke: seconds)
Published  91.25 % test accuracy at depth 20, 92.49 (32), 92.83 (44), 93.03 (56), 93.57 (110), 92.07 % (1202).
Departs    The default is for two cores: a seventh of the paper's 64,000 updates, in one cycle of the rate,
           up to .2 and down a cosine to 0. The kernels of convolutions learn by Muon (Jordan et al. 2024),
           all else by Nesterov's momentum with five times the paper's decay, and in the first three
           fifths the images are of 24x24 (after Hoffer et al. 2019, arXiv:1908.08986). Chosen on 5,000
           validation images (one seed each): after 2,800 updates 86.3 % right by momentum alone, by Muon
           with a kernel rate of .005 86.2 and of .01 88.3; after 1,100, small images in half of the
           updates cost .3 points and save a quarter of the time. A batch goes through the network in two
           parts, each normalised by itself, as on the paper's two GPUs, and, as there, all 50,000 images
           train. The paper-* configurations have the paper's schedule and optimizer; there depth 110
           warms up for 400 updates, where the paper waits for 20 % of training accuracy, which it says
           takes about as long. Decay is apart from momentum and 1 / (1 - momentum) times as
           strong: the same to first order. First weights are uniform, of He's variance. The weights of
           the last update count.
"""
import dataclasses
from typing import Literal

import keras

from models import plain_cifar, resnet_cifar
from pipelines import cifar
from training import launch
from training.optimizers import Muon
from training.run import read_history
from training.schedules import one_cycle


@dataclasses.dataclass(frozen=True)
class Config:
    depth: int = 20              # 6n + 2: 20, 32, 44, 56, 110, 1202
    plain: bool = False          # leave the shortcuts out
    shortcut: Literal["A", "B"] = "A"      # where the number of maps changes: zeros, or 1x1 convolutions
    data: str = "cifar10"        # or cifar100; digits needs no download
    augment: Literal["crop-flip", "crop-alternate", "crop", "flip", "none"] = "crop-flip"  # by 4 pixels
    optimizer: Literal["muon", "sgd"] = "muon"        # for the kernels of convolutions; sgd for all else
    kernel_rate: float = 0.01    # muon's: part of a kernel's length that an update changes, at the top
    kernel_momentum: float = 0.95
    small_part: float = 0.6      # of the updates: the first, in which images are smaller; 0: none
    small_side: int = 24         # pixels
    parts: int = 2               # of a batch, each normalised by itself: as on the paper's two GPUs
    schedule: Literal["cycle", "steps"] = "cycle"     # cosine; or a tenth after 1/2 and 3/4 of the updates
    learning_rate: float = 0.2   # the highest
    warm_up: int = 880           # updates in which the rate rises to it; for steps, at a tenth of it
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4   # of all weights, as added to the gradient
    updates: int = 8_800         # 22.5 epochs
    batch_size: int = 128        # over all devices
    validation: int = 0          # training images that validate; 0: all train
    compared: tuple[int, ...] = ()         # train a plain and a residual network of each of these depths


PAPER = Config(optimizer="sgd", small_part=0, schedule="steps", learning_rate=0.1, warm_up=0,
               nesterov=False, weight_decay=1e-4, updates=64_000)
NAMED = {
    "paper": PAPER,
    "paper-32": dataclasses.replace(PAPER, depth=32),
    "paper-44": dataclasses.replace(PAPER, depth=44),
    "paper-56": dataclasses.replace(PAPER, depth=56),
    "paper-110": dataclasses.replace(PAPER, depth=110, warm_up=400),
    "paper-1202": dataclasses.replace(PAPER, depth=1202, warm_up=400),
    "degradation": Config(compared=(20, 32, 44, 56), optimizer="sgd", small_part=0, learning_rate=0.1,
                          warm_up=350, updates=3_510, validation=5_000),
}
PUBLISHED = {"": 91.25, "paper": 91.25, "paper-32": 92.49, "paper-44": 92.83, "paper-56": 93.03,
             "paper-110": 93.57, "paper-1202": 92.07}
SMOKE = Config(data="digits", depth=8, augment="crop", learning_rate=0.1, warm_up=20, updates=120,
               batch_size=32, validation=180)


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


def network(config, input_shape, num_classes):
    """The network of the Config: with shortcuts, or without (plain)."""
    if config.plain:
        return plain_cifar(input_shape, num_classes, depth=config.depth)
    return resnet_cifar(input_shape, num_classes, depth=config.depth, shortcut=config.shortcut)


def compiled_model(config, data):
    """The network for training, of images of any size where they are small at first."""
    channels = data.input_shape[2]
    shape = (None, None, channels) if config.small_part else data.input_shape
    if not (0 <= config.momentum < 1 and config.weight_decay >= 0):
        raise ValueError("momentum must be in [0, 1) and weight_decay not negative. "
                         f"Received: {config.momentum} and {config.weight_decay}")
    options = {"momentum": config.momentum, "nesterov": config.nesterov,
               "weight_decay": config.weight_decay / (1 - config.momentum) or None}
    if config.optimizer == "muon":
        if not (config.learning_rate > 0 and config.kernel_rate > 0):
            raise ValueError("learning_rate and kernel_rate must be positive numbers. "
                             f"Received: {config.learning_rate} and {config.kernel_rate}")
        optimizer = Muon(learning_rate(config), relative_rate=config.kernel_rate / config.learning_rate,
                         kernel_momentum=config.kernel_momentum, **options)
    else:
        optimizer = keras.optimizers.SGD(learning_rate(config), **options)
    return compiled(network(config, shape, data.num_classes), optimizer)


def compiled(model, *optimizer):
    """The model, compiled with cross-entropy and accuracy."""
    model.compile(*optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    return model


def trained(config, run):
    """-> (history, metrics) of one network, which run keeps."""
    if not 0 <= config.small_part <= 1 or config.small_side < 4:
        raise ValueError("small_part must be in [0, 1] and small_side at least 4 pixels. "
                         f"Received: {config.small_part} and {config.small_side}")
    end = round(config.small_part * config.updates)
    resized = ((end, config.small_side),) if end else ()
    data = cifar.load(config.data, config.batch_size, seed=run.seed, fold=run.fold, augment=config.augment,
                      validation=run.validation_size(config.validation, cifar.VALIDATION), resized=resized)
    with run.scope():
        model = compiled_model(config, data)
    history = run.fit(model, data.train, data.validation, updates=config.updates, in_parts=config.parts)
    if config.small_part:                               # kept for images of one size, which others can read
        weights = model.get_weights()
        model = compiled(network(config, data.input_shape, data.num_classes))
        model.set_weights(weights)
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
    """In percent, of a history's column of accuracies from 0 to 1."""
    return [100 - 100 * row[name] for row in rows]


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
