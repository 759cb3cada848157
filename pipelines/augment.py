"""Stateless augmentation of image batches, in the graph; every function keeps the shape.

Every random number is a hash of its example's seed and of what it is for (distort.uniform): the
same in any batch, on one device or on several.

Keras's own layers (RandomErasing, RandAugment, RandomFlip ...) are not used for it: they draw from
a generator whose state moves on from batch to batch, so that batch i would depend on all before
it; and RandAugment applies the same operations to all images of a batch.
"""
import dataclasses
import math

import numpy as np
import tensorflow as tf

from pipelines.distort import affine_field, keys, resampled, uniform
from pipelines.stream import Standardized

ONE_PIXEL = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))      # (down, right) in pixels


def shifted(images, down, right, reach):
    """Each image moved by whole pixels; what moves in is black.

    images (B, H, W, C); down, right: int64 (B,) in [-reach, reach].
    """
    height, width = images.shape[1:3]
    padded = tf.pad(images, [[0, 0], [reach, reach], [reach, reach], [0, 0]])
    rows = tf.range(height, dtype=tf.int64) + reach - down[:, None]            # (B, H)
    columns = tf.range(width, dtype=tf.int64) + reach - right[:, None]         # (B, W)
    moved = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(moved, columns, axis=2, batch_dims=1)


def one_pixel_shift(images, version):
    """Version 0 is the image itself, 1 to 4 move it one pixel down, up, right, left.

    Nielsen's expansion of MNIST from 50,000 to 250,000 images (expand_mnist.py).
    images (B, H, W, C), version int64 (B,) in [0, 5).
    """
    down, right = tf.unstack(tf.gather(tf.constant(ONE_PIXEL, tf.int64), version), axis=1)
    return shifted(images, down, right, reach=1)


def cropped(images, down, right, mirrored, pad, reflect=False):
    """Windows of the images' own size, read at (down, right) of the images with a margin around.

    images (B, H, W, C), down and right int32 (B,) in [0, 2 pad], mirrored bool (B,): left and
    right of the window change places. The margin of pad pixels is zero, or mirrors the image
    about its outermost row or column if reflect.
    """
    height, width, channels = images.shape[1:]
    rows = tf.range(height) + down[:, None]                                    # (B, H)
    columns = tf.range(width)
    columns = tf.where(mirrored[:, None], columns[::-1], columns) + right[:, None]
    if pad:
        margin = [[0, 0], [pad, pad], [pad, pad], [0, 0]]
        images = tf.pad(images, margin, "REFLECT" if reflect else "CONSTANT")
    # One gather of pixels: half the time of one of rows and one of columns.
    first_rows = tf.range(tf.shape(images)[0])[:, None] * (height + 2 * pad)
    places = (first_rows + rows)[:, :, None] * (width + 2 * pad) + columns[:, None]      # (B, H, W)
    return tf.gather(tf.reshape(images, (-1, channels)), places)


