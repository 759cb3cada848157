"""CIFAR-10 to 94 % as quickly as two CPU cores allow, and what each trick of the speed records is worth.

Source     Jordan 2024, arXiv:2404.00498: airbench94. Its successor airbench94_muon, of the same author's
           github.com/KellerJordan/cifar10-airbench, is the default. Whitening: Page 2019, "How to train
           your ResNet". Lookahead: Zhang et al. 2019, arXiv:1907.08610.
Run        python -m recipes run fast_cifar10 --precision mixed_bfloat16
           (on cores without bfloat16, or where it is slower, as on Intel's without AMX, leave the
           precision out; --config muon: the author's eight epochs; --config 'short,without-*': the
           tricks; --smoke: seconds)
Published  94.01 % test accuracy with six views of each test image, as here: airbench94 in 9.9 epochs, mean of
           1,000 runs, 3.83 s on an A100 GPU; airbench94_muon in 8, mean of 200, 2.59 s.
Departs    10 epochs in place of 8, as many as two cores do in less than 25 minutes. Muon works in float32. No
           run to warm up is left out: the clock runs from the start of the process. sgd and paper are
           airbench94: paper as published, but that the slow weights are put in place after the last
           update, not at the end of each epoch; sgd was the default before, in 10.5 epochs and batches
           of 512, for which the rates are scaled, and without the biases of the whitening layer. short and
           without-*, of sgd, train for two epochs on 45,000 images and validate on the other 5,000, and
           so does short-muon; all else trains on all 50,000, as the authors do, and was decided on
           before. The test set is evaluated once.
"""
import dataclasses
import math
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from models import airbench94, set_whitening
from pipelines import cifar
from pipelines.augment import CropFlip
from training import launch
from training.objectives import CrossEntropy
from training.optimizers import orthogonal, scaled
from training.start_up import seconds_from_start


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "cifar10"        # or cifar100; digits needs no download
    validation: int = 0          # images cut from the training images; 0 trains on all
    widths: tuple[int, int, int] = (64, 256, 256)      # of the three groups of convolutions
    whitening: bool = True       # a first layer that whitens patches, fixed; otherwise trained from noise
    dirac: bool = True           # convolutions begin as the identity; otherwise as noise
    flip: str = "alternating"    # an image is mirrored every other epoch; random: by a coin; none
    translate: int = 2           # pixels that an image is moved by, at most
    label_smoothing: float = 0.2
    optimizer: Literal["muon", "sgd"] = "muon"         # of the 3x3 kernels; sgd for all else
    kernel_rate: float = 0.24    # muon's, at the top: part of a kernel's length, about, per update
    kernel_momentum: float = 0.6
    learning_rate: float = 11.5  # of sgd, per 1,024 examples, at the top, for momentum's whole sum
    bias_rate: float = 36.2      # learning rate of normalisation's biases, in learning rates
    head_rate: float = 457.0     # of the output layer's kernel, alike; muon's is of 256 features
    bias_epochs: float = 3.0     # epochs in which the biases of a fixed whitening layer are trained
    weight_decay: float = 0.0157 # per 1,024 examples, of the weights themselves; muon's kernels have none
    momentum: float = 0.85       # Nesterov's
    schedule: Literal["line", "triangle", "steady"] = "line"       # falls; rises and falls; half its top
    lookahead: int = 0           # updates between two steps of the slow weights; 0: none
    views: int = 6               # of each test image: mirrored or not, in three places; 2: in one; 1: itself
    epochs: float = 10.0
    batch_size: int = 2000       # over all devices


SGD = Config(optimizer="sgd", bias_rate=64.0, head_rate=1.0, bias_epochs=0.0, weight_decay=0.0153,
             schedule="triangle", lookahead=10, epochs=10.5, batch_size=512)
