"""The plots of a report, as matplotlib Figures without global state; colours after Okabe and Ito 2008."""
import math

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
WIDTH = 6.4                      # inches; 12 pt stay readable when a phone shows it 3 inches wide
FONT = 12                        # points
MANY_CLASSES = 20                # from here on a confusion matrix is drawn larger than a page is wide


def save(figure, path):
    """Writes a figure, 144 dots per inch on white; the format is by the name's ending."""
    figure.savefig(path, dpi=144, facecolor="white")


def learning_curve(x_name, x, panels, best=None):
    """One panel per quantity, one under the other.

    x: (epochs,).  panels: {name: (training values or None, validation values or None)}, NaN where
    there is none.  best: index of the best epoch, marked in each panel.
    """
    figure = Figure((WIDTH, 0.6 + 2.5 * len(panels)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(panels), sharex=True))
    marks = len(x) <= 25
    for panel, (name, curves) in zip(axes, panels.items(), strict=True):
        percent = "accuracy" in name
        for values, label, colour, line, marker in zip(
                curves, ("training", "validation"), (BLUE, VERMILION), ("--", "-"), "os", strict=True):
            if values is not None:
                panel.plot(x, values, line, color=colour, marker=marker if marks else "", markersize=5,
                           linewidth=2, label=label)
        values = curves[1] if curves[1] is not None else curves[0]
        if best is not None:
            panel.axvline(x[best], color=GREY, linewidth=1, linestyle=":", zorder=0)
            panel.plot(x[best], values[best], "o", markersize=11, markeredgewidth=2, markerfacecolor="none",
                       markeredgecolor=GREEN, label=f"best {x_name} ({x[best]:g})")
        if percent:
            panel.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        panel.set_ylabel(name.replace("_", " "), fontsize=FONT)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=FONT - 1)
    if any(curves[1] is not None for curves in panels.values()) or best is not None:
        figure.legend(*fullest_legend(axes), fontsize=FONT, frameon=False, ncols=3,
                      loc="outside upper center")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes[-1].set_xlabel(x_name, fontsize=FONT)
    if len(x) == 1:
        axes[-1].set_xlim(x[0] - 1, x[0] + 1)
    return figure


def fullest_legend(axes):
    """(handles, labels) of the panel that has the most of them."""
    return max((panel.get_legend_handles_labels() for panel in axes), key=lambda pair: len(pair[1]))


def confusion_matrix(counts, class_names):
    """Counts (K, K), rows true and columns predicted; the diagonal in blues, mistakes in oranges.

    Each has its own scale, so that few mistakes stay visible beside many correct answers.
    """
    classes = len(counts)
    many = classes > MANY_CLASSES
    side = max(WIDTH, 0.29 * classes) if many else WIDTH
    figure = Figure((side, side), layout="constrained")
    axes = figure.subplots()
    right = np.eye(classes, dtype=bool)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    worst = max(int(counts[~right].max(initial=0)), 1)
    picture = np.ones((classes, classes, 4))
    picture[right] = colormaps["Blues"](0.15 + 0.7 * shares[right])
    wrong = ~right & (counts > 0)
    picture[wrong] = colormaps["Oranges"](0.15 + 0.6 * counts[wrong] / worst)
    axes.imshow(picture)
    size = 7 if many else min(FONT, 110 / classes)
    for row, column in zip(*np.nonzero(counts), strict=True):
        dark = picture[row, column, :3] @ (0.299, 0.587, 0.114) < 0.55
        text = axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=size,
                         color="white" if dark else "black")
        text.set_in_layout(False)                      # measuring two thousand of them takes seconds
    long = max(map(len, class_names)) > 2
    names = [shortened(name, 16) for name in class_names]
    label = 8 if many else FONT - 1
    axes.set_xticks(range(classes), names, rotation=60 if long else 0, ha="right" if long else "center",
                    rotation_mode="anchor" if long else "default", fontsize=label, parse_math=False)
    axes.set_yticks(range(classes), names, fontsize=label, parse_math=False)
    edges = np.arange(classes + 1) - 0.5
    axes.hlines(edges, -0.5, classes - 0.5, color="0.85", linewidth=0.6)
    axes.vlines(edges, -0.5, classes - 0.5, color="0.85", linewidth=0.6)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted class", fontsize=FONT)
    axes.set_ylabel("true class", fontsize=FONT)
    axes.spines[:].set_visible(False)
    return figure


def shortened(text, length):
    """Text of at most length characters, of which the last is an ellipsis where some were cut."""
    return text if len(text) <= length else text[:length - 1] + "…"


