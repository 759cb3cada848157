"""Universal approximation: sigmoids as building blocks, and the error as a network grows wider.

Source     Nielsen 2015, Neural Networks and Deep Learning, chapter 4, whose function this is; Cybenko 1989.
Run        python -m recipes run universal_approximation      (a minute; --smoke: seconds)
Published  No figure: the theorem says that the error can be made as small as one likes.
Departs    All widths and starts are trained side by side, as one stack of networks whose missing
           units are masked. The networks of two layers have the same width twice.

The theorem by construction. Cut [0, 1] into n bins with middles m_k, and let a steep sigmoid at each
edge x_k raise or lower the sum from one bin's value to the next:

    g(x) = f(m_0) + sum over k = 1 .. n - 1 of (f(m_k) - f(m_k-1)) s(a (x - x_k))
    |g - f| <= L (1 / 2n + 0.2785 / a)      where |f'| <= L: half a bin, and the width of an edge
"""
import dataclasses

import keras
import numpy as np
from keras import ops

from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    widths: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)     # of the trained networks
    bins: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128, 256, 512)     # of the construction
    points: int = 128            # training examples, evenly spaced on [0, 1]
    starts: int = 3              # networks of each width; the one with the least training error counts
    updates: int = 6_000         # of Adam, on all points at once
    learning_rate: float = 0.02  # at first; falls to zero along a cosine


PUBLISHED = {}
HEADLINE = "one_layer_error_largest_width"
UNIT = "root mean square error"
SMOKE = Config(widths=(1, 4, 16), bins=(4, 16, 64), starts=1, updates=300)
STEEPNESS = 100                  # a = 100 n: an edge is a hundredth of a bin wide


def target(x):
    """0.2 + 0.4 x^2 + 0.3 x sin 15x + 0.05 cos 50x, on [0, 1]."""
    return 0.2 + 0.4 * x ** 2 + 0.3 * x * np.sin(15 * x) + 0.05 * np.cos(50 * x)


def lipschitz():
    """The largest |f'| on [0, 1]."""
    x = np.linspace(0, 1, 100_001)
    return np.abs(0.8 * x + 0.3 * np.sin(15 * x) + 4.5 * x * np.cos(15 * x) - 2.5 * np.sin(50 * x)).max()


