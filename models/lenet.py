"""LeCun's convolutional networks for digits, and the layers that only they have."""
import math

import keras
from keras import initializers, layers, ops

# Which of the six maps each of LeNet-5's sixteen maps of C3 reads (LeCun et al. 1998, Table I).
C3_READS = ((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
            (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
            (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5))
# LeNet-1's twelve: each pair of maps is read by four together and by one of each alone.
H3_READS = ((0,), (0, 1), (0, 1), (1,), (0, 1), (0, 1), (2,), (2, 3), (2, 3), (3,), (2, 3), (2, 3))

# The ten digits as drawings of 12 rows of 7 pixels: the codes that the units of F6 are to take.
DRAWINGS = """
 ..###.. ...#... .#####. .#####. ....##. ####### ..####. ####### .#####. .#####.
 .##.##. ..##... ##...## ##...## ...###. ##..... .##.... ##...## ##...## ##...##
 ##...## .###... .....## .....## ..####. ##..... ##..... .....## ##...## ##...##
 ##...## ...#... .....## .....## .##.##. ##..... ##..... ....##. ##...## ##...##
 ##...## ...#... ....##. ...###. ##..##. ######. ######. ....##. .#####. ##...##
 ##...## ...#... ...##.. .....## ####### .....## ##...## ...##.. .#####. .######
 ##...## ...#... ..##... .....## ....##. .....## ##...## ...##.. ##...## .....##
 ##...## ...#... .##.... .....## ....##. .....## ##...## ..##... ##...## .....##
 ##...## ...#... ##..... ##...## ....##. ##...## ##...## ..##... ##...## ....##.
 .##.##. .#####. ####### .#####. ....##. .#####. .#####. ..##... .#####. .####..
 ..###.. ....... ....... ....... ....... ....... ....... ....... ....... .......
 ....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""


@keras.saving.register_keras_serializable("models")
def scaled_tanh(x):
    """1.7159 tanh(2 x / 3): takes -1 and 1 to themselves, where its curvature is largest (LeCun 1998)."""
    return 1.7159 * ops.tanh(2 / 3 * x)


def lenet1(input_shape=(28, 28, 1), num_classes=10):
    """LeNet-1: two convolutions of partly connected maps, each averaged 2x2, and one dense layer.

    Source: LeCun et al. 1990, "Handwritten digit recognition with a back-propagation network".
    Shapes: float (B, H, W, 1), about -0.1 to 1.175 -> (B, num_classes) logits.
    Parameters: 2,578 = 104 + 8 + 512 + 24 + 1,930. Connections: 98,442.
    The number of maps that each map of the second convolution reads (eight read two, four
    read one) follows from the counts; which ones they are is our reading of the paper.
    Raises ValueError for images that the stages do not divide.
    """
    return keras.Sequential([
        keras.Input(input_shape, name="image"), *stage(1, input_shape, (tuple(range(input_shape[2])),) * 4),
        *stage(2, after_stage(input_shape, 4), H3_READS), layers.Flatten(name="features"),
        dense(num_classes, math.prod(after_stage(after_stage(input_shape, 4), 12)), None, "logits"),
    ], name="lenet1")


def lenet5(input_shape=(32, 32, 1), num_classes=10, *, output="codes"):
    """LeNet-5 as published: partly connected C3, learned subsampling, 1.7159 tanh(2 a / 3).

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", II B.
    Shapes: float (B, 32, 32, 1), black -0.1 and white 1.175 -> (B, num_classes) logits.
    Parameters: 60,000 trainable = C1 156 + S2 12 + C3 1,516 + S4 32 + C5 48,120 + F6 10,164;
    with the 840 fixed ones of the output 340,908 connections.
    output: "codes" are radial basis units, whose logit is minus the squared distance of F6 from
    the drawing of a digit in 7x12 pixels of -1 and +1, fixed; the drawings here are ours.
    "dense" is a dense layer instead, for any classes: 850 more trainable parameters for ten.
    Raises ValueError for another output, codes for other than 10 classes, or images whose C5 is
    not one pixel.
    """
    if output not in ("codes", "dense"):
        raise ValueError(f'output must be "codes" or "dense". Received: {output!r}')
    if output == "codes" and num_classes != 10:
        raise ValueError('the codes are drawings of the 10 digits; take output="dense" for other classes. '
                         f"Received: num_classes={num_classes}")
    last = after_stage(after_stage(input_shape, 6), 16)
    if last[:2] != (5, 5):
        raise ValueError("LeNet-5 takes images of 32x32 pixels; models.on_images frames smaller ones. "
                         f"Received: input_shape={tuple(input_shape)}")
    return keras.Sequential([
        keras.Input(input_shape, name="image"), *stage(1, input_shape, (tuple(range(input_shape[2])),) * 6),
        *stage(2, after_stage(input_shape, 6), C3_READS),
        layers.Flatten(name="features"), dense(120, math.prod(last), scaled_tanh, "c5"),
        dense(84, 120, scaled_tanh, "f6"),
        Codes(name="logits") if output == "codes" else dense(num_classes, 84, None, "logits"),
    ], name="lenet5")


def modern_lenet5(input_shape=(32, 32, 1), num_classes=10, *, activation="relu"):
    """LeNet-5 as it is taught today: full connections, max-pooling, relu, a dense output.

    Shapes: float (B, 32, 32, C) in [0, 1] -> (B, num_classes) logits.
    Parameters: 61,706 = 156 + 2,416 + 48,120 + 10,164 + 850; 416,520 multiply-adds.
    Raises ValueError for images under 16x16 pixels, which the stages shrink away.
    """
    if min(input_shape[:2]) < 16:
        raise ValueError("the two stages need images of at least 16x16 pixels. "
                         f"Received: input_shape={tuple(input_shape)}")
    stack = [keras.Input(input_shape, name="image")]
    for number, filters in enumerate((6, 16), 1):
        stack.append(layers.Conv2D(filters, 5, activation=activation, name=f"stage{number}_conv"))
        stack.append(layers.MaxPooling2D(2, name=f"stage{number}_pool"))
    stack.append(layers.Flatten(name="features"))
    for number, width in enumerate((120, 84), 1):
        stack.append(layers.Dense(width, activation, name=f"hidden{number}"))
    stack.append(layers.Dense(num_classes, name="logits"))
    return keras.Sequential(stack, name="modern_lenet5")


def stage(number, shape, reads):
    """A 5x5 convolution, without squashing as in the paper, and the squashed subsampling of its maps."""
    if any(side < 6 or side % 2 for side in shape[:2]):
        raise ValueError(f"stage {number} needs an even number of pixels, at least 6. "
                         f"Received: {shape[0]}x{shape[1]}")
    return (PartialConv2D(reads, 5, name=f"stage{number}_conv"),
            Subsampling2D(name=f"stage{number}_subsampling"),
            layers.Activation(scaled_tanh, name=f"stage{number}"))


def after_stage(shape, filters):
    """(H, W, C) after a valid 5x5 convolution and 2x2 subsampling."""
    return ((shape[0] - 4) // 2, (shape[1] - 4) // 2, filters)


def lecun_uniform(fan_in):
    """U(-2.4 / F, 2.4 / F) for units of F inputs (LeCun et al. 1998, appendix A)."""
    return initializers.RandomUniform(-2.4 / fan_in, 2.4 / fan_in)


def dense(units, fan_in, activation, name):
    """A Dense layer (B, fan_in) -> (B, units) whose weights and biases are both drawn by lecun_uniform."""
    return layers.Dense(units, activation, kernel_initializer=lecun_uniform(fan_in),
                        bias_initializer=lecun_uniform(fan_in), name=name)


@keras.saving.register_keras_serializable("models")
class PartialConv2D(layers.Layer):
    """A valid convolution whose maps read some of the input's maps: (B, H, W, C) -> (B, H', W', len(reads)).

    reads: for each map of the result, the input maps that it reads. Only their kernels are
    weights: kernel (size, size, number of connections), in the order of reads.
    """

    def __init__(self, reads, size, **kwargs):
        super().__init__(**kwargs)
        self.reads, self.size = tuple(tuple(maps) for maps in reads), size

    def build(self, input_shape):
        channels = input_shape[-1]
        if any(not 0 <= source < channels for maps in self.reads for source in maps):
            raise ValueError(f"reads must name maps 0 to {channels - 1} of the input. Received: {self.reads}")
        fan_in = [self.size ** 2 * len(maps) for maps in self.reads]
        connections = sum(map(len, self.reads))
        self.kernel = self.add_weight(shape=(self.size, self.size, connections), name="kernel",
                                      initializer=lecun_uniform(sum(fan_in) / len(fan_in)))
        self.bias = self.add_weight(shape=(len(self.reads),), name="bias",
                                    initializer=lecun_uniform(sum(fan_in) / len(fan_in)))
        # A one in the place of each connection in the full (C x maps) kernel.
        places = [source * len(self.reads) + target
                  for target, maps in enumerate(self.reads) for source in maps]
        self.places = [[float(place == other) for other in range(channels * len(self.reads))]
                       for place in places]

    def call(self, x):
        full = ops.matmul(self.kernel, ops.convert_to_tensor(self.places, dtype=self.kernel.dtype))
        full = ops.reshape(full, (self.size, self.size, -1, len(self.reads)))
        return ops.conv(x, ops.cast(full, x.dtype)) + ops.cast(self.bias, x.dtype)

    def get_config(self):
        return {**super().get_config(), "reads": self.reads, "size": self.size}


@keras.saving.register_keras_serializable("models")
class Subsampling2D(layers.Layer):
    """Sums over 2x2 windows, times a learned coefficient, plus a bias: (B, H, W, C) -> (B, H/2, W/2, C)."""

    def build(self, input_shape):
        self.coefficient = self.add_weight(shape=(input_shape[-1],), name="coefficient",
                                           initializer=lecun_uniform(4))
        self.bias = self.add_weight(shape=(input_shape[-1],), name="bias", initializer=lecun_uniform(4))

    def call(self, x):
        return 4 * ops.average_pool(x, 2) * self.coefficient + self.bias


@keras.saving.register_keras_serializable("models")
class Codes(layers.Layer):
    """Minus the squared distance from each of ten fixed codes: (B, 84) -> (B, 10)."""

    def build(self, input_shape):
        self.codes = self.add_weight(shape=(84, 10), name="codes", trainable=False, initializer="zeros")
        self.codes.assign(list(map(list, zip(*drawn_codes(), strict=True))))

    def call(self, x):
        # |x - w|^2 = |x|^2 - 2 x w + 84, as a product instead of (B, 84, 10) differences.
        return 2 * ops.matmul(x, self.codes) - ops.sum(ops.square(x), axis=-1, keepdims=True) - 84.0


def drawn_codes():
    """Ten lists of 84 numbers, -1 and +1: DRAWINGS row by row."""
    rows = [line.split() for line in DRAWINGS.strip().splitlines()]
    return [[1.0 if pixel == "#" else -1.0 for row in rows for pixel in row[digit]] for digit in range(10)]
