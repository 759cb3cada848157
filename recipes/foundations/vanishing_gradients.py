"""Vanishing gradients: what each layer multiplies the gradient by, and what keeps it alive.

Source     Nielsen 2015, Neural Networks and Deep Learning, chapter 5, eq. 122 and the speeds before it;
           first weights of Glorot and Bengio 2010 and of He et al. 2015.
Run        python -m recipes run vanishing_gradients         (seconds; --config mnist: Nielsen's images)
Published  With four hidden layers of 30 sigmoids their first speeds of learning are 0.003, 0.017, 0.070
           and 0.285, with two 0.07 and 0.31.
Departs    The speeds are means over 20 draws of the first weights, where the book has one. The comparison
           of functions, first weights and remedies is ours; its networks have no biases.

One neuron per layer: dC/db_1 = s'(z_1) w_2 s'(z_2) w_3 s'(z_3) ... dC/da, a product of |s'(z) w|.
n neurons per layer, with weights of variance v: each layer multiplies the length of the
gradient by about sqrt(n v mean(s'(z)^2)). Where that is under 1 it vanishes, over 1 it explodes.
"""
import dataclasses
import itertools

import numpy as np
from keras import ops

from pipelines import mnist
from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "digits"         # no download; or mnist, fashion_mnist, kmnist, emnist
    depth: int = 12              # hidden layers of the comparison
    width: int = 64              # units in each of them
    examples: int = 200          # images whose gradients are compared
    draws: int = 20              # of the first weights, for Nielsen's networks


NAMED = {"mnist": Config(data="mnist")}
PUBLISHED = {"mnist": 0.003}
HEADLINE = "speed_of_layer1_of_4"
UNIT = "(first layer's speed)"
SPEEDS = {2: (0.07, 0.31), 3: (0.012, 0.060, 0.283), 4: (0.003, 0.017, 0.070, 0.285)}    # chapter 5
SMOKE = Config(depth=6, width=20, examples=50, draws=2)
ACTIVATIONS = {"sigmoid": ops.sigmoid, "tanh": ops.tanh, "relu": ops.relu,
               "leaky_relu": lambda z: ops.leaky_relu(z, 0.2)}
DEVIATIONS = {"normal": lambda n_in, n_out: 1.0,                          # N(0, 1)
              "glorot": lambda n_in, n_out: np.sqrt(2 / (n_in + n_out)),
              "he": lambda n_in, n_out: np.sqrt(2 / n_in)}
REMEDIES = {"plain": (False, False), "batch_norm": (True, False), "skip": (False, True),
            "batch_norm_skip": (True, True)}


def sigmoid(z):
    """1 / (1 + exp(-z)) by NumPy, of any shape."""
    return (1 + np.tanh(z / 2)) / 2                  # 1 / (1 + exp(-z)) that does not overflow


def first_weights(sizes, initialisation, generator):
    """Kernels (n_in, n_out) of a network with layers of these sizes."""
    return [generator.normal(size=pair) * DEVIATIONS[initialisation](*pair)
            for pair in itertools.pairwise(sizes)]


def deltas(x, labels, kernels, activation, normalised=False, skip=False):
    """dC/dz of every hidden layer, and its s'(z), by TensorFlow's tape: two lists of (B, width).

    C is the cross-entropy of softmax outputs, summed over the batch.  normalised: each z to mean
    0 and variance 1 over the batch.  skip: from the second layer on, x + s(z) instead of s(z).
    """
    import tensorflow as tf
    x = tf.constant(x, tf.float32)
    added = [tf.zeros((len(x), kernel.shape[1])) for kernel in kernels[:-1]]    # nothing, but watched
    with tf.GradientTape() as tape:
        tape.watch(added)
        nets = []
        for kernel, nothing in zip(kernels[:-1], added, strict=True):
            z = ops.matmul(x, ops.cast(kernel, "float32"))
            if normalised:
                z = (z - ops.mean(z, axis=0)) / ops.sqrt(ops.var(z, axis=0) + 1e-3)
            nets.append(z + nothing)
            after = ACTIVATIONS[activation](nets[-1])
            x = x + after if skip and len(nets) > 1 else after
        logits = ops.matmul(x, ops.cast(kernels[-1], "float32"))
        cost = ops.sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    gradients = [gradient.numpy() for gradient in tape.gradient(cost, added)]
    return gradients, [slopes(activation, net.numpy()) for net in nets]


