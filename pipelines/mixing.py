"""Mixup and cutmix: two examples become one, with a label that says how much of each is in it.

    Stream(..., mix=Mixup(10, alpha=0.2))        and a loss that takes soft labels: training.objectives

Ours, because the layers of Keras (MixUp, CutMix) draw from a generator whose state moves on with
each batch, and shuffle the whole batch: batch i would depend on the batches before it, and on the
number of devices. Here the partner of the example at position p of the endless walk is the one at
p XOR 1. The walk is a random permutation, so that partners are random too; each of the two has
its own share of the other, a hash of its seed. Labels are int64 (B,), soft ones float32 (B, K).
"""
import dataclasses
import functools

import numpy as np
import tensorflow as tf

from pipelines.distort import keys, uniform

STEPS = 2 ** 16                  # as many numbers as pipelines.distort.uniform has
SALT = 1_000                     # the pair of random numbers where mixing begins; augmentations have others


def partners(values):
    """Rows 2j and 2j + 1 exchanged: (B, ...) with an even B, same shape."""
    pairs = tf.reshape(values, tf.concat([[-1, 2], tf.shape(values)[1:]], axis=0))
    return tf.reshape(pairs[:, ::-1], tf.shape(values))


@functools.lru_cache
def quantiles(alpha):
    """The STEPS middle quantiles of Beta(alpha, alpha), float32: a lookup is a draw."""
    from scipy.special import betaincinv
    return betaincinv(alpha, alpha, (np.arange(STEPS) + 0.5) / STEPS).astype(np.float32)


def drawn(seeds, count):
    """(count, B) numbers in [0, 1) for each example, count even."""
    pairs = uniform(keys(seeds), count // 2, SALT)                           # (2, B, count / 2)
    return tf.reshape(tf.transpose((pairs + 1) / 2, (0, 2, 1)), (count, -1))


def share(seeds, alpha, probability):
    """How much of itself each example keeps, float32 (B,) in [0, 1]; all of it where it is not mixed."""
    chance, decision = tf.unstack(drawn(seeds, 2))
    kept = tf.gather(tf.constant(quantiles(alpha)), tf.cast(chance * STEPS, tf.int32))
    return tf.where(decision < probability, kept, 1.0)


def mixed(values, kept):
    """kept x value + (1 - kept) x partner's: values (B, ...), kept (B,)."""
    kept = tf.reshape(kept, tf.concat([[-1], tf.ones(tf.rank(values) - 1, tf.int32)], axis=0))
    kept = tf.cast(kept, values.dtype)
    return kept * values + (1 - kept) * partners(values)


@dataclasses.dataclass(frozen=True)
class Mixup:
    """Each image and its label drawn towards its partner's (Zhang et al. 2018, arXiv:1710.09412).

    classes: K.  alpha: of the Beta(alpha, alpha) that the share is drawn from.  probability
    that an example is mixed. Raises ValueError for an alpha not above 0.
    """
    classes: int
    alpha: float = 0.2
    probability: float = 1.0

    def __post_init__(self):
        check(self)

    def __call__(self, images, labels, seeds):
        kept = share(seeds, self.alpha, self.probability)
        return mixed(images, kept), mixed(tf.one_hot(labels, self.classes), kept)


@dataclasses.dataclass(frozen=True)
class Cutmix:
    """A rectangle of each image comes from its partner (Yun et al. 2019, arXiv:1905.04899).

    The rectangle has the image's proportions and 1 - share of its area, its centre is anywhere,
    and what hangs over the edge is cut off; the labels have the shares of the areas that
    remain. Arguments as for Mixup.
    """
    classes: int
    alpha: float = 1.0
    probability: float = 1.0

    def __post_init__(self):
        check(self)

    def __call__(self, images, labels, seeds):
        kept = share(seeds, self.alpha, self.probability)
        _, _, down, right = tf.unstack(drawn(seeds, 4))
        side = tf.sqrt(1 - kept)
        (top, bottom), (left, behind) = (interval(centre, side, size) for centre, size in zip(
            (down, right), images.shape[1:3], strict=True))
        rows, columns = tf.range(images.shape[1]), tf.range(images.shape[2])
        within_rows = tf.logical_and(rows >= top[:, None], rows < bottom[:, None])                # (B, H)
        within_columns = tf.logical_and(columns >= left[:, None], columns < behind[:, None])   # (B, W)
        taken = tf.logical_and(within_rows[:, :, None], within_columns[:, None])[..., None]
        area = tf.cast((bottom - top) * (behind - left), tf.float32)
        area /= images.shape[1] * images.shape[2]
        return (tf.where(taken, partners(images), images),
                mixed(tf.one_hot(labels, self.classes), 1 - area))


@dataclasses.dataclass(frozen=True)
class OneOf:
    """The first of two kinds of mixing for some of the examples, the second for the others."""
    first: Mixup | Cutmix
    second: Mixup | Cutmix
    probability: float = 0.5     # of the first

    def __call__(self, images, labels, seeds):
        coin = drawn(seeds, 6)[5] < self.probability
        one, other = (kind(images, labels, seeds) for kind in (self.first, self.second))
        return (tf.where(coin[:, None, None, None], one[0], other[0]),
                tf.where(coin[:, None], one[1], other[1]))


def interval(centre, side, size):
    """(first, behind the last) pixel, int32 (B,), about a centre in [0, 1) with a side in [0, 1]."""
    middle, half = tf.floor(centre * size), side * size / 2
    return (tf.cast(tf.clip_by_value(tf.round(edge), 0, size), tf.int32)
            for edge in (middle - half, middle + half))


def check(kind):
    """Raises ValueError if a mixing's alpha, probability or number of classes is out of range."""
    if not (kind.alpha > 0 and 0 <= kind.probability <= 1 and kind.classes >= 2):
        raise ValueError("mixing needs at least 2 classes, an alpha above 0 and a probability in [0, 1]. "
                         f"Received: {kind}")
