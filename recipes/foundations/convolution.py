"""Convolution by hand and by layer: stride, padding, pooling, shared weights, and edges in a photograph.

Source     Ng 2017, Convolutional Neural Networks (course), week 1, whose 6x6 image this is; sizes as
           in Dumoulin and Visin 2016, A guide to convolution arithmetic for deep learning.
Run        python -m recipes run convolution               (seconds; --smoke: the same)
Published  -5 and -4 are the first two of the 16 values of the course's example.
Departs    In nothing. As in every library the filter is not turned over, so that a mathematician
           would call this cross-correlation.

    y[i, j] = sum over u, v of k[u, v] x[s i + u - p, s j + v - p]      stride s, padding p with zeros
    an image of n pixels and a filter of f give floor((n + 2p - f) / s) + 1
"""
import dataclasses
from typing import Literal

import numpy as np
from keras import layers, ops

from pipelines import photographs
from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    photograph: Literal["china", "flower"] = "china"


PUBLISHED = {"": -5}
HEADLINE = "first_value"
UNIT = "(first value)"
SMOKE = Config()
IMAGE = np.array([[3, 0, 1, 2, 7, 4], [1, 5, 8, 9, 3, 1], [2, 7, 2, 5, 1, 3],
                  [0, 1, 3, 1, 7, 8], [4, 2, 1, 6, 2, 8], [2, 4, 5, 2, 3, 9]])
VERTICAL = np.array([[1, 0, -1], [1, 0, -1], [1, 0, -1]])        # bright left of dark gives positive values
FILTERS = {
    "vertical edges": VERTICAL,
    "horizontal edges": VERTICAL.T,
    "Sobel": np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]]),
    "Laplacian": np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]),
    "blur": np.full((3, 3), 1 / 9),
}


def output_size(n, f, stride=1, padding=0):
    """floor((n + 2p - f) / s) + 1. Raises ValueError where the filter does not fit."""
    if f < 1 or stride < 1 or padding < 0 or n + 2 * padding < f:
        raise ValueError("the filter and the stride must be at least 1, the padding at least 0, and the "
                         "filter no larger than the padded image. "
                         f"Received: image {n}, filter {f}, stride {stride}, padding {padding}")
    return (n + 2 * padding - f) // stride + 1


def windows(image, f, stride, padding):
    """Every f x f patch under the filter: (H, W) -> (rows, columns, f, f)."""
    rows, columns = (output_size(n, f, stride, padding) for n in image.shape)
    padded = np.pad(image, padding)
    return np.array([[padded[stride * i:stride * i + f, stride * j:stride * j + f] for j in range(columns)]
                     for i in range(rows)])


def convolve(image, kernel, stride=1, padding=0):
    """The sum above, by hand: (H, W), (f, f) -> (rows, columns)."""
    return np.sum(windows(image, len(kernel), stride, padding) * kernel, axis=(2, 3))


def pool(image, size, stride, reduce=np.max):
    """The largest value, or the mean, of each window: (H, W) -> (rows, columns)."""
    return reduce(windows(image, size, stride, 0), axis=(2, 3))


def by_layer(layer, image, kernel=None, padding=0):
    """What a Keras layer makes of the same image: (rows, columns)."""
    layer.build((None, None, None, 1))
    if kernel is not None:
        layer.set_weights([kernel[:, :, None, None]])
    return ops.convert_to_numpy(layer(np.pad(image, padding)[None, :, :, None].astype("float32")))[0, :, :, 0]


def largest_difference():
    """Hand against layer, over filters, strides and paddings, and over poolings."""
    differences = []
    for kernel in FILTERS.values():
        for stride in (1, 2, 3):
            for padding in (0, 1, 2):
                layer = layers.Conv2D(1, 3, stride, use_bias=False)
                differences.append(convolve(IMAGE, kernel, stride, padding)
                                   - by_layer(layer, IMAGE, kernel, padding))
    for kind, reduce in ((layers.MaxPooling2D, np.max), (layers.AveragePooling2D, np.mean)):
        for size, stride in ((2, 2), (3, 1), (3, 3)):
            differences.append(pool(IMAGE, size, stride, reduce) - by_layer(kind(size, stride), IMAGE))
    return max(float(np.abs(difference).max()) for difference in differences)


