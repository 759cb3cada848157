"""The perceptron's learning rule: what one threshold neuron can learn, and how many mistakes that takes.

Source     Novikoff 1962, On convergence proofs for perceptrons; Rosenblatt 1958; number of learnable
           functions: Muroga 1971, Threshold Logic and Its Applications, table 2.3.2 (OEIS A000609).
Run        python -m recipes run perceptron                   (seconds; --smoke: fewer sets)
Published  14 of the 16 Boolean functions of two inputs and 104 of the 256 of three are threshold
           functions; at most (R / gamma)^2 mistakes on separable data.
Departs    The rule starts at zero and goes through the examples in their order. It stops, on data
           that no line separates, when its weights return: from there on it would go in circles.
"""
import dataclasses

import keras
import numpy as np

from models import threshold_perceptron
from models.perceptron import GATES, gaussian, mcculloch_pitts, ramp, sigmoid, step
from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    points: int = 60             # examples in each random set
    inputs: int = 2              # numbers per example
    margin: float = 0.02         # least distance of the examples, in [-1, 1]^inputs, from the true boundary
    sets: int = 200              # random separable sets on which the bound is checked
    flipped: int = 0             # labels turned over in the first set: watch the rule give up
    passes: int = 1_000          # at most so many through the examples


PUBLISHED = {"": 104}
HEADLINE = "learnable_of_3_inputs"
UNIT = "of 256"
SMOKE = Config(sets=20)
CORNERS = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])       # the inputs of a gate


@dataclasses.dataclass(frozen=True)
class Learned:
    """What the learning rule came to."""
    weights: np.ndarray          # (inputs + 1,), the bias last
    path: list                   # the weights after each mistake
    passes: int
    separated: bool


def with_constant(x):
    """A further input of 1, whose weight is the bias: (N, n) -> (N, n + 1)."""
    return np.hstack([x, np.ones((len(x), 1))])


def learn(x, y, passes=1_000):
    """Rosenblatt's rule: w <- w + y x on each mistake, until a pass has none.

    x: (N, n).  y: (N,) of -1 and +1.  Raises ValueError for other labels.
    The weights at the start of a pass decide all that follows. If they return, mistakes never
    end, and since those on separable data do, no line separates these.
    """
    if not np.isin(y, (-1, 1)).all():
        raise ValueError(f"labels must be -1 and +1. Received: {', '.join(map(str, np.unique(y)[:5]))}")
    x = with_constant(x)
    weights, path, met = np.zeros(x.shape[1]), [], set()
    for count in range(1, passes + 1):
        before = len(path)
        met.add(tuple(weights))
        for example, label in zip(x, y, strict=True):
            if label * (weights @ example) <= 0:
                weights = weights + label * example
                path.append(weights)
        if len(path) == before:
            return Learned(weights, path, count, True)
        if tuple(weights) in met:
            break
    return Learned(weights, path, count, False)


def mistake_bound(x, y, weights):
    """(R / gamma)^2: R the longest example, gamma the least distance from the plane of these weights."""
    x = with_constant(x)
    gamma = np.min(y * (x @ weights)) / np.linalg.norm(weights)
    return np.max(np.sum(x ** 2, axis=1)) / gamma ** 2


def separable_set(config, generator):
    """-> x (points, inputs), y (points,), and weights that separate them by the margin, or up to 20 of it."""
    normal, margin = generator.normal(size=config.inputs), config.margin * 20 ** generator.uniform()
    weights = np.append(normal / np.linalg.norm(normal), generator.uniform(-0.3, 0.3))
    kept = np.empty((0, config.inputs))
    while len(kept) < config.points:
        x = generator.uniform(-1, 1, (config.points, config.inputs))
        kept = np.vstack([kept, x[np.abs(with_constant(x) @ weights) >= margin]])
    x = kept[:config.points]
    return x, np.sign(with_constant(x) @ weights).astype(int), weights


def boolean_functions(inputs):
    """The rule on every Boolean function: {labels of the corners of the cube: Learned}."""
    corners = 2 * np.array(list(np.ndindex(*[2] * inputs))) - 1          # (2^inputs, inputs) of -1, +1
    tables = 2 * np.array(list(np.ndindex(*[2] * len(corners)))) - 1
    return {tuple(map(int, labels)): learn(corners, labels) for labels in tables}


