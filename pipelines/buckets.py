"""Batches of sequences of similar length, so that padding costs little; still pure functions of (seed, i)."""
import numpy as np
import tensorflow as tf

from pipelines.stream import Stream


class Buckets(Stream):
    """A Stream of padded integer sequences (N, T) whose batches are cut to their longest sequence.

    Positions walk through the examples as in Stream. Each pool of `pool` batches is sorted by length and
    cut into batches, which come in a random order. Sequences end where only 0 follows.
    multiple: batches are cut to multiples of so many steps, since each new length is traced by XLA anew.
    The walk is a new permutation each epoch, and every example is drawn as often as in Stream.
    Raises ValueError for a pool larger than an epoch, or what Stream refuses.
    """

    def __init__(self, examples, batch_size, *, seed=0, pool=32, multiple=32):
        super().__init__(examples, batch_size, seed=seed)
        self.pool, self.multiple = min(pool, self.size // batch_size), multiple
        if self.pool < 1 or multiple < 1:
            raise ValueError("pool and multiple must be at least 1. "
                             f"Received: pool={pool}, multiple={multiple}")
        used = examples.inputs != 0
        ends = used.shape[1] - np.argmax(used[:, ::-1], axis=1)
        self.lengths = np.where(used.any(axis=1), ends, 1).astype(np.int32)

    def batch(self, i, shard=(0, 1)):
        """Batch i, or a part of it as of Stream.batch: (integers (B, T of the longest), labels)."""
        part, parts = shard
        self.check_divides(parts)
        i, rows = tf.cast(i, tf.int64), self.batch_size // parts
        number, count = i // self.pool, self.pool * self.batch_size
        order = self._order(number * count + tf.range(count, dtype=tf.int64))
        lengths = tf.gather(tf.constant(self.lengths), order)
        place = tf.random.experimental.index_shuffle(
            i % self.pool, seed=tf.stack([tf.cast(self.seed, tf.int64), number]), max_index=self.pool - 1)
        whole = tf.reshape(tf.argsort(lengths, stable=True), (self.pool, self.batch_size))[place]
        longest = -(-tf.gather(lengths, whole[-1]) // self.multiple) * self.multiple    # the last is longest
        longest = tf.minimum(longest, self.examples.inputs.shape[1])
        index = tf.gather(order, tf.reshape(whole, (parts, rows))[part])
        inputs, labels = (tf.gather(values, index) for values in self._tensors)
        return self.examples.prepare(inputs[:, :longest]), labels