@dataclasses.dataclass(frozen=True)
class CropFlip:
    """He et al.'s augmentation: a margin around, a random crop of the old size, half of all mirrored.

    (images (B, H, W, C), seeds int64 (B, 2)) -> images. He et al. 2016, arXiv:1512.03385,
    section 4.2: 4 pixels of margin, which is zero after the mean was subtracted.
    pad      pixels of margin: the image moves by up to as many. 0 leaves it in place.
    reflect  the margin mirrors the image, instead of being zero.
    flip     "random"; "none"; "alternating": a coin decides how an example is seen in the first
             epoch, and from then on it is mirrored from epoch to epoch (Jordan 2024,
             arXiv:2404.00498, section 3.6). It needs the stream's augment_by_visit=True, which
             `by_visit` tells, and is then called with (indices, epochs), int64 (B,) each.
    Raises ValueError for another flip, a negative pad, or neither of the two.
    """
    pad: int = 4
    reflect: bool = False
    flip: str = "random"
    compiles = True              # by XLA, so that it can be one kernel with the update: Stream.halves

    def __post_init__(self):
        if self.flip not in ("random", "none", "alternating"):
            raise ValueError(f'flip must be "random", "none" or "alternating". Received: {self.flip!r}')
        if self.pad < 0 or (self.pad == 0 and self.flip == "none"):
            raise ValueError("pad must be a number of pixels, at least 1 where nothing is flipped. "
                             f"Received: {self.pad}")

    @property
    def by_visit(self):
        return self.flip == "alternating"

    def __call__(self, images, seeds, indices=None, epochs=None):
        if self.pad >= min(images.shape[1:3]) and self.reflect:
            raise ValueError(f"a margin that mirrors must be smaller than the image. Received: {self.pad} "
                             f"pixels for {images.shape[1]}x{images.shape[2]}")
        (down, coin), (right, _) = (tf.unstack(half, axis=1) for half in tf.unstack(uniform(keys(seeds), 2)))
        down, right = (tf.cast((number + 1) * (self.pad + 0.5), tf.int32) for number in (down, right))
        if self.flip == "alternating":
            if indices is None:
                raise ValueError("an alternating flip needs to know each example and its epoch: "
                                 "give the stream augment_by_visit=True")
            coin = uniform(keys(tf.stack([seeds[:, 0], indices], axis=1)), 1)[0, :, 0]
            mirrored = tf.math.logical_xor(coin > 0, epochs % 2 == 1)
        else:
            mirrored = tf.logical_and(coin > 0, self.flip == "random")
        return cropped(images, down, right, mirrored, self.pad, self.reflect)


@dataclasses.dataclass(frozen=True)
class Cutout:
    """A square of each image is zero, which is the mean of standardised images.

    DeVries and Taylor 2017, arXiv:1708.04552: the square's centre is anywhere, what hangs over the
    edge is cut off. (images (B, H, W, C), seeds int64 (B, 2)) -> images. Raises ValueError for a
    side below 1.
    """
    side: int = 16               # pixels
    compiles = True

    def __post_init__(self):
        if self.side < 1:
            raise ValueError(f"the side of a cutout must be at least 1 pixel. Received: {self.side}")

    def __call__(self, images, seeds):
        rows, columns = (self.covers(chance, size) for chance, size in zip(
            tf.unstack(uniform(keys(seeds), 1)[..., 0]), images.shape[1:3], strict=True))
        covered = tf.logical_and(rows[:, :, None], columns[:, None])[..., None]
        return tf.where(covered, tf.zeros_like(images), images)

    def covers(self, chance, size):
        """Which rows or columns the square covers: chance (B,) in (-1, 1) -> bool (B, size)."""
        first = tf.cast((chance + 1) / 2 * size, tf.int32) - self.side // 2
        place = tf.range(size) - first[:, None]
        return tf.logical_and(place >= 0, place < self.side)


@dataclasses.dataclass(frozen=True)
class Chain:
    """Several augmentations one after another, each with random numbers of its own.

    One of those may ask for visits (by_visit): then the stream gives them to the chain.
    """
    augmentations: tuple

    @property
    def by_visit(self):
        return any(getattr(one, "by_visit", False) for one in self.augmentations)

    @property
    def compiles(self):
        return all(getattr(one, "compiles", False) for one in self.augmentations)

    def __call__(self, images, seeds, *visits):
        for number, augmentation in enumerate(self.augmentations):
            asks = getattr(augmentation, "by_visit", False)
            own = tf.stack([seeds[:, 0] + number * 1_000_003, seeds[:, 1]], axis=1)
            images = augmentation(images, own, *(visits if asks else ()))
        return images


@dataclasses.dataclass(frozen=True)
class OnPixels:
    """An augmentation of images in [0, 1], for a stream whose images are standardised already."""
    augmentation: callable
    standardized: Standardized

    def __call__(self, images, seeds):
        pair = self.standardized.mean, self.standardized.std
        mean, std = (np.asarray(value, np.float32) for value in pair)
        images = images[..., ::-1] if self.standardized.bgr else images
        pixels = tf.clip_by_value(images * std + mean, 0.0, 1.0)
        return self.standardized(self.augmentation(pixels, seeds))