def slopes(activation, z):
    """s'(z)."""
    if activation == "sigmoid":
        return sigmoid(z) * (1 - sigmoid(z))
    if activation == "tanh":
        return 1 - np.tanh(z) ** 2
    return np.where(z > 0, 1.0, 0.2 if activation == "leaky_relu" else 0.0)


def length(gradient):
    """Root mean square over the batch of |dC/dz|."""
    return float(np.sqrt(np.mean(np.sum(np.square(gradient, dtype=np.float64), axis=1))))


def product_formula(kernels, slopes_of_layers, last):
    """The lengths that sqrt(n v mean(s'^2)) per layer makes of the last one, from it to the first."""
    lengths = [last]
    for kernel, slope in zip(kernels[-2:0:-1], slopes_of_layers[-2::-1], strict=True):
        lengths.append(lengths[-1] * np.sqrt(len(kernel) * np.var(kernel) * np.mean(slope ** 2)))
    return lengths[::-1]


def chain_difference(depth, generator):
    """Eq. 122 for one neuron per layer, against the tape: largest relative difference."""
    kernels = [*generator.normal(size=(depth, 1, 1)), generator.normal(size=(1, 2))]
    x, labels = generator.normal(size=(1, 1)), np.array([1])
    gradients, slope = deltas(x, labels, kernels, "sigmoid")
    product, differences = gradients[-1].item(), []
    for layer in reversed(range(depth - 1)):
        product *= kernels[layer + 1].item() * slope[layer].item()       # w s'(z), one more layer back
        differences.append(abs(gradients[layer].item() / product - 1))
    return max(differences)


def nielsen_speeds(images, labels, hidden_layers, generator):
    """|dC/db| of each hidden layer of 784-30-...-30-10, the gradient a mean over the images.

    Weights N(0, 1 / inputs), biases N(0, 1), cross-entropy of sigmoid outputs: delta = a - y at
    the end, and delta_l = (W delta_l+1) s'(z_l) before.
    """
    sizes = [images.shape[1], *[30] * hidden_layers, 10]
    kernels = [generator.normal(size=pair) / np.sqrt(pair[0]) for pair in itertools.pairwise(sizes)]
    activations = [images]
    for kernel in kernels:
        activations.append(sigmoid(activations[-1] @ kernel + generator.normal(size=kernel.shape[1])))
    delta, speeds = activations[-1] - np.eye(10)[labels], []
    for kernel, a in zip(kernels[:0:-1], activations[-2:0:-1], strict=True):
        delta = (delta @ kernel.T) * a * (1 - a)
        speeds.append(np.linalg.norm(delta.mean(axis=0)))
    return speeds[::-1]