SHORT = dataclasses.replace(SGD, validation=5_000, epochs=2.0)
NAMED = {
    "fast": Config(),
    "muon": Config(epochs=8.0),
    "sgd": SGD,
    "paper": dataclasses.replace(SGD, bias_epochs=3.0, lookahead=5, epochs=9.9, batch_size=1024),
    "short": SHORT,
    "short-muon": Config(validation=5_000, epochs=2.0),
    "without-whitening": dataclasses.replace(SHORT, whitening=False),
    "without-dirac": dataclasses.replace(SHORT, dirac=False),
    "without-alternation": dataclasses.replace(SHORT, flip="random"),
    "without-translation": dataclasses.replace(SHORT, translate=0),
    "without-smoothing": dataclasses.replace(SHORT, label_smoothing=0.0),
    "without-bias-rate": dataclasses.replace(SHORT, bias_rate=1.0),
    "without-lookahead": dataclasses.replace(SHORT, lookahead=0),
    "without-triangle": dataclasses.replace(SHORT, schedule="steady"),
}
PUBLISHED = {"fast": 94.01, "muon": 94.01, "sgd": 94.01, "paper": 94.01}
SMOKE = Config(data="digits", widths=(8, 16, 16), epochs=6.0, batch_size=32)
# Views of a test image: first row and column within a margin of one pixel, mirrored, weight.
VIEWS = {1: ((1, 1, False, 1.0),),
         2: ((1, 1, False, 0.5), (1, 1, True, 0.5)),
         6: ((1, 1, False, 0.25), (1, 1, True, 0.25), (0, 0, False, 0.125), (0, 0, True, 0.125),
             (2, 2, False, 0.125), (2, 2, True, 0.125))}


class Triangle(keras.optimizers.schedules.LearningRateSchedule):
    """Rises in a line from .2 of the top to all of it at 23 % of the updates, and falls to .07 of it."""

    def __init__(self, top, updates):
        self.top, self.updates = top, updates

    def __call__(self, step):
        part = ops.cast(step, "float32") / self.updates
        return self.top * ops.minimum(0.2 + 0.8 * part / 0.23, 1 - 0.93 * (part - 0.23) / 0.77)

    def get_config(self):
        return {"top": self.top, "updates": self.updates}


@keras.saving.register_keras_serializable("recipes")
class LookaheadSGD(keras.optimizers.Optimizer):
    """Nesterov's gradient descent, with slow weights that the fast ones return to.

    g = gradient + weight_decay w / s;   v = momentum v + g;   w = w - s learning_rate (g + momentum v)
    where s is what rates has for the path of the variable, else 1: that it divides the decay makes
    what a weight loses per update independent of s.
    From 30 % of the updates on, after every `every` updates: slow = rho slow + (1 - rho) w, w = slow,
    with rho = .95^5 (t / updates)^3, so that it averages little at first and much at the end. The
    last update leaves the slow weights. statistics, the variables of batch normalisation that are
    not trained, are averaged alike; on several devices they are left alone. early: {path of a
    variable: number of its updates}, for those that change no longer than that.
    """

    def __init__(self, learning_rate, momentum=0.85, weight_decay=0.0, rates=None, every=0, updates=1,
                 statistics=(), early=None, name="lookahead_sgd", **options):
        super().__init__(learning_rate, name=name, **options)
        self.rates, self.early = dict(rates or {}), dict(early or {})
        self.momentum, self.decay = momentum, weight_decay
        self.every, self.updates, self.statistics = every, updates, list(statistics)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.scales = [self.rates.get(variable.path, 1.0) for variable in variables]
        self.ends = [self.early.get(variable.path) for variable in variables]
        self.velocities = self.add_optimizer_variables(variables, "velocity")
        if self.every:
            self.slow = self.add_optimizer_variables(variables, "slow")
            self.slow_statistics = [self.add_variable_from_reference(each, "slow_statistic")
                                    for each in self.statistics]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        scale, end = self.scales[index], self.ends[index]
        gradient = gradient + self.decay / scale * variable
        velocity = self.momentum * self.velocities[index] + gradient
        self.velocities[index].assign(velocity)
        if end is not None:
            scale *= self.remaining(end)
        variable.assign(variable - scale * learning_rate * (gradient + self.momentum * velocity))
        if self.every:
            self.look_ahead(self.slow[index], variable, self.iterations + 1)

    def remaining(self, end):
        """What is left of the rate of a variable that learns until that update: 1, then 0."""
        return ops.cast(self.iterations < end, "float32")

    def apply(self, grads, trainable_variables=None):
        super().apply(grads, trainable_variables)
        if self.every and tf.distribute.get_strategy().num_replicas_in_sync == 1:
            for slow, statistic in zip(self.slow_statistics, self.statistics, strict=True):
                self.look_ahead(slow, statistic, self.iterations)

    def look_ahead(self, slow, fast, update):
        """Draws slow towards fast and puts it in its place, if that is due after this update (1, 2, ...)."""
        begins = max(1, round(0.3 * self.updates / self.every)) * self.every
        last = update == self.updates
        due = ops.logical_and(update >= begins, ops.logical_or(update % self.every == 0, last))
        kept = 0.95 ** 5 * (ops.cast(update, "float32") / self.updates) ** 3
        kept = ops.where(last, 1.0, ops.where(update == begins, 0.0, kept))
        mean = ops.where(due, kept * slow + (1 - kept) * fast, slow)
        slow.assign(mean)
        fast.assign(ops.where(due, mean, fast))

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "weight_decay": self.decay,
                "rates": self.rates, "every": self.every, "updates": self.updates, "early": self.early}