def xor_network():
    """XOR is OR and not AND: each part is learned by the rule, and a second layer combines them."""
    parts = [learn(CORNERS, np.array(labels)) for labels in ([-1, 1, 1, 1], [1, 1, 1, -1])]    # OR, NAND
    kernel = np.stack([part.weights for part in parts], axis=1)          # (2 + 1, 2)
    features = np.sign(with_constant(CORNERS) @ kernel)
    both = learn(features, np.array([-1, 1, 1, -1])).weights
    model = threshold_perceptron((2,), hidden=(2,))
    model.set_weights([kernel[:2], kernel[2], both[:2, None], both[2:]])
    return model


def worked_example():
    """A 6-2-1 network by hand: (sums of the three neurons, their outputs, number of parameters)."""
    x = np.array([10, 24, 15, 18, 5, 20])
    hidden = np.array([[.2, .1, .15, .25, .4, .12], [.14, .23, .2, .3, .28, .1]])
    last = np.array([.5, .2])
    model = threshold_perceptron((6,), hidden=(2,))
    model.set_weights([hidden.T, -np.array([10, 15]), last[:, None], -np.array([.5])])   # - thresholds
    fired = keras.Model(model.inputs[0], [layer.output for layer in model.layers])(x[None].astype("float32"))
    outputs = np.concatenate([keras.ops.convert_to_numpy(output)[0] for output in fired])
    sums = [*(hidden @ x), last @ outputs[:2]]
    return [round(float(value), 6) for value in sums], outputs, model.count_params()


def wrong_gates():
    """How many outputs of the McCulloch-Pitts gates are not as their names say; XOR takes three neurons."""
    x = (CORNERS + 1) // 2
    first, second = x.T
    meant = {"AND": first & second, "OR": first | second, "NOR": 1 - (first | second), "NOT first": 1 - first,
             "first AND NOT second": first & (1 - second), "second AND NOT first": second & (1 - first)}
    gates = {name: np.asarray(mcculloch_pitts(x, **wiring)) for name, wiring in GATES.items()}
    halves = np.stack([gates["first AND NOT second"], gates["second AND NOT first"]], axis=-1)
    xor = np.asarray(mcculloch_pitts(halves, **GATES["OR"]))
    return int(sum(np.sum(gates[name] != meant[name]) for name in GATES) + np.sum(xor != first ^ second))


def main(config, run):
    for name in ("points", "inputs", "margin", "sets", "passes"):
        if getattr(config, name) <= 0:
            raise ValueError(f"{name} must be positive. Received: {getattr(config, name)}")
    generator = np.random.default_rng(run.seed)
    examples = [separable_set(config, generator) for _ in range(config.sets)]
    examples[0][1][:config.flipped] *= -1
    learned = [learn(x, y, config.passes) for x, y, _ in examples]
    for (x, y, _), one in zip(examples, learned, strict=True):
        if not one.separated:
            wrong = int(np.sum(y * (with_constant(x) @ one.weights) <= 0))
            raise ValueError(f"the rule has not separated these examples. It saw {one.passes:,} passes and "
                             f"{len(one.path):,} mistakes, and {wrong} of {len(y)} labels are still wrong. "
                             "If a line separates them, it needs more --passes; else a hidden layer.")
    mistakes = np.array([len(one.path) for one in learned])
    bounds = np.array([mistake_bound(*example) for example in examples])
    functions, network = {inputs: boolean_functions(inputs) for inputs in (2, 3)}, xor_network()
    sums, outputs, parameters = worked_example()
    draw_learning(run, examples[0], learned[0], mistakes, bounds)
    draw_boolean_functions(run, functions[2], network)
    draw_neuron_models(run)
    return {**{f"learnable_of_{inputs}_inputs": sum(one.separated for one in found.values())
               for inputs, found in functions.items()},
            "sets_within_mistake_bound": int(np.sum(mistakes <= bounds)), "sets": config.sets,
            "largest_mistakes_over_bound": float(np.max(mistakes / bounds)),
            "xor_network_errors": int(np.sum(np.asarray(network(CORNERS))[:, 0] != [-1, 1, 1, -1])),
            "xor_network_parameters": network.count_params(), "gate_errors": wrong_gates(),
            **{f"worked_sum{index}": value for index, value in enumerate(sums, 1)},
            **{f"worked_output{index}": int(value) for index, value in enumerate(outputs, 1)},
            "worked_parameters": parameters}


