"""Keras's LSTM with all that needs no loop moved out of it: for training on CPUs with TensorFlow."""
import functools

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("models")
class HoistedLSTM(layers.LSTM):
    """keras.layers.LSTM whose training on a CPU keeps in the loop over time only what depends on it.

    Same arguments, weights, outputs and gradients. In front of the loop: the products of all inputs with
    the kernel, as one. Behind it: the gradients of kernel and recurrent kernel, one product each over
    all steps, where automatic differentiation adds up one small product per step. In float32 the two
    loops are compiled by XLA, once for each shape; under mixed precision they stay in TensorFlow, whose
    products in bfloat16 are faster, and cells and gates stay in float32, which Keras's do not.
    Everywhere else (prediction, a GPU, another backend, recurrent dropout, other activations) it is
    keras.layers.LSTM. Measured: benchmarks/results/speed/recurrent_steps.json.

    This file imports TensorFlow, inside functions that run on that backend alone, which no other file of
    models/ does: the loop is tf.while_loop under tf.custom_gradient and XLA, and the weights' gradients
    are taken out of it, for which keras.ops has no word. It stands here, and not with training's kernels,
    because a saved network names its class.
    """

    def inner_loop(self, sequences, initial_state, mask, training=False):
        if not (training and self.hoists()):
            return super().inner_loop(sequences, initial_state, mask, training=training)
        import tensorflow as tf
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        if self.go_backwards:
            sequences = ops.flip(sequences, axis=1)
            mask = None if mask is None else ops.flip(mask, axis=1)
        cell = self.cell
        kernel, recurrent_kernel, bias = (
            tf.convert_to_tensor(weight) for weight in (cell.kernel, cell.recurrent_kernel, cell.bias))
        outputs, h, c = hoisted_lstm(sequences, *initial_state, kernel, recurrent_kernel, bias, mask)
        if mask is not None and self.zero_output_for_mask:
            outputs = outputs * tf.cast(mask, outputs.dtype)[..., None]
        return h, outputs if self.return_sequences else h[:, None], [h, c]

    def hoists(self):
        """Whether this is a plain LSTM on a CPU of TensorFlow."""
        if keras.backend.backend() != "tensorflow":
            return False
        import tensorflow as tf
        return (not tf.config.list_logical_devices("GPU") and self.use_bias and not self.unroll
                and not self.dropout and not self.recurrent_dropout
                and self.activation == keras.activations.tanh
                and self.recurrent_activation == keras.activations.sigmoid)


def hoisted_lstm(x, h, c, kernel, recurrent_kernel, bias, mask=None):
    """An LSTM over whole sequences: -> outputs float32 (B, T, H), last h and c, float32 (B, H).

    x: float32 or bfloat16 (B, T, F), in whose precision products are taken; h, c: (B, H); kernel
    (F, 4 H), recurrent_kernel (H, 4 H), bias (4 H): gates in Keras's order i, f, c, o. mask: bool (B, T),
    where False h and c stay as they are.
    """
    import tensorflow as tf
    steps, features = tf.shape(x)[1], x.shape[2]
    units = recurrent_kernel.shape[0]
    flat = tf.reshape(tf.transpose(x, (1, 0, 2)), (-1, features))                           # (T B, F)
    z = tf.cast(tf.matmul(flat, tf.cast(kernel, x.dtype)), tf.float32) + tf.cast(bias, tf.float32)
    z = tf.reshape(z, (steps, -1, 4 * units))
    valid = tf.ones((steps, 1, 1)) if mask is None else tf.cast(tf.transpose(mask), tf.float32)[..., None]
    first_h, first_c = tf.cast(h, tf.float32), tf.cast(c, tf.float32)
    forward, backward = loops(x.dtype, units)

    @tf.custom_gradient
    def recurrence(z, recurrent_kernel, h, c):
        hs, cs, gates = forward(*map(tf.stop_gradient, (z, recurrent_kernel, h, c, valid)))

        def gradient(d_hs, d_c):
            d_z, d_h, d_c = backward(*map(tf.stop_gradient, (d_hs, d_c, gates, cs, recurrent_kernel, c,
                                                             valid)))
            before = tf.reshape(tf.concat([h[None], hs[:-1]], 0), (-1, units))
            d_kernel = tf.matmul(tf.cast(before, x.dtype), tf.cast(tf.reshape(d_z, (-1, 4 * units)), x.dtype),
                                 transpose_a=True)                 # the sum over all steps and rows
            return d_z, tf.cast(d_kernel, recurrent_kernel.dtype), d_h, d_c
        return (hs, cs[-1]), gradient
    hs, c = recurrence(z, recurrent_kernel, first_h, first_c)
    return tf.transpose(hs, (1, 0, 2)), hs[-1], c


