"""CIFAR-10 to 94 % as quickly as two CPU cores allow, and what each trick of the speed records is worth.

Source     Jordan 2024, arXiv:2404.00498: airbench94. Whitening: Page 2019, "How to train your ResNet".
           Lookahead: Zhang et al. 2019, arXiv:1907.08610.
Run        python -m recipes run fast_cifar10 --precision mixed_bfloat16
           (on cores without bfloat16, or where it is slower, as on Intel's without AMX, leave the
           precision out; --config 'short,without-*': the tricks; --smoke: seconds)
Published  94.01 % test accuracy, mean of 1,000 runs, in 9.9 epochs and 3.83 s on an A100 GPU, with six views
           of each test image, as here.
Departs    10.5 epochs in place of 9.9, in batches of 512 in place of 1,024, for which the rates are
           scaled: a CPU has no use for larger ones. The biases of the whitening layer stay zero,
           which saves the gradient of the largest map; the authors train them for three epochs, and so
           does --config paper, with their epochs and batches. The slow weights are put in place after
           the last update, not at the end of each epoch. No run to warm up is left out: the clock runs
           from the start of the process. short and without-* train for two epochs on 45,000 images
           and validate on the other 5,000; fast and paper train on all 50,000, as the authors do,
           and were decided on before. The test set is evaluated once.
"""
import dataclasses

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from models import airbench94, set_whitening
from pipelines import cifar
from pipelines.augment import CropFlip
from training import launch
from training.objectives import CrossEntropy
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
    bias_epochs: float = 0.0     # epochs in which the biases of a fixed whitening layer are trained
    bias_rate: float = 64.0      # the learning rate of normalisation's biases, in learning rates
    lookahead: int = 10          # updates between two steps of the slow weights; 0: none
    triangle: bool = True        # the rate rises and falls; otherwise it stays at half its top
    views: int = 6               # of each test image: mirrored or not, in three places; 2: in one; 1: itself
    learning_rate: float = 11.5  # per 1,024 examples, at the top, for momentum's whole sum
    weight_decay: float = 0.0153 # per 1,024 examples, of the weights themselves
    momentum: float = 0.85       # Nesterov's
    epochs: float = 10.5
    batch_size: int = 512        # over all devices


SHORT = Config(validation=5_000, epochs=2.0)
NAMED = {
    "fast": Config(),
    "paper": Config(bias_epochs=3.0, lookahead=5, epochs=9.9, batch_size=1024),
    "short": SHORT,
    "without-whitening": dataclasses.replace(SHORT, whitening=False),
    "without-dirac": dataclasses.replace(SHORT, dirac=False),
    "without-alternation": dataclasses.replace(SHORT, flip="random"),
    "without-translation": dataclasses.replace(SHORT, translate=0),
    "without-smoothing": dataclasses.replace(SHORT, label_smoothing=0.0),
    "without-bias-rate": dataclasses.replace(SHORT, bias_rate=1.0),
    "without-lookahead": dataclasses.replace(SHORT, lookahead=0),
    "without-triangle": dataclasses.replace(SHORT, triangle=False),
}
PUBLISHED = {"fast": 94.01, "paper": 94.01}
SMOKE = Config(data="digits", widths=(8, 16, 16), epochs=6.0, batch_size=32, lookahead=5)
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
    where s is bias_rate for the offsets of batch normalisation, and 1 for all others: that the
    rate divides the decay makes what a weight loses per update independent of s.
    From 30 % of the updates on, after every `every` updates: slow = rho slow + (1 - rho) w, w = slow,
    with rho = .95^5 (t / updates)^3, so that it averages little at first and much at the end. The
    last update leaves the slow weights. statistics, the variables of batch normalisation that are
    not trained, are averaged alike; on several devices they are left alone. early: {path of a
    variable: number of its updates}, for those whose gradient counts no longer than that.
    """

    def __init__(self, learning_rate, momentum=0.85, weight_decay=0.0, bias_rate=1.0, every=0, updates=1,
                 statistics=(), early=None, name="lookahead_sgd", **options):
        super().__init__(learning_rate, name=name, **options)
        self.early = dict(early or {})
        self.momentum, self.decay, self.bias_rate = momentum, weight_decay, bias_rate
        self.every, self.updates, self.statistics = every, updates, list(statistics)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.scales = [self.bias_rate if variable.name == "beta" else 1.0 for variable in variables]
        self.ends = [self.early.get(variable.path) for variable in variables]
        self.velocities = self.add_optimizer_variables(variables, "velocity")
        if self.every:
            self.slow = self.add_optimizer_variables(variables, "slow")
            self.slow_statistics = [self.add_variable_from_reference(each, "slow_statistic")
                                    for each in self.statistics]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        scale = self.scales[index]
        gradient = gradient + self.decay / scale * variable
        velocity = self.momentum * self.velocities[index] + gradient
        self.velocities[index].assign(velocity)
        if self.ends[index] is not None:
            scale *= ops.cast(self.iterations < self.ends[index], "float32")
        variable.assign(variable - scale * learning_rate * (gradient + self.momentum * velocity))
        if self.every:
            self.look_ahead(self.slow[index], variable, self.iterations + 1)

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
                "bias_rate": self.bias_rate, "every": self.every, "updates": self.updates,
                "early": self.early}


def updates_of(config, data):
    """Updates of the whole training; epochs need not be whole."""
    return round(config.epochs * data.train.size / config.batch_size)


def compiled_model(config, data):
    updates = updates_of(config, data)
    model = airbench94(data.input_shape, data.num_classes, widths=config.widths)
    whitening, bias = model.get_layer("whitening"), model.get_layer("whitening_bias")
    whitening.trainable = not config.whitening
    bias.trainable = not config.whitening or config.bias_epochs > 0
    if config.whitening:
        set_whitening(model, data.training[:5000].arrays()[0])
    if not config.dirac:
        noise = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
        for layer in model.layers:
            if isinstance(layer, keras.layers.Conv2D) and layer is not whitening:
                layer.kernel.assign(noise(layer.kernel.shape))
    # Of the mean loss over a batch, where the authors sum; a momentum of .85 makes steps 7.7 times as long.
    top = config.learning_rate * config.batch_size / 1024 / (1 + 1 / (1 - config.momentum))
    statistics = [variable for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)
                  for variable in layer.non_trainable_variables]
    early = {}
    if config.whitening and config.bias_epochs > 0:
        early[bias.bias.path] = round(config.bias_epochs * updates / config.epochs)
    model.compile(
        LookaheadSGD(Triangle(top, updates) if config.triangle else top / 2, config.momentum,
                     config.weight_decay / config.learning_rate, config.bias_rate, config.lookahead,
                     updates, statistics, early),
        CrossEntropy(config.label_smoothing), metrics=["accuracy"])
    return model


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
