"""Affine and elastic distortion of image batches, stateless, in the graph.

    Distortion(rotation=15, scale=0.15, sigma=4, alpha=34)      is the augment of a Stream

A distortion is a displacement field: for each pixel, how many pixels away from it the image is
read. The affine field and the elastic one are added, so that an image is sampled once. Every
number depends on the seed of its example alone: the same in and out of a graph, in any batch,
on one device or on several (images to the last bits, which are the compiler's).
"""
import dataclasses
import functools
import math

import numpy as np
import tensorflow as tf

AFFINE = 3                       # pairs of random numbers of an image before those of the elastic field
COINS = 2 ** 24                  # the pair where those numbers begin that decide what happens at all
GOLDEN = 0x9E3779B9              # 2^32 / golden ratio: multiples of it are spread evenly


def hashed(values):
    """A bijection of uint32 that looks random: "lowbias32" of Wellons' hash-prospector, any shape."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        values = tf.bitwise.bitwise_xor(values, tf.bitwise.right_shift(values, tf.constant(shift, tf.uint32)))
        values *= tf.constant(factor, tf.uint32)
    return tf.bitwise.bitwise_xor(values, tf.bitwise.right_shift(values, tf.constant(16, tf.uint32)))


def keys(seeds):
    """64 bits for each example: seeds int64 (B, 2) -> uint32 (B, 2)."""
    words = tf.unstack(tf.bitcast(tf.cast(tf.reshape(seeds, (-1, 2, 1)), tf.int64), tf.uint32), axis=1)
    words = tf.unstack(tf.reshape(tf.concat(words, axis=1), (-1, 4)), axis=1)             # 4 of (B,)
    halves = []
    for start in (0, GOLDEN):
        half = tf.fill(tf.shape(words[0]), tf.constant(start, tf.uint32))
        for word in words:
            half = hashed(tf.bitwise.bitwise_xor(half, word) + tf.constant(GOLDEN, tf.uint32))
        halves.append(half)
    return tf.stack(halves, axis=1)


def uniform(keys, count, first=0):
    """Pairs first to first + count of each example's numbers, uniform in (-1, 1).

    keys uint32 (B, 2) -> float32 (2, B, count). Counter-based: a pair is a hash of the
    example's key and its index. TensorFlow's stateless generators take one seed for a whole
    tensor, and a loop over the examples costs a hundred times as much. A hash gives two
    numbers of 16 bits: 65,536 values, symmetric about zero.
    """
    steps = tf.constant(np.arange(first, first + count, dtype=np.uint32) * np.uint32(GOLDEN))
    # The second half of the key comes in after the first mixing: with 32 bits alone, two of
    # some ten thousand examples would have the same numbers a few places apart.
    mixed = tf.bitwise.bitwise_xor(hashed(steps + keys[:, :1]), keys[:, 1:])
    bits = tf.bitcast(hashed(mixed), tf.int32)
    halves = tf.stack([tf.bitwise.right_shift(bits, 16), tf.bitwise.right_shift(bits * 2 ** 16, 16)])
    return (tf.cast(halves, tf.float32) + 0.5) * 2.0 ** -15                       # -2^15 to 2^15 - 1


@functools.lru_cache
def gaussian_matrix(size, sigma):
    """Convolution with a Gaussian of sigma pixels along one axis, as a float32 (size, size) matrix.

    The kernel sums to one over all integers, and what is outside the image counts as zero.
    """
    reach = math.ceil(10 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    offsets = np.arange(size)[:, None] - np.arange(size)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2) / kernel.sum()
    return weights.astype(np.float32)


def elastic_field(noise, sigma, alpha):
    """Displacements in pixels: noise (2, B, W, H), uniform in (-1, 1) -> (2, B, H, W), down and right.

    Simard et al. 2003, section 2: one number per pixel and axis, convolved with a Gaussian of
    standard deviation sigma (pixels), times alpha. The Gaussian is separable: two products
    with a small matrix, (2 B W, H) x (H, H) and (2 B H, W) x (W, W). The noise lies on its
    side to spare a transposition.
    """
    width, height = noise.shape[2:]
    along_height = tf.matmul(tf.reshape(noise, (-1, height)), alpha * gaussian_matrix(height, sigma))
    upright = tf.transpose(tf.reshape(along_height, (-1, width, height)), (0, 2, 1))
    along_width = tf.matmul(tf.reshape(upright, (-1, width)), gaussian_matrix(width, sigma))
    return tf.reshape(along_width, (2, -1, height, width))


def affine_field(matrix, shift, height, width):
    """Displacements of an affine map about the image's centre: (2, B, H, W), down and right.

    matrix (B, 2, 2) takes an offset (down, right) from the centre of the result to the one
    that is read in the image; shift (B, 2) is added to that, in pixels.
    """
    down = tf.range(height, dtype=tf.float32)[:, None] - (height - 1) / 2
    right = tf.range(width, dtype=tf.float32)[None] - (width - 1) / 2
    change = tf.transpose(matrix - tf.eye(2), (1, 2, 0))[..., None, None]                # (2, 2, B, 1, 1)
    return change[:, 0] * down + change[:, 1] * right + tf.transpose(shift)[..., None, None]


def resampled(images, field):
    """Each pixel read where the field says, bilinearly; outside the image is zero.

    images float32 (B, H, W, C), field (2, B, H, W) in pixels -> (B, H, W, C).
    """
    batch = tf.shape(images)[0]
    height, width, channels = images.shape[1:]
    if channels > 1:                       # one channel at a time, without a last axis, is the fastest
        return tf.stack([resampled(images[..., channel:channel + 1], field)[..., 0]
                         for channel in range(channels)], axis=-1)
    row = tf.clip_by_value(tf.range(height, dtype=tf.float32)[:, None] + field[0], -1.0, float(height))
    column = tf.clip_by_value(tf.range(width, dtype=tf.float32) + field[1], -1.0, float(width))
    top, left = tf.floor(row), tf.floor(column)
    # A border of zeros, so that the four neighbours of every place exist: rows -1 to H + 1.
    padded = tf.reshape(tf.pad(images[..., 0], [[0, 0], [1, 2], [1, 2]]), (-1,))
    stride = width + 3
    first = ((tf.range(batch)[:, None, None] * (height + 3) + tf.cast(top, tf.int32) + 1) * stride
             + tf.cast(left, tf.int32) + 1)
    corners = [tf.gather(padded, first + offset) for offset in (0, 1, stride, stride + 1)]
    down, right = row - top, column - left
    above = corners[0] + (corners[1] - corners[0]) * right
    below = corners[2] + (corners[3] - corners[2]) * right
    return (above + (below - above) * down)[..., None]


@dataclasses.dataclass(frozen=True)
class Distortion:
    """A random affine and elastic distortion per image: (images, seeds) -> images of the same shape.

    images float32 (B, H, W, C), values in [0, 1] stay there, and what moves in is zero, black;
    seeds int64 (B, 2), one per image. Each number is drawn uniformly between minus and plus
    its bound:
    rotation  degrees.         shear  degrees by which vertical strokes lean.
    scale     of the factors along the two axes, drawn one by one: 0.15 for 0.85 to 1.15.
    shift     pixels, along each axis.
    sigma     of the elastic field's Gaussian, in pixels.   alpha: its factor; 0 for no field.
    probability  with which rotation, shear, each scale and each shift happen at all, one by one.
    gentle    labels, if any, whose rotation and shear are halved: 1 and 7, which become each
              other when they lean (Cirešan et al. 2010). Then called with labels, int64 (B,).
    Raises ValueError for sigma not above 0, alpha, scale or shift below 0, scale of 1 or more,
    rotation outside [0, 180], shear outside [0, 90), probability outside [0, 1].
    """
    rotation: float = 0.0
    shear: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    sigma: float = 4.0
    alpha: float = 0.0
    gentle: tuple[int, ...] = ()
    probability: float = 1.0

    def __post_init__(self):
        for name, allowed, holds in (
                ("rotation", "in [0, 180] degrees", 0 <= self.rotation <= 180),
                ("shear", "in [0, 90) degrees", 0 <= self.shear < 90),
                ("scale", "in [0, 1), a part of the size", 0 <= self.scale < 1),
                ("shift", "a number of pixels, at least 0", 0 <= self.shift < math.inf),
                ("sigma", "a number of pixels above 0", 0 < self.sigma < math.inf),
                ("alpha", "at least 0, which stands for no elastic field", 0 <= self.alpha < math.inf),
                ("probability", "in [0, 1]", 0 <= self.probability <= 1)):
            if not holds:
                raise ValueError(f"{name} must be {allowed}. Received: {getattr(self, name)}")

    def __call__(self, images, seeds, labels=None):
        if self.gentle and labels is None:
            raise ValueError(f"a distortion that is gentle with the classes {self.gentle} needs the labels: "
                             "give the stream augment_by_label=True")
        angles = tf.ones(tf.shape(seeds)[:1])
        if self.gentle:
            of_gentle = tf.reduce_any(tf.cast(labels, tf.int64)[:, None] == self.gentle, axis=1)
            angles = tf.where(of_gentle, 0.5, angles)
        # What is small is computed here: XLA would do it anew for every pixel.
        key = keys(seeds)
        return self._compiled(images, key, *self.affine(key, angles))

    def affine(self, key, angles):
        """(matrix float32 (B, 2, 2), shift (B, 2)) of affine_field; angles (B,) scales rotation and shear."""
        numbers = tf.reshape(tf.transpose(uniform(key, AFFINE), (0, 2, 1)), (2 * AFFINE, -1))
        if self.probability < 1:               # further numbers of the same key, beyond an elastic field's
            coins = tf.reshape(tf.transpose(uniform(key, AFFINE, COINS), (0, 2, 1)), (2 * AFFINE, -1))
            numbers = tf.where(coins < 2 * self.probability - 1, numbers, 0.0)
        turn, lean, higher, wider, down, right = tf.unstack(numbers)
        turn, lean = (angles * number * math.radians(most)
                      for number, most in ((turn, self.rotation), (lean, self.shear)))
        cosine, sine, tangent = tf.cos(turn), tf.sin(turn), tf.tan(lean)
        # The result's offset from the centre is turned, then sheared, then scaled along each axis.
        rows = tf.stack([cosine, -sine], axis=1) / (1 + self.scale * higher)[:, None]
        columns = tf.stack([sine + tangent * cosine, cosine - tangent * sine], axis=1)
        matrix = tf.stack([rows, columns / (1 + self.scale * wider)[:, None]], axis=1)
        return matrix, self.shift * tf.stack([down, right], axis=1)

    def field(self, key, matrix, shift, height, width):
        """Displacements in pixels, float32 (2, B, height, width): down and right."""
        field = affine_field(matrix, shift, height, width)
        if self.alpha:
            noise = tf.reshape(uniform(key, height * width, AFFINE), (2, -1, width, height))
            field += elastic_field(noise, self.sigma, self.alpha)
        return field

    @functools.cached_property
    def _compiled(self):
        """By XLA, which makes a few passes of what are some fifty small ones."""
        def distorted(images, key, matrix, shift):
            return resampled(images, self.field(key, matrix, shift, *images.shape[1:3]))
        return tf.function(distorted, jit_compile=True, autograph=False)
