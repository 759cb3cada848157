"""Faster TensorFlow kernels in place of what Keras 3 composes, while a network trains on CPUs.

Keras writes batch normalisation and GELU as chains of element-wise operations, each of which
reads and writes a whole feature map, and differentiates them one by one. TensorFlow has one
kernel for the first (FusedBatchNormV3, in oneDNN, also in bfloat16, where it is quick only for channels
that are a multiple of 16: others are brought into that shape), and XLA makes one out of the
second. Convolutions stay out of XLA, which has slower ones. Adam's update is such a chain, too, over
all weights and their moments; TensorFlow has one kernel for it (ResourceApplyAdam). Where weights decay,
Keras puts the schedule of the rate into the graph once for each of them; here it is there once.
benchmarks/step_time.py has the figures, and benchmarks/README.md the time that a start takes.

The layers and the optimizer themselves, their weights and what a file says of them stay Keras's own.
"""
import contextlib
import functools
import math
import types

import keras
import tensorflow as tf

DIMENSIONS = 4                   # of what FusedBatchNormV3 takes: (B, H, W, C)
ALIGNED = 16                     # oneDNN's kernel for bfloat16 is quick for channels that are multiples of it
ADAM = keras.optimizers.Adam, keras.optimizers.AdamW         # whose update_step is the same


@contextlib.contextmanager
def faster(model, wanted=True):
    """Lets a model's layers and its optimizer run the faster kernels in here, where they are of use.

    That is on TensorFlow without a GPU; on GPUs, and under XLA as a whole, Keras's own are left.
    Layers of a subclass, and batch normalisation that is synchronised over devices, renormalised
    or of another axis than the last, stay as they are. The results differ by rounding.
    """
    changed = []
    if wanted and keras.backend.backend() == "tensorflow" and not tf.config.list_logical_devices("GPU"):
        for layer in model._flatten_layers():
            if fusible(layer):
                changed.append((layer, "call", layer.call))
                layer.call = types.MethodType(normalise, layer)
            if getattr(layer, "activation", None) is keras.activations.gelu:
                changed.append((layer, "activation", layer.activation))
                layer.activation = gelu
        if type(model.optimizer) in ADAM and not model.optimizer.amsgrad:
            changed.append((model.optimizer, "update_step", model.optimizer.update_step))
            model.optimizer.update_step = types.MethodType(update, model.optimizer)
        if decays_as_all(model.optimizer):
            changed.append((model.optimizer, "_apply_weight_decay", None))
            model.optimizer._apply_weight_decay = types.MethodType(decay, model.optimizer)
    try:
        yield
    finally:
        for changed_one, name, value in changed:
            if name == "activation":
                changed_one.activation = value
            else:
                delattr(changed_one, name)           # of the class again


def decays_as_all(optimizer):
    """Whether weights decay, in the way of most of Keras's optimizers: Muon, for one, has its own."""
    own = getattr(type(optimizer), "_apply_weight_decay", None)
    return own is keras.optimizers.Optimizer._apply_weight_decay and bool(optimizer.weight_decay)


def fusible(layer):
    """Whether a layer is a batch normalisation of feature maps that the fused kernel computes."""
    return (type(layer) is keras.layers.BatchNormalization and layer.built
            and len(layer.input_spec.axes) == 1 and layer.input_spec.ndim == DIMENSIONS
            and layer.axis in (-1, DIMENSIONS - 1) and not layer.renorm and not layer.synchronized)


def normalise(layer, inputs, training=None, mask=None):
    """BatchNormalization.call: (B, H, W, C) -> the same; statistics in float32 in any precision."""
    if not (training and layer.trainable) or mask is not None:
        return keras.layers.BatchNormalization.call(layer, inputs, training=training, mask=mask)
    inputs = keras.ops.convert_to_tensor(inputs)
    channels = inputs.shape[-1]
    scale = tf.ones(channels) if layer.gamma is None else tf.convert_to_tensor(layer.gamma)
    offset = tf.zeros(channels) if layer.beta is None else tf.convert_to_tensor(layer.beta)
    if inputs.dtype == tf.bfloat16 and channels % ALIGNED:
        outputs, mean, variance = normalised_unaligned(inputs, scale, offset, layer.epsilon)
    else:
        outputs, mean, variance = normalised(inputs, scale, offset, layer.epsilon)
    for moving, now in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + now * (1 - layer.momentum))
    return outputs


def normalised(x, scale, offset, epsilon):
    """By the fused kernel: (B, H, W, C), two of (C,) -> (the same, mean and variance (C,) in float32)."""
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=offset, mean=tf.zeros(0), variance=tf.zeros(0), epsilon=epsilon,
        is_training=True)
    count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
    return y, mean, variance * (count - 1) / count           # the kernel divides by n - 1, Keras by n


