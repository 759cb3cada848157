"""Stateless augmentation of image batches, in the graph; every function keeps the shape.

Every random number is a hash of its example's seed and of what it is for (distort.uniform): the
same in any batch, on one device or on several.
"""
import dataclasses

import tensorflow as tf

from pipelines.distort import keys, uniform

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
