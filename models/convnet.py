"""Convolutional networks for small grey images."""
import math

import keras
from keras import layers, ops

from models.lenet import scaled_tanh


def nielsen_convnet(input_shape=(28, 28, 1), num_classes=10, *, filters=(20, 40), hidden=(100,),
                    activation="relu", pooling="max", dropout=0.0, bias_stddev=1.0):
    """Nielsen's networks: per stage a 5x5 convolution and 2x2 pooling, then dense layers.

    Source: Nielsen, Neural Networks and Deep Learning, chapter 6, and its network3.py,
    whose order is kept: convolve (valid), pool, add the bias, activate.
    Shapes: float (B, H, W, C) in [0, 1] -> (B, num_classes) logits.
    Parameters: 79,510 for filters=(), hidden=(100,); 29,330 for (20,), (); 289,630 for
    (20,), (100,); 85,670 for (20, 40), (100,); 1,672,570 for (20, 40), (1000, 1000).
    pooling: "max", or "l2", the square root of the sum of squares (chapter 6, problem).
    dropout: probability that an input of a dense layer is dropped, in [0, 1), the
    flattened features and the output layer's inputs included, as in network3.py.
    Initialisation is network3.py's too: kernels N(0, 1 / fan out), where a filter's fan out is
    filters x 25 / 4 after pooling; biases N(0, 1); the output layer starts at zero.
    bias_stddev: that of the first biases, at least 0. With network3.py's 1, relu leaves 2 to 11 of
    the 20 filters of rung 7's first stage silent on every digit from the start (five seeds).
    Raises ValueError for an image that the stages shrink away, or an argument out of range.
    """
    if any(width < 1 for width in (*filters, *hidden, num_classes)):
        raise ValueError("widths must be at least 1. "
                         f"Received: filters={filters}, hidden={hidden}, num_classes={num_classes}")
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}. Received: {pooling!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1). Received: {dropout}")
    if not 0 <= bias_stddev < math.inf:
        raise ValueError(f"bias_stddev must be at least 0 and finite. Received: {bias_stddev}")
    smallest = smallest_side(len(filters))
    if min(input_shape[:2]) < smallest:
        raise ValueError(f"{len(filters)} stages need images of at least {smallest}x{smallest} pixels. "
                         f"Received: input_shape={tuple(input_shape)}")

    def normal(fan_out):
        return keras.initializers.RandomNormal(stddev=1 / math.sqrt(fan_out))

    stack = [keras.Input(input_shape, name="image")]
    for stage, width in enumerate(filters, 1):                   # 28x28 -> 12x12 -> 4x4
        stack.append(layers.Conv2D(width, 5, use_bias=False, kernel_initializer=normal(width * 25 / 4),
                                   name=f"stage{stage}_conv"))
        stack.append(POOLINGS[pooling](2, name=f"stage{stage}_pool"))
        stack.append(Bias(bias_stddev, name=f"stage{stage}_bias"))
        stack.append(layers.Activation(activation, name=f"stage{stage}"))
    stack.append(layers.Flatten(name="features"))
    for index, width in enumerate(hidden, 1):
        if dropout:
            stack.append(layers.Dropout(dropout, name=f"hidden{index}_dropout"))
        stack.append(layers.Dense(width, activation, kernel_initializer=normal(width),
                                  bias_initializer=keras.initializers.RandomNormal(stddev=bias_stddev),
                                  name=f"hidden{index}"))
    if dropout:
        stack.append(layers.Dropout(dropout, name="logits_dropout"))
    stack.append(layers.Dense(num_classes, kernel_initializer="zeros", name="logits"))
    return keras.Sequential(stack, name="nielsen_convnet")


