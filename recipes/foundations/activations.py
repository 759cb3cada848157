"""Activation functions: their derivatives, where they saturate or die, and how fast each one trains.

Source     Goodfellow, Bengio and Courville 2016, Deep Learning, sections 6.2.2 and 6.3.
Run        python -m recipes run activations           (a minute; --smoke: two of them, seconds)
Published  No figure: the derivatives equal automatic differentiation.
Departs    One learning rate for all, so that the functions are compared and not their tuning. The
           leaky ReLU has Keras's slope of 0.2.
"""
import dataclasses

import keras
import numpy as np
from keras import ops

from models import mlp
from models.perceptron import step
from pipelines import mnist
from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    activations: tuple[str, ...] = ("step", "sigmoid", "tanh", "relu", "leaky_relu")
    data: str = "digits"         # no download; or mnist, fashion_mnist, kmnist, emnist
    hidden: tuple[int, ...] = (50, 50)
    learning_rate: float = 0.05
    large_rate: float = 0.15     # at which the rectifiers are trained once more: some units die
    epochs: int = 30
    batch_size: int = 16
    reached: float = 0.9         # the validation accuracy to which the epochs are counted


PUBLISHED = {}
HEADLINE = "largest_difference"
UNIT = "largest difference"
SMOKE = Config(activations=("sigmoid", "relu"), epochs=6, hidden=(30, 30))


def sigmoid(z):
    """1 / (1 + exp(-z)) by NumPy, of any shape."""
    return 1 / (1 + np.exp(-z))


# name: (the function, its derivative), of net inputs z of any shape
FUNCTIONS = {
    "step": (lambda z: np.where(z >= 0, 1.0, 0.0), lambda z: np.zeros_like(z)),
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: np.where(z > 0, 1.0, 0.0)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.2 * z), lambda z: np.where(z > 0, 1.0, 0.2)),
}


def softmax(z):
    """exp(z_i) / sum_j exp(z_j): (n,) -> (n,). The largest z is taken off first: exp then cannot overflow."""
    powers = np.exp(z - np.max(z))
    return powers / powers.sum()


def softmax_jacobian(z):
    """dp_i / dz_j = p_i ([i = j] - p_j): (n,) -> (n, n). Raising one input lowers all other outputs."""
    p = softmax(z)
    return np.diag(p) - np.outer(p, p)


