"""LeNet-5 as published, with and without distorted digits; LeNet-1 and the modern LeNet beside it.

Source     LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning applied to document
           recognition, sections II and III, appendix C; LeNet-1: LeCun et al. 1990.
Run        python -m recipes run lenet_mnist --config distorted      (--smoke: seconds, no download)
Published  99.05 (LeNet-5), 99.20 (with distortions), 98.30 (LeNet-1) % test accuracy.
Departs    50,000 training images: 10,000 choose the epoch. Adam on mini-batches, the rate falling
           along a cosine; lecun and lecun-distorted have the paper's own training, one image at a
           time with a rate per weight, and estimate the curvature by the gradients for labels that
           the network itself draws, where the paper propagates second derivatives back. Distortions
           are drawn anew each epoch; the paper has 540,000 fixed ones. The codes of the output
           are our drawings of the digits, and the constant j of equation 9 is ours.
"""
import dataclasses
from typing import Literal

import keras
import tensorflow as tf

from models import lenet1, lenet5, modern_lenet5, on_images
from pipelines import mnist
from pipelines.distort import Distortion
from training import launch

BLACK, WHITE = -0.1, 1.175       # of the inputs, so that their mean is about 0 and variance 1 (section II B)
REJECTION = 10.0                 # j of equation 9: the distance beyond which a digit counts as none


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "mnist"          # or fashion_mnist, kmnist; digits needs no download
    network: Literal["lenet1", "lenet5", "modern"] = "lenet5"
    training: Literal["adam", "levenberg_marquardt"] = "adam"    # the second is the paper's
    rates: tuple[float, ...] = ()    # learning rate of each epoch; none: a cosine from learning_rate to 0
    learning_rate: float = 0.002
    epochs: int = 30             # where rates names none
    batch_size: int = 50         # over all devices
    damping: float = 0.02        # mu of the paper: keeps the rates of flat directions finite
    rotation: float = 0.0        # degrees at most, either way
    shear: float = 0.0           # degrees
    scale: float = 0.0           # part of the size, along each axis by itself
    shift: float = 0.0           # pixels
    alpha: float = 0.0           # of the elastic field; the paper has none
    sigma: float = 4.0           # pixels


LECUN_RATES = (5e-4, 5e-4, 2e-4, 2e-4, 2e-4, 1e-4, 1e-4, 1e-4, 5e-5, 5e-5, 5e-5, 5e-5,
               1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 1e-5)
# Shift, scaling and squeezing, horizontal shearing (section III A), by amounts that are ours.
DISTORTED = Config(shear=15, scale=0.15, shift=2, epochs=120)
LECUN = Config(training="levenberg_marquardt", rates=LECUN_RATES, batch_size=1)
NAMED = {
    "plain": Config(),
    "distorted": DISTORTED,
    "lecun": LECUN,
    "lecun-distorted": dataclasses.replace(LECUN, shear=15, scale=0.15, shift=2),
    "lenet1": Config(network="lenet1"),
    "modern": Config(network="modern"),
    "modern-distorted": dataclasses.replace(DISTORTED, network="modern"),
}
PUBLISHED = {"plain": 99.05, "distorted": 99.20, "lecun": 99.05, "lecun-distorted": 99.20, "lenet1": 98.30}
SMOKE = Config(data="digits", epochs=8, batch_size=20)


def discriminative_loss(labels, logits):
    """Equation 9: labels (B,), minus the distances of the classes (B, 10) -> (B,).

    The distance of the right class, and a soft minimum of all of them and a constant: it
    pulls F6 to its code and pushes it off the others that come nearer than that.
    """
    rejection = keras.ops.full_like(logits[:, :1], -REJECTION)
    right = keras.ops.take_along_axis(logits, keras.ops.reshape(labels, (-1, 1)), axis=1)[:, 0]
    return keras.ops.logsumexp(keras.ops.concatenate([logits, rejection], axis=1), axis=1) - right