def fast_convnet(input_shape=(28, 28, 1), num_classes=10, *, filters=(24, 32), hidden=256):
    """Two convolutions and one dense layer: what reaches 99 % on MNIST in few operations.

    Per stage a valid convolution, 5x5 and then 3x3, 2x2 max-pooling, batch normalisation and
    relu: after pooling, the last two cost a quarter. The widths are those of the one-epoch
    MNIST record in PyTorch (source in recipes/images/fast_mnist.py), which does not normalise.
    Shapes: float (B, H, W, C) in [0, 1] -> (B, num_classes) logits.
    Parameters: 215,818, of which 624 are moving statistics; 1,244,160 multiply-adds per image.
    Normalisation has an offset and no scale, since relu and the next layer make up for it; its
    statistics have a memory of ten batches, for trainings of few updates.
    Raises ValueError for images under 12x12 pixels, which the stages shrink away, or a width
    below 1.
    """
    if len(filters) != 2 or any(width < 1 for width in (*filters, hidden, num_classes)):
        raise ValueError("filters must be two widths, and all widths at least 1. "
                         f"Received: filters={filters}, hidden={hidden}, num_classes={num_classes}")
    if min(input_shape[:2]) < 12:
        raise ValueError("the two stages need images of at least 12x12 pixels. "
                         f"Received: input_shape={tuple(input_shape)}")

    def normalised(name):
        return [layers.BatchNormalization(momentum=0.9, scale=False, name=f"{name}_bn"),
                layers.Activation("relu", name=name)]

    stack = [keras.Input(input_shape, name="image")]
    for stage, (width, size) in enumerate(zip(filters, (5, 3), strict=True), 1):   # 28x28 -> 12x12 -> 5x5
        stack += [layers.Conv2D(width, size, use_bias=False, kernel_initializer="he_normal",
                                name=f"stage{stage}_conv"),
                  layers.MaxPooling2D(2, name=f"stage{stage}_pool"), *normalised(f"stage{stage}")]
    stack += [layers.Flatten(name="features"),
              layers.Dense(hidden, use_bias=False, kernel_initializer="he_normal", name="hidden_dense"),
              *normalised("hidden"), layers.Dense(num_classes, name="logits")]
    return keras.Sequential(stack, name="fast_convnet")


def simard_convnet(input_shape=(29, 29, 1), num_classes=10, *, activation="relu"):
    """Two 5x5 convolutions of stride 2 in place of convolution and subsampling, and a dense layer.

    Source: Simard, Steinkraus and Platt 2003, "Best practices for convolutional neural networks
    applied to visual document analysis", section 4.
    Shapes: float (B, 29, 29, 1) -> (B, num_classes) logits; maps of 13x13 and 5x5.
    Parameters: 132,540 = 130 + 6,300 + 125,100 + 1,010.
    Raises ValueError for images under 13x13 pixels.
    """
    if min(input_shape[:2]) < 13:
        raise ValueError("the two convolutions of stride 2 need images of at least 13x13 pixels. "
                         f"Received: input_shape={tuple(input_shape)}")
    return keras.Sequential([
        keras.Input(input_shape, name="image"),
        layers.Conv2D(5, 5, strides=2, activation=activation, name="conv1"),
        layers.Conv2D(50, 5, strides=2, activation=activation, name="conv2"),
        layers.Flatten(name="features"), layers.Dense(100, activation, name="hidden"),
        layers.Dense(num_classes, name="logits")], name="simard_convnet")


def mcdnn_column(input_shape=(29, 29, 1), num_classes=10, *, activation=scaled_tanh):
    """One column of the multi-column network: 1x29x29-20C4-MP2-40C5-MP3-150N-10N.

    Source: Cirešan, Meier and Schmidhuber 2012, arXiv:1202.2745, section 3.1.
    Shapes: float (B, 29, 29, 1) in [-1, 1] -> (B, num_classes) logits; maps of 26x26, 13x13, 9x9
    and 3x3.
    Parameters: 76,040 = 340 + 20,040 + 54,150 + 1,510.
    The weights begin at U(-.05, .05), as in the paper.
    Raises ValueError for images under 17x17 pixels.
    """
    if min(input_shape[:2]) < 17:
        raise ValueError("the two stages need images of at least 17x17 pixels. "
                         f"Received: input_shape={tuple(input_shape)}")
    return keras.Sequential([
        keras.Input(input_shape, name="image"),
        layers.Conv2D(20, 4, activation=activation, kernel_initializer="random_uniform", name="stage1_conv"),
        layers.MaxPooling2D(2, name="stage1_pool"),
        layers.Conv2D(40, 5, activation=activation, kernel_initializer="random_uniform", name="stage2_conv"),
        layers.MaxPooling2D(3, name="stage2_pool"), layers.Flatten(name="features"),
        layers.Dense(150, activation, kernel_initializer="random_uniform", name="hidden"),
        layers.Dense(num_classes, kernel_initializer="random_uniform", name="logits")], name="mcdnn_column")