@keras.saving.register_keras_serializable("recipes")
class MuonSGD(LookaheadSGD):
    """Steps of nearly equal length in all directions for kernels of convolutions; LookaheadSGD for all else.

    As airbench94_muon has it. A kernel W (h, w, in, out) with gradient g:
    v = m v + g;   W = |W| - relative_rate learning_rate orthogonal(g + m v)
    where m is kernel_momentum and |.| scales to a norm of sqrt(out). See training.optimizers.Muon, which
    scales the steps, too; here three iterations leave small singular values small. Variables in early
    have rates that fall to 0 along a line, as those of others do at the end of all updates.
    """

    def __init__(self, *arguments, relative_rate=1.0, kernel_momentum=0.6, name="muon_sgd", **options):
        super().__init__(*arguments, name=name, **options)
        self.relative_rate, self.kernel_momentum = relative_rate, kernel_momentum

    def update_step(self, gradient, variable, learning_rate):
        if len(variable.shape) != 4:
            super().update_step(gradient, variable, learning_rate)
            return
        velocity = self.velocities[self._get_variable_index(variable)]
        velocity.assign(self.kernel_momentum * velocity + gradient)
        step = orthogonal(gradient + self.kernel_momentum * velocity, iterations=3)
        variable.assign(scaled(variable, math.sqrt(variable.shape[-1]))
                        - self.relative_rate * learning_rate * step)

    def remaining(self, end):
        """What is left of a rate that has fallen along a line to the end of all updates: one to this end."""
        done = ops.cast(self.iterations, "float32")
        return ops.maximum(1 - done / end, 0.0) / ops.maximum(1 - done / self.updates, 1e-6)

    def get_config(self):
        return {**super().get_config(), "relative_rate": self.relative_rate,
                "kernel_momentum": self.kernel_momentum}


def updates_of(config, data):
    """Updates of the whole training; epochs need not be whole."""
    return round(config.epochs * data.train.size / config.batch_size)


def compiled_model(config, data):
    if min(config.widths) < 1:
        raise ValueError(f"widths must be at least 1. Received: {config.widths}")
    updates, muon = updates_of(config, data), config.optimizer == "muon"
    model = airbench94(data.input_shape, data.num_classes, widths=config.widths,
                       scale=1 / config.widths[-1] if muon else 1 / 9)
    whitening, bias = model.get_layer("whitening"), model.get_layer("whitening_bias")
    head = model.get_layer("logits").kernel
    whitening.trainable = not config.whitening
    bias.trainable = not config.whitening or config.bias_epochs > 0
    if config.whitening:
        set_whitening(model, data.training[:5000].arrays()[0])
    if not config.dirac:
        noise = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
        for layer in model.layers:
            if isinstance(layer, keras.layers.Conv2D) and layer is not whitening:
                layer.kernel.assign(noise(layer.kernel.shape))
    if muon:
        head.assign(head / ops.std(head))
    model.compile(optimizer(config, model, updates), CrossEntropy(config.label_smoothing),
                  metrics=["accuracy"])
    return model