def main(config, run):
    if config.depth < 2 or min(config.width, config.examples, config.draws) < 1:
        raise ValueError("depth must be at least 2, width, examples and draws at least 1. Received: "
                         f"depth={config.depth}, width={config.width}, examples={config.examples}, "
                         f"draws={config.draws}")
    generator = np.random.default_rng(run.seed)
    training = mnist.load(config.data, original_order=True).training[:1_000]
    images = training.arrays()[0].reshape(len(training), -1)
    speeds = {layers: np.mean([nielsen_speeds(images, training.labels, layers, generator)
                               for _ in range(config.draws)], axis=0) for layers in SPEEDS}
    x, labels = images[:config.examples], training.labels[:config.examples]
    x = (x - x.mean()) / x.std()
    sizes = [x.shape[1], *[config.width] * config.depth, 10]
    lengths, predicted, off = {}, {}, []
    for activation, initialisation in itertools.product(ACTIVATIONS, DEVIATIONS):
        kernels = first_weights(sizes, initialisation, generator)
        for remedy, (normalised, skip) in REMEDIES.items():
            gradients, slope = deltas(x, labels, kernels, activation, normalised, skip)
            key = activation, initialisation, remedy
            lengths[key] = [length(gradient) for gradient in gradients]
            if remedy == "plain":
                predicted[key] = product_formula(kernels, slope, lengths[key][-1])
                off.append(abs(np.log(lengths[key][0] / predicted[key][0])) / (config.depth - 1))
    draw_layers(run, config, lengths, predicted)
    draw_speeds(run, config, speeds)
    return {HEADLINE: float(speeds[4][0]),
            **{f"speed_of_layer{layer}_of_{count}": float(value) for count, values in speeds.items()
               for layer, value in enumerate(values, 1)},
            "eq_122_largest_difference": chain_difference(10, generator),
            "formula_largest_error_per_layer": float(np.exp(max(off)) - 1),
            **{f"{'_'.join(key)}_first_over_last": values[0] / values[-1] for key, values in lengths.items()}}


def draw_layers(run, config, lengths, predicted):
    """Length of the gradient by layer: a row per activation, a column per remedy."""
    import matplotlib.pyplot as plt
    figure, grid = plt.subplots(len(ACTIVATIONS), len(REMEDIES), figsize=(12, 10), sharex=True, sharey=True,
                                layout="constrained")
    layers = range(1, config.depth + 1)
    for (row, activation), (column, remedy) in itertools.product(enumerate(ACTIVATIONS), enumerate(REMEDIES)):
        axes = grid[row, column]
        for initialisation, colour in zip(DEVIATIONS, ("tab:red", "tab:blue", "tab:green"), strict=True):
            key = activation, initialisation, remedy
            label = {"normal": "N(0, 1)", "glorot": "Glorot", "he": "He"}[initialisation]
            axes.semilogy(layers, np.array(lengths[key]) / lengths[key][-1], "o-", markersize=3, color=colour,
                          label=label)
            if key in predicted:
                axes.semilogy(layers, np.array(predicted[key]) / lengths[key][-1], ":", color="black",
                              label="product formula" if initialisation == "he" else None)
        axes.axhline(1, color="0.7", linewidth=0.8, zorder=0)
        axes.grid(alpha=0.25)
        if row == 0:
            axes.set_title(remedy.replace("_", " ").replace("norm skip", "norm and skip"))
        if column == 0:
            axes.set_ylabel(activation.replace("_", " "))
    grid[0, 0].set_xticks(range(1, config.depth + 1, max(1, config.depth // 6)))
    grid[0, 0].legend(fontsize=8)
    figure.supxlabel("hidden layer")
    figure.suptitle(f"Length of the gradient dC/dz over that of the last layer, {config.depth} layers of "
                    f"{config.width}, before training")
    figure.savefig(run.figure("layers"), dpi=120)
    plt.close(figure)


def draw_speeds(run, config, speeds):
    """speeds.png: each hidden layer's speed of learning, beside Nielsen's on MNIST."""
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    for count, colour in zip(SPEEDS, ("tab:green", "tab:orange", "tab:blue"), strict=True):
        axes.semilogy(range(1, count + 1), speeds[count], "o-", color=colour, label=f"{count} hidden layers")
        axes.semilogy(range(1, count + 1), SPEEDS[count], "x", color=colour, markersize=9)
    axes.plot([], [], "x", color="0.3", label="Nielsen, on MNIST")
    axes.set(xlabel="hidden layer", xticks=range(1, 5), ylabel="speed of learning |dC/db|",
             title=f"The first layers learn slowest ({config.data}, mean of {config.draws} draws)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(run.figure("speeds"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