def normalised_convnet(input_shape=(28, 28, 1), num_classes=10, *, filters=(32, 64, 128), dropout=0.3,
                       normalised=True):
    """Per stage two 3x3 convolutions, each with batch normalisation and relu, and 2x2 max-pooling.

    The first stage's convolutions are valid, which trims the empty margin of a digit (28 to 24
    pixels), the other stages' are padded (12 and 6). After the last stage, the mean over its
    3x3 places, dropout and the output layer: best_mnist's network, ours.
    Shapes: float (B, H, W, C) in [0, 1] -> (B, num_classes) logits.
    Parameters: 289,066, of which 896 are moving statistics; 21,429,632 multiply-adds per image.
    dropout: probability that one of the features before the output layer is dropped, in [0, 1).
    normalised: False for biases in place of batch normalisation.
    Raises ValueError for a width below 1, a dropout out of range, or an image that the stages
    shrink away.
    """
    if not filters or any(width < 1 for width in (*filters, num_classes)):
        raise ValueError("filters must be at least one width, and all widths at least 1. "
                         f"Received: filters={filters}, num_classes={num_classes}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1). Received: {dropout}")
    smallest = 4 + 2 ** len(filters)
    if min(input_shape[:2]) < smallest:
        raise ValueError(f"{len(filters)} stages need images of at least {smallest}x{smallest} pixels. "
                         f"Received: input_shape={tuple(input_shape)}")
    stack = [keras.Input(input_shape, name="image")]
    for stage, width in enumerate(filters, 1):
        for number in (1, 2):
            name = f"stage{stage}_conv{number}"
            stack.append(layers.Conv2D(width, 3, padding="valid" if stage == 1 else "same",
                                       use_bias=not normalised, kernel_initializer="he_normal", name=name))
            if number == 2:                  # before the other two, for a quarter of their work
                stack.append(layers.MaxPooling2D(2, name=f"stage{stage}_pool"))
            if normalised:
                stack.append(layers.BatchNormalization(momentum=0.95, name=f"{name}_bn"))
            stack.append(layers.Activation("relu", name=f"{name}_relu"))
    stack.append(layers.GlobalAveragePooling2D(name="features"))
    if dropout:
        stack.append(layers.Dropout(dropout, name="dropout"))
    stack.append(layers.Dense(num_classes, name="logits"))
    return keras.Sequential(stack, name="normalised_convnet")


def smallest_side(stages):
    """The least image side, in pixels, that so many 5x5 valid convolutions and 2x2 poolings allow."""
    side = 1
    for _ in range(stages):
        side = 2 * side + 4
    return side


@keras.saving.register_keras_serializable("models")
class Bias(layers.Layer):
    """Adds one learned number per channel, drawn from N(0, stddev^2): (..., C) -> (..., C).

    A layer of its own because it comes after pooling here. With max-pooling the result is
    that of a bias before it, for a quarter of the additions.
    """

    def __init__(self, stddev=1.0, **kwargs):
        super().__init__(**kwargs)
        self.stddev = stddev
        self.initializer = keras.initializers.RandomNormal(stddev=stddev)    # draws its seed here

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(input_shape[-1],), name="bias", initializer=self.initializer)

    def call(self, x):
        return ops.add(x, self.bias)

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev}


@keras.saving.register_keras_serializable("models")
class L2Pooling2D(layers.Layer):
    """The square root of the sum of squares over windows: (B, H, W, C) -> (B, H // size, W // size, C)."""

    def __init__(self, pool_size=2, **kwargs):
        super().__init__(**kwargs)
        self.pool_size = pool_size

    def call(self, x):
        total = self.pool_size ** 2 * ops.average_pool(ops.square(x), self.pool_size)
        return ops.sqrt(ops.maximum(total, 1e-12))               # the gradient at 0 stays finite

    def get_config(self):
        return {**super().get_config(), "pool_size": self.pool_size}


POOLINGS = {"max": layers.MaxPooling2D, "l2": L2Pooling2D}