class LevenbergMarquardt(keras.optimizers.Optimizer):
    """w <- w - rate / (damping + curvature of w) dE/dw, a rate for each weight (appendix C)."""

    def __init__(self, learning_rate, damping, **options):
        super().__init__(learning_rate, **options)
        self.damping = damping

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.curvatures = self.add_optimizer_variables(variables, "curvature")

    def update_step(self, gradient, variable, learning_rate):
        curvature = self.curvatures[self._get_variable_index(variable)]
        self.assign_sub(variable, learning_rate * gradient / (self.damping + curvature))


class Curvature(keras.callbacks.Callback):
    """Before each epoch, the diagonal of the Gauss-Newton matrix over the first images.

    It is the mean of the squared derivatives of log p(label | image), with labels drawn from
    the network's own probabilities: no second derivative is taken, and none is negative.
    """

    def __init__(self, examples, seed, updates_per_epoch):
        super().__init__()
        self.images, self.seed, self.updates_per_epoch = examples.arrays()[0], seed, updates_per_epoch

    def on_train_begin(self, logs=None):
        self.squares = tf.function(self.mean_squares, autograph=False)

    def on_epoch_begin(self, epoch, logs=None):
        # A run resumed within an epoch has the curvatures of its beginning in the checkpoint.
        if int(self.model.optimizer.iterations) % self.updates_per_epoch == 0:
            squares = self.squares(tf.constant(self.images), tf.constant([self.seed, epoch], tf.int64))
            for curvature, value in zip(self.model.optimizer.curvatures, squares, strict=True):
                curvature.assign(value)

    def mean_squares(self, images, seed):
        variables = [variable.value for variable in self.model.trainable_variables]
        count = images.shape[0]

        def add(i, sums):
            with tf.GradientTape() as tape:
                logits = self.model(images[i:i + 1], training=False)
                own = seed + tf.stack([0, 1000 * tf.cast(i, tf.int64)])           # of this image, this epoch
                label = tf.random.stateless_categorical(logits, 1, own)
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits(label[0], logits)
            gradients = tape.gradient(loss, variables)
            return i + 1, [total + gradient ** 2 for total, gradient in zip(sums, gradients, strict=True)]
        zeros = [tf.zeros(variable.shape) for variable in variables]
        _, sums = tf.while_loop(lambda i, _: i < count, add, (0, zeros), parallel_iterations=1)
        return [total / count for total in sums]


def compiled_model(config, data):
    """The network for images of the data's size, and how it learns."""
    codes = config.network == "lenet5"
    if config.network == "lenet1":
        model = on_images(lenet1(num_classes=data.num_classes), data.input_shape, black=BLACK, white=WHITE)
    elif codes:
        model = on_images(lenet5(num_classes=data.num_classes), data.input_shape, black=BLACK, white=WHITE)
    else:
        model = on_images(modern_lenet5(num_classes=data.num_classes), data.input_shape)
    updates = data.train.batches_per_epoch
    if len(config.rates) == 1:
        rate = config.rates[0]
    elif config.rates:
        ends = [updates * (epoch + 1) for epoch in range(len(config.rates) - 1)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(ends, list(config.rates))
    else:
        rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, updates * config.epochs)
    optimizer = (keras.optimizers.Adam(rate) if config.training == "adam"
                 else LevenbergMarquardt(rate, config.damping))
    model.compile(optimizer, discriminative_loss if codes
                  else keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def main(config, run):
    distortion = Distortion(config.rotation, config.shear, config.scale, config.shift, config.sigma,
                            config.alpha)
    data = mnist.load(config.data, config.batch_size, seed=run.seed, fold=run.fold,
                      augment=None if distortion == Distortion() else distortion)
    with run.scope():
        model = compiled_model(config, data)
    levenberg = config.training == "levenberg_marquardt"
    callbacks = [Curvature(data.training[:500], run.seed, data.train.batches_per_epoch)] if levenberg else []
    history = run.fit(model, data.train, data.validation, epochs=len(config.rates) or config.epochs,
                      keep_best="val_accuracy", callbacks=callbacks)
    run.save(model, data.class_names)
    best = max(history, key=lambda row: row["val_accuracy"])
    return {"val_accuracy": best["val_accuracy"], "best_epoch": best["epoch"],
            **run.evaluate(model, data.test)}          # once, at the very end


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