@functools.cache
def loops(precision, units):
    """(forward, backward) for products in that TensorFlow dtype and so many units."""
    import tensorflow as tf

    def product(x, kernel, transpose=False):
        return tf.cast(tf.matmul(tf.cast(x, precision), kernel, transpose_b=transpose), tf.float32)

    def written(steps, like, width):
        return tf.TensorArray(tf.float32, steps, element_shape=(like.shape[0], width))

    def forward(z, recurrent_kernel, h, c, valid):
        """z (T, B, 4 H), h and c (B, H), valid (T, B or 1, 1) -> h and c (T, B, H), gates (T, B, 4 H)."""
        steps = tf.shape(z)[0]
        kernel = tf.cast(recurrent_kernel, precision)
        z, valid = (tf.TensorArray(tf.float32, steps).unstack(values) for values in (z, valid))

        def step(t, h, c, hs, cs, gates):
            z_i, z_f, z_c, z_o = tf.split(z.read(t) + product(h, kernel), 4, axis=1)
            i, f, new, o = tf.sigmoid(z_i), tf.sigmoid(z_f), tf.tanh(z_c), tf.sigmoid(z_o)
            now = valid.read(t)
            c = c + now * (f * c + i * new - c)
            h = h + now * (o * tf.tanh(c) - h)
            return t + 1, h, c, hs.write(t, h), cs.write(t, c), gates.write(t, tf.concat([i, f, new, o], 1))
        *_, hs, cs, gates = tf.while_loop(
            lambda t, *_: t < steps, step,
            (0, h, c, written(steps, h, units), written(steps, h, units), written(steps, h, 4 * units)),
            maximum_iterations=steps, parallel_iterations=1)
        return hs.stack(), cs.stack(), gates.stack()

    def backward(d_hs, d_c, gates, cs, recurrent_kernel, first_c, valid):
        """Gradients by all h and the last c -> by z (T, B, 4 H), and by the first h and c (B, H)."""
        steps = tf.shape(d_hs)[0]
        kernel = tf.cast(recurrent_kernel, precision)
        before = tf.concat([first_c[None], cs[:-1]], 0)
        d_hs, gates, cs, before, valid = (tf.TensorArray(tf.float32, steps).unstack(values)
                                          for values in (d_hs, gates, cs, before, valid))

        def step(t, d_h, d_c, d_z):
            i, f, new, o = tf.split(gates.read(t), 4, axis=1)
            shown, now = tf.tanh(cs.read(t)), valid.read(t)
            d_h = d_h + d_hs.read(t)
            by_h = now * d_h
            by_c = now * d_c + by_h * o * (1 - shown * shown)
            z = tf.concat([by_c * new * i * (1 - i), by_c * before.read(t) * f * (1 - f),
                           by_c * i * (1 - new * new), by_h * shown * o * (1 - o)], 1)
            d_h = d_h - by_h + product(z, kernel, transpose=True)
            return t - 1, d_h, (1 - now) * d_c + by_c * f, d_z.write(t, z)
        _, d_h, d_c, d_z = tf.while_loop(
            lambda t, *_: t >= 0, step,
            (steps - 1, tf.zeros_like(first_c), d_c, written(steps, first_c, 4 * units)),
            maximum_iterations=steps, parallel_iterations=1)
        return d_z.stack(), d_h, d_c

    if precision != tf.float32:
        return forward, backward
    return tuple(tf.function(loop, jit_compile=True, autograph=False, reduce_retracing=True)
                 for loop in (forward, backward))
