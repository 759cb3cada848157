"""AlexNet, its one-tower successor, and the two layers that came with it."""
import keras
from keras import backend, layers, ops

from models.classifier import flattened, image_input, logits
from models.weights import weighted

NORMAL = keras.initializers.RandomNormal(stddev=0.01)            # section 5 of the paper, all layers


def alexnet(input_shape=(227, 227, 3), num_classes=1000, *, groups=2, stem_kernel=11, stem_stride=4,
            activation="relu", response_normalization=True, pool_size=3, hidden=(4096, 4096), dropout=0.5,
            kernel_initializer=NORMAL, include_top=True, classifier_activation=None, weights=None):
    """Five convolutions, three poolings and three dense layers: the network of ILSVRC-2012.

    Source: Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep
    convolutional neural networks", section 3; first weights of section 5.
    Shapes: float (B, H, W, C), the mean image subtracted -> (B, num_classes) logits; maps of 55x55,
    27x27, 13x13 and 6x6. Without the top, which allows (None, None, C): (B, 6, 6, 256).
    Parameters: 60,965,224, of which the convolutions have 2,334,080; 724,406,816 multiply-adds.
    With groups=1 62,378,344 and 1,135,256,096. The paper says images of 224x224, but its map of
    55x55 needs 227x227 without padding. Other sizes change the first dense layer alone.

    groups: 2 as published, where two GPUs had half of the maps each, and the second, fourth and
    fifth convolution read those of their own GPU only; 1 for all of them.
    stem_kernel, stem_stride: of the first convolution, in pixels. 32x32 images, which 11 and 4 leave
    nothing of, pass with 5 and 1 as maps of 28x28, 13x13, 6x6 and 2x2. This, as any other value of
    what follows, is no longer the network of the paper.
    activation, response_normalization, pool_size (every 2 pixels, so that 3 overlaps and 2 does
    not), dropout (of the outputs of the hidden dense layers): what sections 3 and 4 compare.
    hidden: widths of the dense layers before the output layer.
    kernel_initializer: N(0, .01) as published, by default; where another one is given, the first
    convolution, which is made for pixels of 0 to 255, and the output layer still begin with it. The
    biases of the second, fourth and fifth convolution and of the hidden dense layers begin
    at 1, the others at 0.
    Raises ValueError for an argument out of range, or images that leave nothing of the last map: under
    67x67, for a stem of 5 and 1 under 19x19.
    """
    if groups not in (1, 2):
        raise ValueError(f"groups must be 1 or 2. Received: groups={groups}")
    if pool_size not in (2, 3):
        raise ValueError("pool_size must be 3, which overlaps, or 2, which does not. "
                         f"Received: pool_size={pool_size}")
    if stem_kernel < 1 or stem_stride < 1:
        raise ValueError("stem_kernel and stem_stride must be at least 1. "
                         f"Received: stem_kernel={stem_kernel}, stem_stride={stem_stride}")
    image = image_input(input_shape, num_classes,
                        smallest=stem_stride * (before_poolings(pool_size) - 1) + stem_kernel)

    def convolved(x, filters, size, name, *, stride=1, padding="same", groups=1, bias="ones",
                  kernel=kernel_initializer):
        x = GroupedConv2D(filters, size, stride, padding, groups=groups, kernel_initializer=kernel,
                          bias_initializer=bias, name=name)(x)
        return layers.Activation(activation, name=f"{name}_activation")(x)

    def pooled(x, stage, normalized):
        if normalized:
            x = LocalResponseNormalization(name=f"stage{stage}_lrn")(x)
        return layers.MaxPooling2D(pool_size, 2, name=f"stage{stage}")(x)

    x = convolved(image, 96, stem_kernel, "stage1_conv", stride=stem_stride, padding="valid", bias="zeros",
                  kernel=NORMAL)
    x = pooled(x, 1, response_normalization)                                       # 55x55 -> 27x27
    x = convolved(x, 256, 5, "stage2_conv", groups=groups)
    x = pooled(x, 2, response_normalization)                                       # -> 13x13
    x = convolved(x, 384, 3, "stage3_conv1", bias="zeros")
    x = convolved(x, 384, 3, "stage3_conv2", groups=groups)
    x = convolved(x, 256, 3, "stage3_conv3", groups=groups)
    x = pooled(x, 3, normalized=False)                                             # -> 6x6
    if include_top:
        x = flattened(x)
        for index, width in enumerate(hidden, 1):
            x = layers.Dense(width, kernel_initializer=kernel_initializer, bias_initializer="ones",
                             name=f"hidden{index}")(x)
            x = layers.Activation(activation, name=f"hidden{index}_activation")(x)
            x = layers.Dropout(dropout, name=f"hidden{index}_dropout")(x)
        x = logits(x, num_classes, activation=classifier_activation, kernel_initializer=NORMAL)
    return weighted(keras.Model(image, x, name="alexnet"), weights)