def optimizer(config, model, updates):
    """The optimizer of the Config for all updates of a model of compiled_model. Raises ValueError."""
    named = {name: getattr(config, name)
             for name in ("learning_rate", "bias_rate", "head_rate", "kernel_rate")}
    if min(named.values()) <= 0 or not 0 <= config.momentum < 1:
        raise ValueError("rates must be positive numbers and momentum in [0, 1). Received: " + ", ".join(
            f"{name}={value}" for name, value in {**named, "momentum": config.momentum}.items()))
    # Of the mean loss over a batch, where the authors sum; a momentum of .85 makes steps 7.7 times as long.
    top = config.learning_rate * config.batch_size / 1024 / (1 + 1 / (1 - config.momentum))
    rate = {"line": keras.optimizers.schedules.PolynomialDecay(top, updates, 0.0),
            "triangle": Triangle(top, updates), "steady": top / 2}[config.schedule]
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    rates = {layer.beta.path: config.bias_rate for layer in norms}
    rates[model.get_layer("logits").kernel.path] = config.head_rate * (
        config.widths[-1] / 256 if config.optimizer == "muon" else 1)
    bias, early = model.get_layer("whitening_bias").bias.path, {}
    if config.optimizer == "muon":
        rates[bias] = config.bias_rate
    if config.whitening and config.bias_epochs > 0:
        early[bias] = round(config.bias_epochs * updates / config.epochs)
    options = {"momentum": config.momentum, "weight_decay": config.weight_decay / config.learning_rate,
               "rates": rates, "every": config.lookahead, "updates": updates, "early": early,
               "statistics": [variable for layer in norms for variable in layer.non_trainable_variables]}
    if config.optimizer == "sgd":
        return LookaheadSGD(rate, **options)
    return MuonSGD(rate, relative_rate=config.kernel_rate / top, kernel_momentum=config.kernel_momentum,
                   **options)


def view(images, row, column, mirrored):
    """Images (B, H, W, C) read at (row, column) of themselves with a margin of one pixel: the same shape."""
    height, width = images.shape[1:3]
    images = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
    images = images[:, row:row + height, column:column + width]
    return images[:, :, ::-1] if mirrored else images


def mean_logits(model, examples, views):
    """Weighted mean of the logits of the views of each image: float32 (N, classes)."""
    total = 0.0
    for row, column, mirrored, weight in VIEWS[views]:
        def seen(images, labels, row=row, column=column, mirrored=mirrored):
            return view(images, row, column, mirrored)
        total += weight * model.predict(examples.dataset().map(seen), verbose=0).astype(np.float32)
    return total


def accuracy(logits, examples):
    """The part, from 0 to 1, of logits (N, classes) that are largest at their examples' labels."""
    return float(np.mean(logits.argmax(axis=-1) == examples.labels))


def main(config, run):
    if config.views not in VIEWS:
        raise ValueError(f"views must be one of {', '.join(map(str, VIEWS))}. Received: {config.views}")
    validation = run.validation_size(config.validation, cifar.VALIDATION)
    data = cifar.load(config.data, config.batch_size, seed=run.seed, fold=run.fold, validation=validation,
                      augment=augmentation(config))
    with run.scope():
        model = compiled_model(config, data)
    history = run.fit(model, data.train, data.validation, updates=updates_of(config, data))
    metrics = {}
    if data.validation is not None:
        metrics = {"val_accuracy": accuracy(mean_logits(model, data.validation, config.views),
                                            data.validation),
                   "val_single_view_accuracy": history[-1]["val_accuracy"]}
    if run.searching:
        return metrics
    logits = mean_logits(model, data.test, config.views)                   # once, at the very end
    seconds = seconds_from_start()
    run.keep_predictions(logits, data.test)
    single = logits if config.views == 1 else mean_logits(model, data.test, 1)
    run.save(model, data.class_names, mean=data.mean, std=data.std)
    return {**metrics, "test_accuracy": accuracy(logits, data.test),
            "single_view_accuracy": accuracy(single, data.test), "seconds_from_start": seconds}


def augmentation(config):
    """Shift and flip as the Config says; None for neither."""
    if not config.translate and config.flip == "none":
        return None
    return CropFlip(config.translate, reflect=True, flip=config.flip)


def draw_tricks(run, results):
    """Validation and test error without each trick, in the order of what it is worth."""
    import matplotlib.pyplot as plt
    errors = {name: [100 - 100 * results[name][f"{split}_accuracy"] for split in ("val", "test")]
              for name in results if name == "short" or name.startswith("without")}
    if "short" in results:
        errors["without-views"] = [100 - 100 * results["short"][f"{split}single_view_accuracy"]
                                   for split in ("val_", "")]
    names = sorted(errors, key=lambda name: -errors[name][0])
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for index, (split, offset) in enumerate((("validation", -0.18), ("test", 0.18))):
        axes.barh(np.arange(len(names)) + offset, [errors[name][index] for name in names], 0.34, label=split)
    axes.set_yticks(np.arange(len(names)), names)
    axes.set(xlabel="error (%)", title=f"{SHORT.epochs:g} epochs, one trick left out, seed {run.seed}")
    axes.legend()
    figure.savefig(run.figure("tricks"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE, compare=draw_tricks)
