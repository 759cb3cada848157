"""The label error rate of networks that write strings: wrong, missing and surplus labels per right one."""
import keras
import tensorflow as tf


def sparse(strings):
    """int (B, length), filled up with 0 -> the same strings as a SparseTensor."""
    strings = tf.cast(strings, tf.int32)
    return tf.sparse.from_dense(strings)


def errors(written, strings):
    """Edits that turn what was written into the right strings: float32 (B,).

    written int (B, steps), strings int (B, length), labels at the beginning of each row and 0 after them.
    """
    written, strings = sparse(written), sparse(strings)
    rows = strings.dense_shape[0]
    longest = tf.maximum(written.dense_shape[1], strings.dense_shape[1])
    shape = tf.stack([rows, longest])
    return tf.edit_distance(tf.SparseTensor(written.indices, written.values, shape),
                            tf.SparseTensor(strings.indices, strings.values, shape), normalize=False)


class LabelErrorRate(keras.metrics.Metric):
    """Edit distance over all examples, divided by the number of their labels (Graves et al. 2006, eq. 2).

    decode: outputs of the network -> int (B, steps), filled up with 0, as models.ctc.greedy.
    y_true int (B, length), filled up with 0. The paper averages the rate of each string; the
    quotient of the sums, as speech recognition counts words, lets long strings count for more.
    """

    def __init__(self, decode, name="label_error_rate", **options):
        super().__init__(name=name, **options)
        self.decode = decode
        self.wrong = self.add_weight(name="wrong", initializer="zeros")
        self.labels = self.add_weight(name="labels", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        strings = tf.cast(y_true, tf.int32)
        self.wrong.assign_add(tf.reduce_sum(errors(self.decode(y_pred), strings)))
        self.labels.assign_add(tf.cast(tf.math.count_nonzero(strings), tf.float32))

    def result(self):
        return tf.math.divide_no_nan(self.wrong, self.labels)