def alexnet_owt(input_shape=(224, 224, 3), num_classes=1000, *, hidden=(4096, 4096), dropout=0.5,
                include_top=True, classifier_activation=None, weights=None):
    """AlexNet as one tower without response normalisation: the one whose weights torchvision ships.

    Source: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks",
    arXiv:1404.5997, section 5, with the 256 filters of torchvision's last convolution.
    Shapes: float (B, H, W, C) -> (B, num_classes) logits; maps of 55x55, 27x27, 13x13 and 6x6.
    Without the top, which allows (None, None, C): (B, 6, 6, 256).
    Parameters: 61,100,840; 714,188,480 multiply-adds.
    A layer for each of torchvision's modules, in its order, dropout before each hidden dense layer
    included; the rows of the kernel of hidden1 are in another order (see classifier.flattened). Where
    torchvision averages other maps to 6x6, hidden1 has other rows here.
    weights: a file, torchvision's too; see models.weighted.
    Raises ValueError for images under 63x63.
    """
    image = image_input(input_shape, num_classes, smallest=4 * (before_poolings(3) - 1) + 11 - 2 * 2)
    x = layers.ZeroPadding2D(2, name="stage1_pad")(image)
    for name, filters, size, stride, pooled in (
            ("stage1_conv", 64, 11, 4, True), ("stage2_conv", 192, 5, 1, True),
            ("stage3_conv1", 384, 3, 1, False), ("stage3_conv2", 256, 3, 1, False),
            ("stage3_conv3", 256, 3, 1, True)):
        x = layers.Conv2D(filters, size, stride, "valid" if stride > 1 else "same",
                          kernel_initializer="he_uniform", name=name)(x)
        x = layers.ReLU(name=f"{name}_relu")(x)
        if pooled:
            x = layers.MaxPooling2D(3, 2, name=name.partition("_")[0])(x)
    if include_top:
        x = flattened(x)
        for index, width in enumerate(hidden, 1):
            x = layers.Dropout(dropout, name=f"hidden{index}_dropout")(x)
            x = layers.Dense(width, kernel_initializer="he_uniform", name=f"hidden{index}")(x)
            x = layers.ReLU(name=f"hidden{index}_relu")(x)
        x = logits(x, num_classes, activation=classifier_activation)
    return weighted(keras.Model(image, x, name="alexnet_owt"), weights)


def before_poolings(pool_size, poolings=3):
    """The least side of a map, in pixels, that so many poolings of stride 2 leave one pixel of."""
    side = 1
    for _ in range(poolings):
        side = 2 * (side - 1) + pool_size
    return side


@keras.saving.register_keras_serializable("models")
class LocalResponseNormalization(layers.Layer):
    """x_i / (k + alpha * (x_j squared, summed over the n channels around i)) ^ beta: (..., C) -> (..., C).

    Section 3.3 of the AlexNet paper, with its constants. alpha is not divided by n: the paper and
    TensorFlow do not, Caffe and PyTorch do. In float32 at least, whatever the layer's precision.
    Raises ValueError for an even n, which has no middle.
    """

    def __init__(self, n=5, k=2.0, alpha=1e-4, beta=0.75, **kwargs):
        super().__init__(**kwargs)
        if n < 1 or n % 2 == 0:
            raise ValueError(f"n, the number of channels around and with one, must be odd. Received: n={n}")
        self.n, self.k, self.alpha, self.beta = n, k, alpha, beta

    def call(self, x):
        narrow, x = x.dtype, ops.cast(x, backend.result_type(x.dtype, "float32"))
        # As a product with a band of ones: a quarter of the time of a sum of n shifted copies.
        channel = ops.arange(x.shape[-1])
        band = ops.cast(ops.abs(channel[:, None] - channel) <= self.n // 2, x.dtype)
        scale = self.k + self.alpha * ops.matmul(ops.square(x), band)
        if self.beta == 0.75:                                   # without powers, a third of the time
            root = ops.rsqrt(scale)
            x = x * root * ops.sqrt(root)
        else:
            x = x * ops.power(scale, -self.beta)
        return ops.cast(x, narrow)

    def get_config(self):
        return {**super().get_config(), "n": self.n, "k": self.k, "alpha": self.alpha, "beta": self.beta}


@keras.saving.register_keras_serializable("models")
class GroupedConv2D(layers.Conv2D):
    """keras.layers.Conv2D, its groups as convolutions of their own, for channels last.

    TensorFlow has no grouped convolution on CPU but through XLA: with two groups, training took seven
    times as long as this.
    """

    def convolution_op(self, inputs, kernel):
        if self.groups == 1:
            return super().convolution_op(inputs, kernel)
        parts = zip(ops.split(inputs, self.groups, axis=-1), ops.split(kernel, self.groups, axis=-1),
                    strict=True)
        return ops.concatenate([ops.conv(x, own, self.strides, self.padding, self.data_format,
                                         self.dilation_rate) for x, own in parts], axis=-1)