def largest_difference():
    """Values and derivatives above against Keras's functions and TensorFlow's tape."""
    import tensorflow as tf
    z = np.linspace(-6, 6, 240)                                          # without 0, where some have none
    differences = []
    for name, (function, derivative) in FUNCTIONS.items():
        x = tf.constant(z, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = keras_function(name)(x)
        slope = tape.gradient(y, x, unconnected_gradients="zero")        # step: connected to nothing
        differences += [function(z) - y.numpy(), derivative(z) - slope.numpy()]
    z = np.array([2.0, 1.0, -1.0, 0.5])
    x = tf.constant(z, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        p = ops.softmax(x[None])[0]
    differences += [softmax(z) - p.numpy(), softmax_jacobian(z) - tape.jacobian(p, x).numpy()]
    return max(float(np.abs(difference).max()) for difference in differences)


def keras_function(name):
    """What keras.layers.Activation takes for a function of this lesson; step is no function of Keras."""
    return step if name == "step" else keras.activations.get(name)


def compiled_model(config, data, activation, learning_rate):
    model = mlp(data.input_shape, data.num_classes, hidden=config.hidden,
                activation=keras_function(activation), initialisation="glorot_uniform")
    if activation == "step":                         # a derivative of zero: only the last layer can learn
        for layer in model.layers[:-1]:
            layer.trainable = False
    model.compile(keras.optimizers.SGD(learning_rate),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def hidden_derivatives(model, activation, images):
    """f'(z) of each hidden unit on each image: (N, units of all hidden layers)."""
    x, found = images.reshape(len(images), -1), []
    function, derivative = FUNCTIONS[activation]
    for layer in model.layers[1:-1]:
        kernel, bias = layer.get_weights()
        z = x @ kernel + bias
        found.append(derivative(z))
        x = function(z)
    return np.concatenate(found, axis=1)


def trained(config, run, data, activation, learning_rate, name):
    """One network in a run of its own -> (history, {metric: value})."""
    child = run.child(name, config)
    with child.scope():
        model = compiled_model(config, data, activation, learning_rate)
    history = child.fit(model, data.train, data.validation, epochs=config.epochs)
    child.save(model, data.class_names)
    slopes = hidden_derivatives(model, activation, data.training.arrays()[0])
    reached = [row["epoch"] for row in history if row["val_accuracy"] >= config.reached]
    metrics = {"epochs_to_reach": reached[0] if reached else None,
               # a twentieth of the steepest slope that the function has
               "saturated": float(np.mean(slopes <= FUNCTIONS[activation][1](np.array(1e-9)) / 20)),
               "dead_units": int(np.sum(np.all(slopes == 0, axis=0))),
               **child.evaluate(model, data.test)}
    child.finish(metrics)
    return history, metrics


def main(config, run):
    unknown = [name for name in config.activations if name not in FUNCTIONS]
    if unknown or not config.activations:
        raise ValueError(f"activations must be some of {', '.join(FUNCTIONS)}. "
                         f"Received: {', '.join(unknown) or 'none'}")
    data = mnist.load(config.data, config.batch_size, seed=run.seed)
    runs = {name: trained(config, run, data, name, config.learning_rate, name) for name in config.activations}
    rectifiers = [name for name in config.activations if name in ("relu", "leaky_relu")]
    runs |= {f"{name}_large_rate": trained(config, run, data, name, config.large_rate, f"{name}_large_rate")
             for name in rectifiers}
    draw_functions(run)
    draw_training(run, config, runs)
    return {HEADLINE: largest_difference(),
            **{f"{name}_{metric}": value for name, (_, metrics) in runs.items()
               for metric, value in metrics.items() if metric != "test_loss"}}


def draw_functions(run):
    """Each function and its derivative, and what softmax makes of one input that grows."""
    import matplotlib.pyplot as plt
    z = np.linspace(-5, 5, 1001)
    figure, grid = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")
    for axes, (name, (function, derivative)) in zip(grid.flat, FUNCTIONS.items(), strict=False):
        axes.plot(z, function(z), linewidth=2.5, label="f(z)")
        axes.plot(z, derivative(z), "--", linewidth=2, label="f'(z)")
        axes.set(title=name.replace("_", " "), ylim=(-1.2, 2.2), xlabel="z")
        axes.grid(alpha=0.3)
    grid[0, 0].legend(loc="upper left")
    p = np.array([softmax(np.array([value, 1, -1])) for value in z])
    grid[1, 2].stackplot(z, p.T, labels=["p of z", "p of 1", "p of -1"], alpha=0.8)
    grid[1, 2].set(title="softmax of (z, 1, -1)", xlabel="z", xlim=(-5, 5), ylim=(0, 1))
    grid[1, 2].legend(loc="lower right")
    figure.savefig(run.figure("functions"), dpi=120)
    plt.close(figure)


def draw_training(run, config, runs):
    """Training loss by epoch, and the shares of saturated and of dead units at the end."""
    import matplotlib.pyplot as plt
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.6), layout="constrained")
    for name, (history, _) in runs.items():
        left.semilogy([row["epoch"] for row in history], [row["loss"] for row in history],
                      "--" if name.endswith("large_rate") else "-", label=name.replace("_", " "))
    left.set(xlabel="epoch", ylabel="training loss", title=f"How fast each one trains, seed {run.seed}")
    left.grid(alpha=0.3)
    left.legend()
    places = np.arange(len(runs))
    saturated = [100 * metrics["saturated"] for _, metrics in runs.values()]
    dead = [100 * metrics["dead_units"] / sum(config.hidden) for _, metrics in runs.values()]
    right.barh(places - 0.2, saturated, 0.4,
               label="% of cases saturated: slope a twentieth of the largest, or less")
    right.barh(places + 0.2, dead, 0.4, label="% of units dead: slope zero on every example")
    right.set_yticks(places, [name.replace("_", " ") for name in runs])
    right.invert_yaxis()
    right.set(xlabel="%", xlim=(0, 100), title="Hidden units after training")
    right.legend(fontsize=8, loc="lower right")
    figure.savefig(run.figure("training"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, smoke=SMOKE)