def weights_shared_and_dense():
    """How many weights the same number of features costs with shared and with dense weights."""
    convolution, dense = layers.Conv2D(10, 3), layers.Dense(10, use_bias=False)
    convolution.build((None, 6, 6, 3))
    dense.build((None, 6 * 6 * 3))
    places = output_size(256, 8) ** 2
    return {"convolution_parameters": convolution.count_params(),        # 10 (3 x 3 x 3 + 1)
            "dense_weights": dense.count_params(),                       # 10 x 6 x 6 x 3
            "patches_of_8x8_on_256x256": places, "patches_side_by_side": output_size(256, 8, stride=8) ** 2,
            "shared_weights_of_a_patch": 8 * 8, "unshared_weights_of_all_patches": places * 8 * 8,
            "dense_weights_of_all_patches": places * 256 * 256}


def edges(grey):
    """One Conv2D with all filters on one photograph: (H, W) -> {name: (H, W)}."""
    kernels = np.stack(list(FILTERS.values()), axis=-1)[:, :, None].astype("float32")     # (3, 3, 1, 5)
    layer = layers.Conv2D(len(FILTERS), 3, padding="same", use_bias=False)
    layer.build((None, None, None, 1))
    layer.set_weights([kernels])
    maps = ops.convert_to_numpy(layer(grey[None, :, :, None]))[0]
    return {name: maps[:, :, index] for index, name in enumerate(FILTERS)}


def main(config, run):
    values = convolve(IMAGE, VERTICAL)
    grey = photographs.grey(photographs.load(config.photograph))
    maps = edges(grey)
    crop = slice(100, 150), slice(200, 260)                              # by hand takes long on all of it
    around = tuple(slice(part.start - 1, part.stop + 1) for part in crop)
    difference = np.abs(convolve(grey[around], FILTERS["Sobel"]) - maps["Sobel"][crop]).max()
    draw_arithmetic(run)
    draw_photograph(run, grey, maps)
    return {"first_value": int(values[0, 0]), "second_value": int(values[0, 1]), "values": values.size,
            "last_value": int(values[-1, -1]), "largest_difference": largest_difference(),
            "largest_difference_photograph": float(difference), **weights_shared_and_dense()}


def draw_arithmetic(run):
    """The example in numbers: the image, the filter, and what stride, padding and pooling change."""
    import matplotlib.pyplot as plt
    panels = {"image, 6x6": IMAGE, "filter, 3x3": VERTICAL, "filtered, 4x4": convolve(IMAGE, VERTICAL),
              "with padding 1, 6x6": convolve(IMAGE, VERTICAL, padding=1),
              "with padding 1 and stride 2, 3x3": convolve(IMAGE, VERTICAL, stride=2, padding=1),
              "image, max-pooled 2x2": pool(IMAGE, 2, 2)}
    figure, grid = plt.subplots(2, 3, figsize=(10.5, 7), layout="constrained")
    for axes, (title, values) in zip(grid.flat, panels.items(), strict=True):
        pixels = title.startswith("image")
        axes.imshow(values, **({"cmap": "gray", "vmin": 0, "vmax": 9} if pixels
                               else {"cmap": "RdBu_r", "vmin": -18, "vmax": 18}))
        for (i, j), value in np.ndenumerate(values):
            dark = (value < 4.5) if pixels else abs(value) > 11
            axes.text(j, i, f"{value}", ha="center", va="center", fontsize=13,
                      color="white" if dark else "black")
        axes.set_title(title)
        axes.set(xticks=[], yticks=[])
    grid[0, 0].add_patch(plt.Rectangle((-0.47, -0.47), 3, 3, fill=False, edgecolor="tab:red", linewidth=3))
    grid[0, 2].add_patch(plt.Rectangle((-0.47, -0.47), 1, 1, fill=False, edgecolor="tab:red", linewidth=3))
    figure.suptitle("The filter on the window in red: 3 + 1 + 2 - (1 + 8 + 2) = -5")
    figure.savefig(run.figure("arithmetic"), dpi=120)
    plt.close(figure)


def draw_photograph(run, grey, maps):
    """photograph.png: the grey photograph (H, W) from 0 to 1, and what five filters make of it."""
    import matplotlib.pyplot as plt
    figure, grid = plt.subplots(2, 3, figsize=(12, 5.8), layout="constrained")
    for axes, (title, values) in zip(grid.flat, {"photograph": grey, **maps}.items(), strict=True):
        bright = title in ("photograph", "blur")
        reach = 1 if bright else np.quantile(np.abs(values), 0.99)
        axes.imshow(values, cmap="gray", vmin=0 if bright else -reach, vmax=reach)
        axes.set_title(title)
        axes.axis("off")
    figure.suptitle("Five filters of nine numbers each (grey: zero, white: positive, black: negative)")
    figure.savefig(run.figure("photograph"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, smoke=SMOKE)
