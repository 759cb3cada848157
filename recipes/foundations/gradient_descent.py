"""Gradient descent on four surfaces: a bowl, a local minimum, a saddle and a curved valley.

Source     Goodfellow, Bengio and Courville 2016, Deep Learning, sections 4.3 and 8.2.
Run        python -m recipes run gradient_descent          (seconds; --smoke: fewer updates)
Published  No figure: on the bowl the path and the largest rate follow from formulas.
Departs    Two numbers are learned instead of millions, so that the surface can be seen.

    w <- w - eta grad f(w)
    On a bowl f = sum_i lambda_i w_i^2 / 2 each coordinate is multiplied by 1 - eta lambda_i per update:
    w_i(t) = (1 - eta lambda_i)^t w_i(0), which shrinks only while eta < 2 / lambda for the steepest.
    Beside a saddle the way out grows by 1 + eta |lambda| per update: slowly, where it starts small.
"""
import dataclasses
import math

import numpy as np

from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    steepness: float = 10.0      # the larger lambda of the bowl; the other is 1
    learning_rate: float = 0.05  # eta on the bowl, in the wells and at the saddle
    valley_rate: float = 0.001   # eta in the valley, whose walls are a thousand times steeper than its floor
    updates: int = 100
    valley_updates: int = 20_000
    offset: float = 1e-3         # how far from the ridge the path to the saddle starts


PUBLISHED = {}
HEADLINE = "largest_stable_rate"
UNIT = "(largest stable rate)"
SMOKE = Config(updates=60, valley_updates=2_000)
COLOURS = ("tab:red", "tab:orange", "tab:blue")


@dataclasses.dataclass(frozen=True)
class Surface:
    """A function of two variables to go down on, with its gradient written out."""
    value: callable              # (x, y) -> f, arrays of any shape
    gradient: callable           # (x, y) -> (df/dx, df/dy)
    window: tuple                # (least x, largest x, least y, largest y) of the picture


def surfaces(steepness):
    """The four of them, their gradients by hand."""
    return {
        "bowl": Surface(lambda x, y: (x ** 2 + steepness * y ** 2) / 2,
                        lambda x, y: (x, steepness * y), (-2.2, 2.2, -1.3, 1.3)),
        "two wells": Surface(lambda x, y: (x ** 2 - 1) ** 2 + 0.3 * x + y ** 2,
                             lambda x, y: (4 * x * (x ** 2 - 1) + 0.3, 2 * y), (-1.8, 1.8, -1.3, 1.3)),
        "saddle": Surface(lambda x, y: x ** 2 / 2 - y ** 2 / 2 + y ** 4 / 4,
                          lambda x, y: (x, y ** 3 - y), (-1.6, 1.6, -1.5, 1.5)),
        "valley": Surface(lambda x, y: (1 - x) ** 2 + 100 * (y - x ** 2) ** 2,        # Rosenbrock 1960
                          lambda x, y: (-2 * (1 - x) - 400 * x * (y - x ** 2), 200 * (y - x ** 2)),
                          (-1.8, 1.8, -0.8, 2.6)),
    }


def descend(gradient, start, learning_rate, updates):
    """The path of gradient descent: (updates + 1, 2), cut off where it has left all bounds."""
    if learning_rate <= 0 or updates < 1:
        raise ValueError("the learning rate must be positive and updates at least 1. "
                         f"Received: learning_rate={learning_rate}, updates={updates}")
    path = [np.array(start, float)]
    for _ in range(updates):
        path.append(path[-1] - learning_rate * np.array(gradient(*path[-1])))
        if np.abs(path[-1]).max() > 1e6:
            break
    return np.array(path)


def bowl_formula(start, learning_rate, updates, steepness):
    """(1 - eta lambda_i)^t w_i(0) for t = 0, 1, ...: (updates + 1, 2)."""
    return (1 - learning_rate * np.array([1, steepness])) ** np.arange(updates + 1)[:, None] * np.array(start)


def largest_stable_rate(surface, start=(1.0, 1.0), updates=300, bisections=50):
    """By trial: the rate from which on the last of so many updates leads uphill again."""
    stable, unstable = 0.0, 10.0
    for _ in range(bisections):
        rate = (stable + unstable) / 2
        before, end = descend(surface.gradient, start, rate, updates)[-2:]
        if surface.value(*end) < surface.value(*before):
            stable = rate
        else:
            unstable = rate
    return stable


def updates_to_escape(offset, rate, level=0.1):
    """Updates until |y| reaches level beside the saddle: ln(level / offset) / ln(1 + eta), rounded up."""
    return math.ceil(math.log(level / offset) / math.log(1 + rate))


