"""Backpropagation written out: the delta rules of a 3-4-2 network of sigmoids, which learns to add bits.

Source     Rumelhart, Hinton and Williams 1986, Learning representations by back-propagating errors.
Run        python -m recipes run backpropagation           (seconds; --smoke: fewer updates)
Published  No figure: the rules equal automatic differentiation.
Departs    The task is ours: a full adder, whose sum is the parity of three bits. Each update
           takes the mean over all eight inputs, without momentum.

With the error E = 1/2 sum_k (o_k - t_k)^2 of an example, outputs o, hidden values h and inputs x:

    delta_k = (o_k - t_k) o_k (1 - o_k)                   at the outputs
    delta_j = h_j (1 - h_j) sum_k w_jk delta_k            at the hidden units
    dE/dw_jk = h_j delta_k,   dE/dw_ij = x_i delta_j      and delta itself for the biases
"""
import dataclasses
import math

import keras
import numpy as np
from keras import ops

from models import mlp
from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    hidden: int = 4              # sigmoids in the hidden layer
    learning_rate: float = 5.0   # of the mean over the eight inputs
    updates: int = 5_000


PUBLISHED = {}
HEADLINE = "largest_difference"
UNIT = "largest difference"
SMOKE = Config(updates=300)
BITS = np.array(list(np.ndindex(2, 2, 2)), float)                         # (8, 3)
SUMS = np.stack([BITS.sum(axis=1) // 2, BITS.sum(axis=1) % 2], axis=1)   # (8, 2): carry and sum


def sigmoid(net):
    """1 / (1 + exp(-net)) by NumPy, of any shape."""
    return 1 / (1 + np.exp(-net))


def forward(x, weights):
    """x (N, 3), weights (w1 (3, H), b1 (H,), w2 (H, 2), b2 (2,)) -> hidden (N, H), outputs (N, 2)."""
    w1, b1, w2, b2 = weights
    hidden = sigmoid(x @ w1 + b1)
    return hidden, sigmoid(hidden @ w2 + b2)


def error(x, targets, weights):
    """The mean of E over the examples."""
    return 0.5 * np.mean(np.sum((forward(x, weights)[1] - targets) ** 2, axis=1))


def delta_rules(x, targets, weights):
    """The gradient of the mean error, one array for each in weights, by the rules above."""
    hidden, outputs = forward(x, weights)
    delta_out = (outputs - targets) * outputs * (1 - outputs)               # (N, 2)
    delta_hidden = hidden * (1 - hidden) * (delta_out @ weights[2].T)       # (N, H)
    return [x.T @ delta_hidden / len(x), delta_hidden.mean(axis=0),
            hidden.T @ delta_out / len(x), delta_out.mean(axis=0)]


def automatic(x, targets, weights):
    """The same gradient from TensorFlow's tape, through a Keras network with these weights."""
    import tensorflow as tf
    model = mlp((3,), 2, hidden=(weights[0].shape[1],))
    model.set_weights(weights)
    with tf.GradientTape() as tape:
        outputs = ops.sigmoid(model(ops.convert_to_tensor(x, "float32")))
        loss = 0.5 * ops.mean(ops.sum(ops.square(outputs - targets.astype("float32")), axis=1))
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    return [keras.ops.convert_to_numpy(gradient) for gradient in gradients]


def numerical(x, targets, weights, step=1e-5):
    """The same gradient once more, from the definition: (E(w + step) - E(w - step)) / (2 step)."""
    gradients = [np.zeros_like(weight) for weight in weights]
    for weight, gradient in zip(weights, gradients, strict=True):
        for place in np.ndindex(weight.shape):
            kept = weight[place]
            sides = []
            for weight[place] in (kept + step, kept - step):
                sides.append(error(x, targets, weights))
            weight[place], gradient[place] = kept, (sides[0] - sides[1]) / (2 * step)
    return gradients


def largest_difference(one, other):
    """The largest |a - b| of two lists of arrays, pair by pair of the same shape."""
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


def chain(x):
    """y = 3x, z = y - 5, w = tanh z: the values, and every partial derivative by the chain rule."""
    y = 3 * x
    z = y - 5
    w = math.tanh(z)
    dy_dx, dz_dy, dw_dz = 3, 1, 1 - w ** 2
    return {"y": y, "z": z, "w": w, "dy_dx": dy_dx, "dz_dy": dz_dy, "dz_dx": dz_dy * dy_dx,
            "dw_dz": dw_dz, "dw_dy": dw_dz * dz_dy, "dw_dx": dw_dz * dz_dy * dy_dx}


def main(config, run):
    if config.hidden < 1 or config.updates < 1:
        raise ValueError("hidden and updates must be at least 1. "
                         f"Received: hidden={config.hidden}, updates={config.updates}")
    generator = np.random.default_rng(run.seed)
    shapes = ((3, config.hidden), (config.hidden,), (config.hidden, 2), (2,))
    weights = [generator.normal(size=shape) for shape in shapes]
    gradients = delta_rules(BITS, SUMS, weights)
    differences = {"largest_difference": largest_difference(gradients, automatic(BITS, SUMS, weights)),
                   "largest_difference_numerical": largest_difference(gradients,
                                                                      numerical(BITS, SUMS, weights))}
    errors = []
    for _ in range(config.updates):
        errors.append(error(BITS, SUMS, weights))
        for weight, gradient in zip(weights, delta_rules(BITS, SUMS, weights), strict=True):
            weight -= config.learning_rate * gradient
    right = np.all(np.round(forward(BITS, weights)[1]) == SUMS, axis=1)
    example = chain(2)
    draw_network(run, gradients, errors)
    draw_chain(run, example)
    return {**differences, "parameters": sum(weight.size for weight in weights),
            "additions_learned": int(right.sum()), "final_error": error(BITS, SUMS, weights),
            **{f"chain_{name}": value for name, value in example.items()}}


def draw_network(run, gradients, errors):
    """Before the first update, each weight with its gradient; and the error while the network learns."""
    import matplotlib.pyplot as plt
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), width_ratios=(3, 2), layout="constrained")
    columns = [np.linspace(1, -1, count) * 0.9 for count in (3, len(gradients[1]), 2)]
    names = [["a", "b", "carry in"], [""] * len(columns[1]), ["carry", "sum"]]
    largest = max(np.abs(gradients[index]).max() for index in (0, 2))
    for layer in (0, 1):
        kernel = gradients[2 * layer]
        for i, j in np.ndindex(kernel.shape):
            left.plot([layer, layer + 1], [columns[layer][i], columns[layer + 1][j]], zorder=1,
                      color="tab:red" if kernel[i, j] > 0 else "tab:blue",
                      linewidth=0.3 + 6 * abs(kernel[i, j]) / largest)
    for layer, heights in enumerate(columns):
        left.scatter([layer] * len(heights), heights, s=900, color="white", edgecolors="black", zorder=2)
        for index, height in enumerate(heights):
            if layer:
                left.text(layer, height, f"{gradients[2 * layer - 1][index]:.3f}", ha="center", va="center",
                          fontsize=8)
            left.text(layer, height + 0.15, names[layer][index], ha="center", va="bottom", fontsize=9)
    left.set(xlim=(-0.3, 2.3), ylim=(-1.15, 1.3),
             title="First gradient: in each unit the mean delta;\nweights that will fall red, rise blue")
    left.axis("off")
    right.semilogy(errors)
    right.set(xlabel="update", ylabel="mean error E", title=f"Learning to add three bits, seed {run.seed}")
    right.grid(alpha=0.3)
    figure.savefig(run.figure("network"), dpi=120)
    plt.close(figure)