def normalised_unaligned(x, scale, offset, epsilon):
    """normalised() for channels that are not a multiple of ALIGNED.

    Some pixels side by side are taken for one of so many times the channels, which are a multiple then:
    the kernel gives mean and variance of each, which together give those of a channel. Where the
    pixels of an image do not divide so, in float32.
    """
    _, height, width, channels = x.shape
    together = ALIGNED // math.gcd(ALIGNED, channels)
    if height is None or width is None or height * width % together:
        y, mean, variance = normalised(tf.cast(x, tf.float32), scale, offset, epsilon)
        return tf.cast(y, x.dtype), mean, variance
    folded = functools.partial(tf.reshape, shape=(-1, height * width // together, 1, together * channels))
    by_channel = functools.partial(tf.reshape, shape=(together, channels))
    repeated = functools.partial(tf.tile, multiples=[together])

    @tf.custom_gradient
    def whole(x, scale, offset):
        ones = tf.ones(together * channels)
        _, means, variances = normalised(folded(x), ones, tf.zeros_like(ones), epsilon)
        means, variances = by_channel(means), by_channel(variances)
        mean = tf.reduce_mean(means, axis=0)
        variance = tf.reduce_mean(variances + tf.square(means - mean), axis=0)
        slope = tf.math.rsqrt(variance + epsilon)

        def backward(gradient, *_):
            _, scales, offsets, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=folded(gradient), x=folded(x), scale=ones, reserve_space_1=repeated(mean),
                reserve_space_2=repeated(variance), reserve_space_3=tf.zeros(0), epsilon=epsilon,
                is_training=False)
            scales = tf.reduce_sum(by_channel(scales), axis=0)
            offsets = tf.reduce_sum(by_channel(offsets), axis=0)
            # At x: scale slope (gradient - offsets / n - (x - mean) slope scales / n).
            part = -scale * slope / tf.cast(tf.size(x) // channels, tf.float32)
            return (lines(gradient, x, scale * slope, part * slope * scales,
                          part * (offsets - mean * slope * scales)), scales, offsets)
        return (line(x, scale * slope, offset - mean * scale * slope), mean, variance), backward
    return whole(x, scale, offset)


@tf.function(jit_compile=True, autograph=False)
def line(x, factor, shift):
    """factor x + shift of each channel, in float32 within: (..., C), two of (C,) -> (..., C) of x's dtype."""
    return tf.cast(tf.cast(x, tf.float32) * factor + shift, x.dtype)


@tf.function(jit_compile=True, autograph=False)
def lines(x, y, x_factor, y_factor, shift):
    """x_factor x + y_factor y + shift of each channel, as line()."""
    return tf.cast(tf.cast(x, tf.float32) * x_factor + tf.cast(y, tf.float32) * y_factor + shift, x.dtype)


def update(optimizer, gradient, variable, learning_rate):
    """Adam.update_step in one pass over a weight and its moments; under a strategy Keras's own."""
    if tf.distribute.has_strategy() or isinstance(gradient, tf.IndexedSlices) or variable.dtype != tf.float32:
        return type(optimizer).update_step(optimizer, gradient, variable, learning_rate)
    step = tf.cast(tf.convert_to_tensor(optimizer.iterations) + 1, tf.float32)
    index = optimizer._get_variable_index(variable)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle, m=optimizer._momentums[index].value.handle,
        v=optimizer._velocities[index].value.handle, beta1_power=tf.pow(optimizer.beta_1, step),
        beta2_power=tf.pow(optimizer.beta_2, step), lr=tf.cast(learning_rate, tf.float32),
        beta1=optimizer.beta_1, beta2=optimizer.beta_2, epsilon=optimizer.epsilon,
        grad=tf.cast(gradient, tf.float32))


def decay(optimizer, variables):
    """Optimizer._apply_weight_decay with one rate for all: weight -= weight_decay rate weight, of any shape.

    variables: all that train; those excluded from decay stay. Under a strategy Keras's own.
    """
    if tf.distribute.has_strategy():
        type(optimizer)._apply_weight_decay(optimizer, variables)
        return
    rate = optimizer.learning_rate
    for variable in variables:
        if optimizer._use_weight_decay(variable):
            part = tf.cast(optimizer.weight_decay, variable.dtype)
            variable.value.assign_sub(variable.value * part * tf.cast(rate, variable.dtype))


@tf.custom_gradient
def exact_gelu(x):
    """x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel 2016); any shape."""
    return forward(x), functools.partial(backward, x)


def gelu(x, approximate=False):
    """keras.activations.gelu with one kernel each way."""
    return keras.activations.gelu(x, approximate=True) if approximate else exact_gelu(x)


@tf.function(jit_compile=True, autograph=False)
def forward(x):
    """x times the normal distribution's share below x; computed in float32, given back in x's dtype."""
    wide = tf.cast(x, tf.float32)
    return tf.cast(wide * normal_distribution(wide), x.dtype)


@tf.function(jit_compile=True, autograph=False)
def backward(x, gradient):
    """The gradient at x from that at the output: times Phi(x) + x phi(x), in float32 within."""
    wide = tf.cast(x, tf.float32)
    density = tf.exp(-0.5 * wide * wide) / math.sqrt(2 * math.pi)
    slope = normal_distribution(wide) + wide * density
    return tf.cast(tf.cast(gradient, tf.float32) * slope, x.dtype)


def normal_distribution(x):
    """Phi(x), the standard normal distribution function: in [0, 1]."""
    return 0.5 * (1 + tf.math.erf(x / math.sqrt(2)))