def main(config, run):
    if config.steepness <= 0 or config.offset <= 0:
        raise ValueError("steepness and offset must be positive. "
                         f"Received: steepness={config.steepness}, offset={config.offset}")
    landscape, rate, limit = surfaces(config.steepness), config.learning_rate, 2 / config.steepness
    bowl, wells, saddle, valley = landscape.values()
    bowl_rates = {rate: rate, "0.95 x limit": 0.95 * limit, "1.02 x limit": 1.02 * limit}
    paths = {
        "bowl": {f"rate {name}": descend(bowl.gradient, (2, 1), value, config.updates)
                 for name, value in bowl_rates.items()},
        "two wells": {f"from ({start[0]}, {start[1]}), rate {value}": descend(wells.gradient, start, value,
                                                                            config.updates)
                      for start, value in (((1.6, 1.0), rate), ((-0.2, 1.0), rate), ((1.6, -1.0), 4 * rate))},
        "saddle": {f"{offset:g} off the ridge": descend(saddle.gradient, (1.5, offset), 4 * rate,
                                                       config.updates)
                   for offset in (0.0, config.offset, 100 * config.offset)},
        "valley": {f"rate {config.valley_rate}": descend(valley.gradient, (-1.5, 2.0), config.valley_rate,
                                                         config.valley_updates)},
    }
    expected = bowl_formula((2, 1), rate, config.updates, config.steepness)
    local, deep, far = (path[-1] for path in paths["two wells"].values())
    stuck, slow, _ = paths["saddle"].values()
    roots = np.sort(np.roots([4, 0, -4, 0.3]).real)                       # where df/dx = 0 in the wells
    least = {"bowl": 0.0, "two wells": float(wells.value(roots[0], 0)), "saddle": -0.25, "valley": 0.0}
    distance = np.hypot(*(paths["valley"][f"rate {config.valley_rate}"][-1] - 1))
    draw_surfaces(run, landscape, paths)
    draw_values(run, landscape, paths, least)
    return {HEADLINE: largest_stable_rate(bowl), "stable_rate_by_formula": limit,
            "bowl_largest_difference": float(np.abs(paths["bowl"][f"rate {rate}"] - expected).max()),
            "local_minimum_x": local[0], "local_minimum_x_by_formula": roots[2],
            "local_minimum_value": float(wells.value(*local)), "deep_minimum_x": deep[0],
            "deep_minimum_x_by_formula": roots[0], "deep_minimum_value": float(wells.value(*deep)),
            "larger_rate_x": far[0], "saddle_value_on_the_ridge": float(saddle.value(*stuck[-1])),
            "saddle_value_off_the_ridge": float(saddle.value(*slow[-1])),
            "updates_to_escape": int(np.argmax(np.abs(slow[:, 1]) >= 0.1)),
            "updates_to_escape_by_formula": updates_to_escape(config.offset, 4 * rate),
            "valley_distance_to_minimum": float(distance)}


def draw_surfaces(run, landscape, paths):
    """Each surface from the side, and from above with the paths."""
    import matplotlib.pyplot as plt
    figure = plt.figure(figsize=(15, 7.6), layout="constrained")
    for column, (name, surface) in enumerate(landscape.items(), 1):
        left, right, low, high = surface.window
        x, y = np.meshgrid(np.linspace(left, right, 201), np.linspace(low, high, 201))
        f = surface.value(x, y)
        shown = np.log1p(f) if name == "valley" else f                    # its walls hide the floor
        above = figure.add_subplot(2, 4, column, projection="3d")
        above.plot_surface(x, y, shown, cmap="viridis", rcount=60, ccount=60)
        above.set_title(f"{name}{', log(1 + f)' if name == 'valley' else ''}")
        above.set(xticks=[], yticks=[], zticks=[])
        axes = figure.add_subplot(2, 4, 4 + column)
        axes.contour(x, y, shown, levels=25, cmap="viridis", linewidths=0.7)
        for order, ((label, path), colour) in enumerate(zip(paths[name].items(), COLOURS, strict=False)):
            many = len(path) > 500                                        # else few enough to mark each
            axes.plot(*(path if many else path[:40]).T, "-" if many else "o-", markersize=2.5,
                      linewidth=2 if many else 1, color=colour, label=label, zorder=9 - order)
            axes.plot(*path[0], "s", color=colour, zorder=9 - order)
        axes.set(xlim=(left, right), ylim=(low, high), xlabel="x", ylabel="y" if column == 1 else "")
        axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, -0.42))
    figure.savefig(run.figure("surfaces"), dpi=120)
    plt.close(figure)


def draw_values(run, landscape, paths, least):
    """How far f lies above the least value of the surface, update by update."""
    import matplotlib.pyplot as plt
    figure, grid = plt.subplots(1, 4, figsize=(15, 3.8), layout="constrained")
    for axes, (name, surface) in zip(grid, landscape.items(), strict=True):
        for (label, path), colour in zip(paths[name].items(), COLOURS, strict=False):
            axes.semilogy(np.maximum(surface.value(*path.T) - least[name], 1e-16), color=colour, label=label)
        axes.set(title=name, xlabel="update", ylim=(1e-10, None))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    grid[0].set_ylabel("f above its least value")
    figure.savefig(run.figure("values"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, smoke=SMOKE)