@dataclasses.dataclass(frozen=True)
class RandAugment:
    """Some of fourteen operations, drawn for each image (Cubuk et al. 2020, arXiv:1909.13719).

    (images float32 (B, H, W, 3) in [0, 1], seeds int64 (B, 2)) -> the same; OnPixels is for
    standardised ones. The bounds at magnitude 30 are those of the paper's code: shear .3,
    translation 150 / 331 of the size, 30 degrees, a change of colour, contrast, brightness or
    sharpness by .9, four bits, solarisation from 0. What moves in is black.
    Raises ValueError for fewer than one operation or a magnitude outside [0, 30].
    """
    operations: int = 2
    magnitude: float = 9.0
    NAMES = ("identity", "rotate", "shear_x", "shear_y", "translate_x", "translate_y", "color", "contrast",
             "brightness", "sharpness", "posterize", "solarize", "auto_contrast", "equalize")

    def __post_init__(self):
        if self.operations < 1 or not 0 <= self.magnitude <= 30:
            raise ValueError("operations must be at least 1 and magnitude in [0, 30]. "
                             f"Received: {self.operations}, {self.magnitude}")

    def __call__(self, images, seeds):
        for choice, sign in zip(*(tf.unstack(half, axis=1) for half in tf.unstack(
                uniform(keys(seeds), self.operations))), strict=True):
            chosen = tf.cast((choice + 1) / 2 * len(self.NAMES), tf.int32)
            images = self.applied(images, chosen, tf.where(sign < 0, -1.0, 1.0))
        return images

    def applied(self, images, chosen, sign):
        """The operation NAMES[chosen] of each image, chosen int32 (B,); sign float32 (B,), -1 or 1."""
        level = self.magnitude / 30

        def where(name, value, otherwise=0.0):
            return tf.where(chosen == self.NAMES.index(name), value, otherwise)
        angle = where("rotate", sign * level * math.radians(30))
        across, along = (where(name, sign * level * 0.3) for name in ("shear_x", "shear_y"))
        rows = [tf.cos(angle), along - tf.sin(angle)], [across + tf.sin(angle), tf.cos(angle)]
        matrix = tf.stack([tf.stack(row, axis=1) for row in rows], axis=1)                       # (B, 2, 2)
        shift = tf.stack([where(f"translate_{axis}", sign * level * 150 / 331 * size)
                          for axis, size in zip("yx", images.shape[1:3], strict=True)], axis=1)
        images = resampled(images, affine_field(matrix, shift, *images.shape[1:3]))

        colourless = grey(images)
        everywhere = tf.ones_like(images)
        blends = {"color": colourless * everywhere,
                  "contrast": tf.reduce_mean(colourless, (1, 2), True) * everywhere,
                  "brightness": tf.zeros_like(images), "sharpness": smoothed(images)}
        for name, other in blends.items():
            factor = where(name, 1 + 0.9 * level * sign, 1.0)[:, None, None, None]
            images = tf.clip_by_value(other + factor * (images - other), 0.0, 1.0)

        step = 2.0 ** round(4 * level) / 255
        results = {"posterize": tf.floor(images / step + 1e-4) * step,
                   "solarize": tf.where(images >= 1 - level, 1 - images, images),
                   "auto_contrast": stretched(images), "equalize": equalized(images)}
        for name, result in results.items():
            images = tf.where((chosen == self.NAMES.index(name))[:, None, None, None], result, images)
        return images


def smoothed(images):
    """PIL's SMOOTH: a 3x3 mean where the middle counts 5 of 13; the outermost pixels stay."""
    kernel = np.ones((3, 3, 1, 1), np.float32)
    kernel[1, 1] = 5
    kernel = np.repeat(kernel / 13, images.shape[-1], axis=2)
    inner = tf.nn.depthwise_conv2d(images, kernel, (1, 1, 1, 1), "VALID")
    height, width = images.shape[1:3]
    border = np.ones((1, height, width, 1), bool)
    border[:, 1:-1, 1:-1] = False
    return tf.where(border, images, tf.pad(inner, [[0, 0], [1, 1], [1, 1], [0, 0]]))