def constructed(x, bins):
    """The sum g above: x (N,) -> (N,). Raises ValueError for less than one bin."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1. Received: {bins}")
    edges, values = np.arange(1, bins) / bins, target((np.arange(bins) + 0.5) / bins)
    net = STEEPNESS * bins * (x[:, None] - edges)                         # (N, n - 1)
    return values[0] + (1 + np.tanh(net / 2)) / 2 @ np.diff(values)


def error_bound(bins):
    """What the construction of so many bins can be wrong by at most, anywhere."""
    return lipschitz() * (1 / (2 * bins) + 0.2785 / (STEEPNESS * bins))


def first_weights(layers, widths, generator):
    """A stack of networks, padded to the widest: ({name: float32 array}, masks (nets, 1, width)).

    Each unit of the first layer is a step somewhere on [0, 1], about as wide as 1 / width.
    """
    nets, width = len(widths), max(widths)
    masks = (np.arange(width) < np.array(widths)[:, None])[:, None]                 # (nets, 1, width)
    scale = 4.0 * np.maximum(np.array(widths), 2)[:, None, None]
    w1 = scale * generator.choice([-1, 1], (nets, 1, width)) * generator.uniform(0.5, 1.5, (nets, 1, width))
    weights = {"w1": w1, "b1": -w1 * generator.uniform(0, 1, w1.shape),
               "v": generator.normal(size=(nets, width, 1)) / scale, "c": np.full((nets, 1, 1), 0.4)}
    if layers == 2:
        weights["w2"] = generator.normal(size=(nets, width, width)) * 4 / np.sqrt(scale)
        weights["b2"] = -0.5 * np.sum(weights["w2"] * masks.swapaxes(1, 2), axis=1, keepdims=True)
    return {name: value.astype("float32") for name, value in weights.items()}, masks.astype("float32")


def outputs(weights, masks, x):
    """x (N, 1) through every network of the stack: (nets, N, 1)."""
    hidden = masks * ops.sigmoid(ops.multiply(x, weights["w1"]) + weights["b1"])    # (nets, N, width)
    if "w2" in weights:
        hidden = masks * ops.sigmoid(ops.matmul(hidden, weights["w2"]) + weights["b2"])
    return ops.matmul(hidden, weights["v"]) + weights["c"]


def train(config, layers, generator):
    """-> {width: predict}, the best start of each width, predict: x (N,) -> (N,)."""
    import tensorflow as tf
    widths = [width for width in config.widths for _ in range(config.starts)]
    values, masks = first_weights(layers, widths, generator)
    weights = {name: keras.Variable(value, name=name) for name, value in values.items()}
    x = np.linspace(0, 1, config.points, dtype=np.float32)[:, None]
    y = target(x)
    rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, config.updates)
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(list(weights.values()))

    def errors():
        """The mean square error of each network; their sum has the gradient of each by itself."""
        return ops.mean(ops.square(outputs(weights, masks, x) - y), axis=(1, 2))

    @tf.function
    def update():
        with tf.GradientTape() as tape:
            total = ops.sum(errors())
        variables = list(weights.values())
        optimizer.apply(tape.gradient(total, [variable.value for variable in variables]), variables)

    for _ in range(config.updates):
        update()
    final = ops.convert_to_numpy(errors()).reshape(len(config.widths), config.starts)
    best = final.argmin(axis=1) + config.starts * np.arange(len(config.widths))
    arrays = {name: ops.convert_to_numpy(variable) for name, variable in weights.items()}

    def predict(net):
        one = {name: array[net:net + 1] for name, array in arrays.items()}
        return lambda x: ops.convert_to_numpy(
            outputs(one, masks[net:net + 1], x[:, None].astype("float32")))[0, :, 0]
    return {width: predict(net) for width, net in zip(config.widths, best, strict=True)}


def main(config, run):
    if min((*config.widths, *config.bins, config.starts, config.updates), default=0) < 1:
        raise ValueError("widths, bins, starts and updates must be at least 1. Received: "
                         f"widths={config.widths}, bins={config.bins}, starts={config.starts}, "
                         f"updates={config.updates}")
    generator = np.random.default_rng(run.seed)
    x = np.linspace(0, 1, 5_000)                                         # between the training examples too
    built = {bins: np.abs(constructed(x, bins) - target(x)).max() for bins in config.bins}
    networks = {layers: train(config, layers, generator) for layers in (1, 2)}
    errors = {layers: {width: float(np.sqrt(np.mean((predict(x) - target(x)) ** 2)))
                       for width, predict in of.items()} for layers, of in networks.items()}
    draw_fits(run, config, x, networks)
    draw_errors(run, config, errors, built)
    return {HEADLINE: errors[1][max(config.widths)],
            "two_layers_error_largest_width": errors[2][max(config.widths)],
            "construction_largest_error_over_bound": float(max(built[n] / error_bound(n) for n in built)),
            **{f"{name}_error_width_{width}": error for layers, name in ((1, "one_layer"), (2, "two_layers"))
               for width, error in errors[layers].items()},
            **{f"construction_largest_error_{bins}_bins": float(error) for bins, error in built.items()}}


def draw_fits(run, config, x, networks):
    """The function, and what few, some and many units make of it."""
    import matplotlib.pyplot as plt
    some = config.widths[-5::2]
    rows = [("construction", {bins: constructed(x, bins) for bins in some}),
            ("trained, one layer", {width: networks[1][width](x) for width in some}),
            ("trained, two layers", {width: networks[2][width](x) for width in some})]
    figure, grid = plt.subplots(3, len(some), figsize=(11, 8), sharex=True, sharey=True, squeeze=False,
                                layout="constrained")
    for axes_of_row, (name, curves) in zip(grid, rows, strict=True):
        for axes, (count, values) in zip(axes_of_row, curves.items(), strict=True):
            axes.plot(x, target(x), color="0.7", linewidth=4, label="the function")
            axes.plot(x, values, color="tab:blue", linewidth=1.5, label="the network")
            units = f"{count - 1} sigmoids" if name == "construction" else f"{count} units a layer"
            axes.set_title(f"{name}: {units}", fontsize=10)
            axes.grid(alpha=0.25)
    grid[0, 0].legend()
    figure.savefig(run.figure("fits"), dpi=120)
    plt.close(figure)


def draw_errors(run, config, errors, built):
    """errors.png: of trained networks by width and by parameters; of the construction, beside its bound."""
    import matplotlib.pyplot as plt
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13.5, 4.3), layout="constrained")
    parameters = {1: lambda width: 3 * width + 1, 2: lambda width: width ** 2 + 4 * width + 1}
    for layers, label in ((1, "one layer"), (2, "two layers")):
        widths, values = list(errors[layers]), list(errors[layers].values())
        left.loglog(widths, values, "o-", label=label)
        middle.loglog([parameters[layers](width) for width in widths], values, "o-", label=label)
    left.set(xlabel="units a layer", ylabel="root mean square error", title=f"Trained, seed {run.seed}")
    middle.set(xlabel="parameters", title="The same by parameters")
    bins = list(built)
    right.loglog(bins, list(built.values()), "o-", label="construction")
    right.loglog(bins, [error_bound(n) for n in bins], "k--", label="bound")
    right.set(xlabel="bins", ylabel="largest error", title="Built by hand")
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(run.figure("errors"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, smoke=SMOKE)