def misclassified(images, captions):
    """Displayable uint8 images (N, H, W, 1 or 3) in a grid, each with its caption above."""
    columns = min(8, len(images))
    rows = math.ceil(len(images) / columns)
    figure = Figure((max(1.25 * columns, 3), 1.55 * rows))
    axes = figure.add_axes((0, 0, 1, 1))          # one for all: axes of their own cost seconds for forty
    axes.set_axis_off()
    wide = max(map(len, captions)) > 17                                       # than an image is, in letters
    for place, (picture, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(place, columns)
        left, top = 1.25 * column + 0.1, 1.55 * row + 0.4                     # inches
        axes.imshow(picture[..., 0] if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=255,
                    extent=(left, left + 1.05, top + 1.05, top), interpolation="nearest")
        axes.text(left + 0.525, top - 0.05, caption.replace("→ ", "→\n", 1) if wide else caption,
                  fontsize=8 if wide else 9, ha="center", va="bottom", linespacing=1.0, parse_math=False)
    axes.set(xlim=(0, 1.25 * columns), ylim=(1.55 * rows, 0))
    return figure


def calibration(result):
    """Accuracy against confidence per bin, and how many predictions each bin holds."""
    figure = Figure((WIDTH, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    width = result.edges[1] - result.edges[0]
    middle = result.edges[:-1] + width / 2
    filled = result.counts > 0
    upper.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1.5, label="perfectly calibrated")
    upper.bar(middle[filled], result.accuracy[filled], width * 0.92, color=BLUE, alpha=0.75,
              label="measured")
    upper.plot(result.confidence[filled], result.accuracy[filled], "o", color=VERMILION, markersize=6,
               label="mean confidence of the bin")
    upper.set_ylabel("accuracy", fontsize=FONT)
    upper.set(xlim=(0, 1), ylim=(0, 1.03))
    figure.legend(*upper.get_legend_handles_labels(), fontsize=FONT - 1, frameon=False, ncols=2,
                  loc="outside upper center")
    lower.bar(middle[filled], result.counts[filled], width * 0.92, color=BLUE, alpha=0.75)
    lower.set_yscale("log")
    lower.set_ylim(bottom=0.7)
    lower.set_ylabel("examples", fontsize=FONT)
    lower.set_xlabel("confidence: probability of the predicted class", fontsize=FONT)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=FONT - 1)
        axes.grid(alpha=0.25, axis="y")
    upper.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    lower.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    return figure


def first_layer(maps):
    """Weights as pictures on one common scale: (N, H, W) signed, or (N, H, W, 3) as colours."""
    finer = max(1, 28 // maps.shape[1])                     # so that the gaps are thin beside small filters
    maps = maps.repeat(finer, axis=1).repeat(finer, axis=2)
    count, height, width = maps.shape[:3]
    columns = min(count, 8)
    rows = math.ceil(count / columns)
    gap = max(2, height // 14)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    reach = float(np.abs(maps).max()) or 1.0
    colours = maps.ndim == 4
    mosaic = np.full(shape + ((3,) if colours else ()), 1.0 if colours else np.nan)       # NaN is not drawn
    figure = Figure((WIDTH, max(1.6, 0.92 * WIDTH * shape[0] / shape[1] + 0.8)), layout="constrained")
    axes = figure.subplots()
    for place in range(count):
        row, column = divmod(place, columns)
        top, left = row * (height + gap), column * (width + gap)
        values = 0.5 + maps[place] / (2 * reach) if colours else maps[place]
        mosaic[top:top + height, left:left + width] = values
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor="0.6",
                                 linewidth=0.6))
    picture = axes.imshow(mosaic, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest")
    axes.set_axis_off()
    axes.set(xlim=(-2, shape[1] + 1), ylim=(shape[0] + 1, -2))                # room for the outer frames
    if not colours:
        bar = figure.colorbar(picture, ax=axes, orientation="horizontal", fraction=0.06, pad=0.03, aspect=40)
        bar.set_label("weight", fontsize=FONT)
        bar.ax.tick_params(labelsize=FONT - 1)
    return figure


def episodes(shown):
    """Questions of one-shot learning, a row each: the query, then the characters it is compared with.

    shown: [(query (H, W, 1), support (way, H, W, 1), label, answer)], strokes 1 on 0.
    """
    side, way = shown[0][0].shape[0], len(shown[0][1])
    cell = side + max(2, side // 10)
    canvas = np.ones((len(shown) * cell, (way + 2) * cell))
    figure = Figure((0.5 * (way + 2), 0.5 * len(shown) + 0.9), layout="constrained")
    axes = figure.subplots()
    for row, (query, known, label, answer) in enumerate(shown):
        for column, picture in ((0, query), *enumerate(known, 2)):
            place = (slice(row * cell, row * cell + side), slice(column * cell, column * cell + side))
            canvas[place] = 1 - np.asarray(picture)[..., 0]
        for column, colour in ((label, GREEN), *([(answer, VERMILION)] if answer != label else [])):
            axes.add_patch(Rectangle(((column + 2) * cell - 1.5, row * cell - 1.5), side + 2, side + 2,
                                     fill=False, linewidth=2, edgecolor=colour))
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xlim=(-3, canvas.shape[1] + 1), ylim=(canvas.shape[0] + 1, -3))
    axes.set_axis_off()
    axes.set_title("Left: the query; then what it is compared with.\n"
                   "Green: the same character; orange: the answer where it is wrong.", fontsize=11)
    return figure