def draw_learning(run, example, learned, mistakes, bounds):
    """The line after each mistake, and the mistakes on all sets below their bound."""
    import matplotlib.pyplot as plt
    x, y, _ = example
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.8), layout="constrained")
    for label, colour, marker in ((1, "tab:blue", "o"), (-1, "tab:orange", "s")):
        left.scatter(*x[y == label, :2].T, c=colour, marker=marker, label=f"{label:+d}")
    if x.shape[1] == 2:
        ends = np.array([-1.1, 1.1])
        for index, (one, two, bias) in enumerate(learned.path, 1):
            last = index == len(learned.path)
            if two:
                left.plot(ends, -(one * ends + bias) / two, color="black" if last else "0.6",
                          linewidth=2 if last else 0.7,
                          label=f"after mistake {index}, the last" if last else None)
    left.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal", xlabel="first input", ylabel="second input",
             title="The line moves with each mistake")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False)
    right.loglog(bounds, mistakes, ".", alpha=0.6, label=f"{len(bounds)} random separable sets")
    ends = np.array([min(mistakes.min(), bounds.min()) / 1.5, bounds.max() * 1.5])
    right.loglog(ends, ends, "k--", linewidth=1, label="mistakes = bound")
    right.set(xlabel=r"Novikoff's bound $(R / \gamma)^2$", ylabel="mistakes made",
              title="Never more mistakes than the bound")
    right.grid(alpha=0.3)
    right.legend(loc="upper left")
    figure.savefig(run.figure("learning"), dpi=120)
    plt.close(figure)


def draw_boolean_functions(run, functions, network):
    """All functions of two inputs with the line that the rule found, and XOR by two layers."""
    import matplotlib.pyplot as plt
    names = {(-1, -1, -1, 1): "AND", (-1, 1, 1, 1): "OR", (-1, 1, 1, -1): "XOR", (1, -1, -1, 1): "XNOR",
             (1, 1, 1, -1): "NAND", (1, -1, -1, -1): "NOR", (-1,) * 4: "never", (1,) * 4: "always"}
    figure, grid = plt.subplots(3, 6, figsize=(11, 6), layout="constrained")
    across, up = np.meshgrid(np.linspace(-1.8, 1.8, 121), np.linspace(-1.8, 1.8, 121))
    plane = np.stack([across.ravel(), up.ravel()], axis=1)
    panels = [(names.get(labels, ""), labels, one.separated,
               with_constant(plane) @ one.weights if one.separated else None)
              for labels, one in functions.items()]
    panels.append(("XOR by two layers", (-1, 1, 1, -1), True, np.asarray(network(plane.astype("float32")))))
    for axes, (name, labels, separated, values) in zip(grid.flat, panels, strict=False):
        if separated:
            axes.contourf(across, up, np.sign(values).reshape(across.shape), levels=[-2, 0, 2],
                          colors=["#fdd9b5", "#cfe2f3"])
        axes.scatter(*CORNERS.T, c=["tab:blue" if label == 1 else "tab:orange" for label in labels], s=45,
                     edgecolors="black", zorder=3)
        axes.set_title(name if separated else f"{name}: no line", fontsize=9,
                       color="black" if separated else "tab:red")
        axes.set(xlim=(-1.8, 1.8), ylim=(-1.8, 1.8), xticks=[], yticks=[], aspect="equal")
    for axes in grid.flat[len(panels):]:
        axes.axis("off")
    learnable = sum(one.separated for one in functions.values())
    figure.suptitle(f"One neuron learns {learnable} of the {len(functions)} Boolean functions of two inputs "
                    "(blue: +1, orange: -1)")
    figure.savefig(run.figure("boolean_functions"), dpi=120)
    plt.close(figure)


def draw_neuron_models(run):
    """neuron_models.png: output against net for step, ramp, sigmoid and Gaussian."""
    import matplotlib.pyplot as plt
    net = np.linspace(-4, 4, 801)
    curves = {"step, c = 0.5": step(net, c=0.5), "ramp, c = -1, d = 2": ramp(net, c=-1, d=2),
              "sigmoid, x = 2, y = 0, z = 0": sigmoid(net, x=2),
              "Gaussian, mu = 0, sigma = 0.8": gaussian(net, sigma=0.8)}
    figure, axes = plt.subplots(figsize=(7.5, 4), layout="constrained")
    for label, values in curves.items():
        axes.plot(net, np.asarray(values), label=label, linewidth=2)
    axes.set(xlabel="net, the weighted sum of the inputs", ylabel="output", title="Four models of a neuron")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(run.figure("neuron_models"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, smoke=SMOKE)