def stretched(images):
    """Each channel of each image from its least value to its largest: 0 to 1. A flat one stays."""
    low, high = tf.reduce_min(images, (1, 2), True), tf.reduce_max(images, (1, 2), True)
    return tf.where(high > low, (images - low) / tf.maximum(high - low, 1e-6), images)


def equalized(images):
    """Each channel of each image with a histogram as even as PIL's equalize makes it, in 256 steps."""
    height, width, channels = images.shape[1:]
    levels = tf.cast(tf.round(images * 255), tf.int32)
    table = 256 * tf.reshape(tf.range(tf.shape(images)[0] * channels), (-1, 1, 1, channels))
    places = levels + table                                                         # (B, H, W, C)
    counts = tf.math.unsorted_segment_sum(tf.ones_like(tf.reshape(places, (-1,))), tf.reshape(places, (-1,)),
                                          256 * channels * tf.shape(images)[0])
    counts = tf.reshape(counts, (-1, 256))
    last = tf.reduce_max(tf.where(counts > 0, tf.range(256), 0), axis=1)
    step = (height * width - tf.gather(counts, last, batch_dims=1))[:, None] // 255
    ranks = (tf.cumsum(counts, axis=1, exclusive=True) + step // 2) // tf.maximum(step, 1)
    even = tf.where(step > 0, tf.minimum(ranks, 255), tf.range(256))
    return tf.cast(tf.gather(tf.reshape(even, (-1,)), places), tf.float32) / 255


@dataclasses.dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast and saturation of each image, multiplied by numbers of its own.

    (images float32 (B, H, W, 3) in [0, 1], seeds int64 (B, 2)) -> the same. The factors are even
    in [1 - strength, 1 + strength], one after another in this order; torchvision's ColorJitter,
    which draws the order too. Raises ValueError for a strength outside [0, 1].
    """
    strength: float = 0.4

    def __post_init__(self):
        if not 0 <= self.strength <= 1:
            raise ValueError(f"the strength of a colour jitter must be in [0, 1]. Received: {self.strength}")

    def __call__(self, images, seeds):
        factors = 1 + self.strength * tf.concat(tf.unstack(uniform(keys(seeds), 2)), axis=1)     # (B, 4)
        bright, contrast, colour, _ = (factor[:, None, None, None] for factor in tf.unstack(factors, axis=1))
        images = tf.clip_by_value(images * bright, 0.0, 1.0)
        middle = tf.reduce_mean(grey(images), (1, 2, 3), True)
        images = tf.clip_by_value(middle + (images - middle) * contrast, 0.0, 1.0)
        colourless = grey(images)
        return tf.clip_by_value(colourless + (images - colourless) * colour, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class PCAColor:
    """A step along the principal components of ImageNet's colours, one for each whole image.

    Krizhevsky et al. 2012, section 4.1, whose deviation is .1: each component times its
    eigenvalue times a Gaussian number is added to all pixels. (images float32 (B, H, W, 3) in
    [0, 1], seeds) -> the same shape. Components and eigenvalues are those of fb.resnet.torch.
    """
    deviation: float = 0.1
    VALUES = (0.2175, 0.0188, 0.0045)
    COMPONENTS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))

    def __call__(self, images, seeds):
        radius, angle = ((number + 1) / 2 for number in tf.unstack(uniform(keys(seeds), 3)))      # (B, 3)
        gaussian = tf.sqrt(-2 * tf.math.log(radius)) * tf.cos(2 * math.pi * angle)       # Box and Muller 1958
        step = tf.matmul(self.deviation * gaussian * self.VALUES, self.COMPONENTS, transpose_b=True)
        return tf.clip_by_value(images + step[:, None, None], 0.0, 1.0)


def grey(images):
    """(B, H, W, 3) -> (B, H, W, 1), in the weights of ITU-R BT.601."""
    return tf.reduce_sum(images * (0.299, 0.587, 0.114), axis=-1, keepdims=True)