def draw_chain(run, values):
    """The chain of the example: values forward, derivatives of w backward."""
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(figsize=(10, 3.2), layout="constrained")
    nodes = [("x", 2, values["dw_dx"]), ("y", values["y"], values["dw_dy"]),
             ("z", values["z"], values["dw_dz"]), ("w", values["w"], 1)]
    steps = [("y = 3x", "dy_dx"), ("z = y - 5", "dz_dy"), ("w = tanh z", "dw_dz")]
    for place, (name, value, gradient) in enumerate(nodes):
        axes.text(2 * place, 0, f"{name}\n{value:.5g}", ha="center", va="center", fontsize=13,
                  bbox={"boxstyle": "circle,pad=0.5", "facecolor": "#cfe2f3", "edgecolor": "black"})
        axes.text(2 * place, -0.75, f"dw/d{name} = {gradient:.5f}", ha="center", color="tab:red", fontsize=11)
    for place, (formula, derivative) in enumerate(steps):
        axes.annotate("", (2 * place + 1.55, 0.1), (2 * place + 0.45, 0.1), arrowprops={"arrowstyle": "->"})
        axes.annotate("", (2 * place + 0.45, -0.1), (2 * place + 1.55, -0.1),
                      arrowprops={"arrowstyle": "->", "color": "tab:red"})
        axes.text(2 * place + 1, 0.22, formula, ha="center", fontsize=11)
        axes.text(2 * place + 1, -0.38, f"× {values[derivative]:.5g}", ha="center", color="tab:red",
                  fontsize=11)
    axes.set(xlim=(-0.8, 6.8), ylim=(-0.9, 0.5),
             title="Values go forward, derivatives come back: the chain rule at x = 2")
    axes.axis("off")
    figure.savefig(run.figure("chain"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, smoke=SMOKE)
