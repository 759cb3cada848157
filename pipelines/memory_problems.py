"""Problems that need a long memory, generated: adding, temporal order, copying. No download.

    adding           Le, Jaitly and Hinton 2015, arXiv:1504.00941, section 4.1. Each of T steps is a pair:
                     a value uniform in [0, 1], and a mark, which is 1 at two steps and 0 at the others;
                     these two are different and else uniform over all steps. The label is the sum of the
                     two values. Always to say 1 has a mean squared error of 1/6. (Hochreiter and
                     Schmidhuber 1997, section 5.4, have values in [-1, 1] and the marks in the first half;
                     Arjovsky et al. 2016 one mark in each half.)
    temporal_order   Hochreiter and Schmidhuber 1997, section 5.6, task 6a, there with T = 100. Symbols,
                     one-hot: E, then a, b, c or d at random, and B at the end of T to 1.1 T of them; but
                     one of step T/10 to T/5 and one of step T/2 to 3T/5, counted from 0, is an X or a Y.
                     The class is the pair: XX, XY, YX or YY. Zeros follow a shorter sequence: padding, to
                     be masked.
    copy             Arjovsky, Shah and Bengio 2016, arXiv:1511.06464, section 4.1. T + 20 integers: ten
                     symbols of 0 to 7, T - 1 blanks (8), a mark (9), ten blanks. The labels are T + 10
                     blanks, then the ten symbols. Blanks, then symbols at random, have a cross-entropy of
                     10 ln 8 / (T + 20) per step.

All that is said is drawn uniformly and independently.
"""
import dataclasses
import functools
import math

import numpy as np
import tensorflow as tf

from pipelines.stream import Examples

SHORTEST = 10                    # T, so that a tenth of it is a step
ORDER_SYMBOLS = "abcdEBXY"       # 1 to 8 as stored; 0 is padding
PAIRS = ("XX", "XY", "YX", "YY")
COPIED, BLANK, MARK = 10, 8, 9
VALIDATION_SEED, TEST_SEED = (-1, 0), (-2, 0)    # no training batch has these: it has (seed >= 0, i)


def integers(shape, least, beyond, seed):
    """Uniform in [least, beyond), int32; the same for the same seed on every device."""
    return tf.random.stateless_uniform(shape, seed, least, beyond, tf.int32, alg="philox")


def adding(count, steps, seed):
    """-> float32 (count, T, 2), values and marks, and the sums (count, 1)."""
    of_values, of_first, of_second = tf.unstack(tf.random.split(seed, 3, alg="philox"))
    values = tf.random.stateless_uniform((count, steps), of_values, alg="philox")
    first = integers((count,), 0, steps, of_first)
    second = (first + integers((count,), 1, steps, of_second)) % steps           # any other step
    marks = tf.one_hot(first, steps) + tf.one_hot(second, steps)
    return tf.stack([values, marks], axis=-1), tf.reduce_sum(values * marks, axis=1, keepdims=True)


