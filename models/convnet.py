"""Convolutional networks for small grey images."""
import math

import keras
from keras import layers, ops


def nielsen_convnet(input_shape=(28, 28, 1), num_classes=10, *, filters=(20, 40), hidden=(100,),
                    activation="relu", pooling="max", dropout=0.0):
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
    Raises ValueError for an image that the stages shrink away, or an argument out of range.
    """
    if any(width < 1 for width in (*filters, *hidden, num_classes)):
        raise ValueError("widths must be at least 1. "
                         f"Received: filters={filters}, hidden={hidden}, num_classes={num_classes}")
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}. Received: {pooling!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1). Received: {dropout}")
    smallest = smallest_side(len(filters))
    if min(input_shape[:2]) < smallest:
        raise ValueError(f"{len(filters)} stages need images of at least {smallest}x{smallest} pixels. "
                         f"Received: input_shape={tuple(input_shape)}")

    def normal(fan_out):
        return keras.initializers.RandomNormal(stddev=1 / math.sqrt(fan_out))

    model = keras.Sequential([keras.Input(input_shape, name="image")], name="nielsen_convnet")
    for stage, width in enumerate(filters, 1):                   # 28x28 -> 12x12 -> 4x4
        model.add(layers.Conv2D(width, 5, use_bias=False, kernel_initializer=normal(width * 25 / 4),
                                name=f"stage{stage}_conv"))
        model.add(POOLINGS[pooling](2, name=f"stage{stage}_pool"))
        model.add(Bias(name=f"stage{stage}_bias"))
        model.add(layers.Activation(activation, name=f"stage{stage}"))
    model.add(layers.Flatten(name="features"))
    for index, width in enumerate(hidden, 1):
        if dropout:
            model.add(layers.Dropout(dropout, name=f"hidden{index}_dropout"))
        model.add(layers.Dense(width, activation, kernel_initializer=normal(width),
                               bias_initializer=keras.initializers.RandomNormal(stddev=1.0),
                               name=f"hidden{index}"))
    if dropout:
        model.add(layers.Dropout(dropout, name="logits_dropout"))
    model.add(layers.Dense(num_classes, kernel_initializer="zeros", name="logits"))
    return model


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

    model = keras.Sequential([keras.Input(input_shape, name="image")], name="fast_convnet")
    for stage, (width, size) in enumerate(zip(filters, (5, 3), strict=True), 1):   # 28x28 -> 12x12 -> 5x5
        for layer in (layers.Conv2D(width, size, use_bias=False, kernel_initializer="he_normal",
                                    name=f"stage{stage}_conv"),
                      layers.MaxPooling2D(2, name=f"stage{stage}_pool"), *normalised(f"stage{stage}")):
            model.add(layer)
    for layer in (layers.Flatten(name="features"),
                  layers.Dense(hidden, use_bias=False, kernel_initializer="he_normal", name="hidden_dense"),
                  *normalised("hidden"), layers.Dense(num_classes, name="logits")):
        model.add(layer)
    return model


def smallest_side(stages):
    """The least image side, in pixels, that so many 5x5 valid convolutions and 2x2 poolings allow."""
    side = 1
    for _ in range(stages):
        side = 2 * side + 4
    return side


@keras.saving.register_keras_serializable("models")
class Bias(layers.Layer):
    """Adds one learned number per channel, drawn from N(0, 1): (..., C) -> (..., C).

    A layer of its own because it comes after pooling here. With max-pooling the result is
    that of a bias before it, for a quarter of the additions.
    """

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(input_shape[-1],), name="bias",
                                    initializer=keras.initializers.RandomNormal(stddev=1.0))

    def call(self, x):
        return ops.add(x, self.bias)


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