def temporal_order(count, steps, seed):
    """-> int32 (count, 1.1 T) symbols, counted from 1, then 0; and int64 (count,) classes."""
    of_symbols, of_pairs, of_places, of_lengths = tf.unstack(tf.random.split(seed, 4, alg="philox"))
    longest = steps + steps // 10
    place = tf.range(longest)
    symbols = integers((count, longest), 1, 5, of_symbols)
    symbols = tf.where(place == 0, 1 + ORDER_SYMBOLS.index("E"), symbols)
    pairs = integers((count, 2), 0, 2, of_pairs)
    later = integers((count, 2), 0, steps // 10 + 1, of_places)
    for half, begin in enumerate((steps // 10, steps // 2)):
        here = place == begin + later[:, half, None]
        symbols = tf.where(here, 1 + ORDER_SYMBOLS.index("X") + pairs[:, half, None], symbols)
    end = integers((count, 1), steps - 1, longest, of_lengths)
    symbols = tf.where(place == end, 1 + ORDER_SYMBOLS.index("B"), symbols)
    return tf.where(place > end, 0, symbols), tf.cast(2 * pairs[:, 0] + pairs[:, 1], tf.int64)


def copy(count, steps, seed):
    """-> int32 (count, T + 20) symbols, and labels of the same shape."""
    symbols = integers((count, COPIED), 0, BLANK, seed)

    def blanks(length):
        return tf.fill((count, length), BLANK)
    inputs = tf.concat([symbols, blanks(steps - 1), tf.fill((count, 1), MARK), blanks(COPIED)], axis=1)
    return inputs, tf.concat([blanks(steps + COPIED), symbols], axis=1)


PROBLEMS = {"adding": adding, "temporal_order": temporal_order, "copy": copy}


def unchanged(inputs):
    """What the network sees of inputs that are numbers already."""
    return inputs


def one_hot_symbols(symbols):
    """int32 (B, T) of temporal_order -> float32 (B, T, 8); zeros for padding."""
    return tf.one_hot(symbols - 1, len(ORDER_SYMBOLS))


def baseline(name, steps):
    """The loss of the best answer that knows nothing of the sequence, as the problem's loss is measured."""
    return {"adding": 1 / 6, "temporal_order": math.log(4),
            "copy": COPIED * math.log(8) / (steps + 2 * COPIED)}[name]


class Generated:
    """Endless training batches, batch i a pure function of (seed, i): no sequence comes twice.

    There are no epochs. Raises ValueError for a negative seed, which validation and test have.
    """

    def __init__(self, generate, prepare, batch_size, seed):
        if seed < 0 or batch_size < 1:
            raise ValueError("generated batches take a seed of at least 0 and a batch size of at least 1. "
                             f"Received: seed={seed}, batch_size={batch_size}")
        self.generate, self.prepare, self.batch_size, self.seed = generate, prepare, batch_size, seed

    def batch(self, i, shard=(0, 1)):
        """Batch i, or rows [k B / n, (k + 1) B / n) of it for shard=(k, n): (inputs, labels) tensors."""
        part, parts = shard
        self.check_divides(parts)
        seed = tf.stack([tf.constant(self.seed, tf.int64), tf.cast(i, tf.int64)])
        inputs, labels = self.generate(self.batch_size, seed=seed)
        rows = self.batch_size // parts
        begin = tf.cast(part, tf.int32) * rows
        return self.prepare(inputs[begin:begin + rows]), labels[begin:begin + rows]

    def check_divides(self, parts):
        """Raises ValueError if a batch cannot be split into so many equal parts."""
        if self.batch_size % parts:
            raise ValueError(f"the batch size must be a multiple of the {parts} devices. "
                             f"Received: {self.batch_size}")


@dataclasses.dataclass(frozen=True)
class Problem:
    """A problem, ready: an endless training stream, and two finite splits that are the same for every seed.

    baseline: the loss without any memory.  class_names: of temporal_order, else ().
    """
    train: Generated
    validation: Examples
    test: Examples
    baseline: float
    class_names: tuple[str, ...] = ()

    @property
    def input_shape(self):
        return tuple(self.test.prepare(tf.constant(self.test.inputs[:1])).shape[1:])


def load(name="adding", batch_size=64, *, steps=100, seed=0, validation=1_000, test=10_000):
    """-> Problem, with so many examples for validation and test. steps: T of the definitions above.

    Raises ValueError for an unknown name, or T < 10.
    """
    if name not in PROBLEMS:
        raise ValueError(f"the problem must be one of {', '.join(PROBLEMS)}. Received: {name}")
    if steps < SHORTEST:
        raise ValueError(f"steps must be at least {SHORTEST}. Received: {steps}")
    generate = functools.partial(PROBLEMS[name], steps=steps)
    prepare = one_hot_symbols if name == "temporal_order" else unchanged

    def fixed(count, seed):
        inputs, labels = generate(count, seed=tf.constant(seed, tf.int64))
        return Examples(np.asarray(inputs), np.asarray(labels), prepare)
    return Problem(Generated(generate, prepare, batch_size, seed), fixed(validation, VALIDATION_SEED),
                   fixed(test, TEST_SEED), baseline(name, steps),
                   PAIRS if name == "temporal_order" else ())
