"""The network of the CIFAR-10 speed records, and its whitening layer."""
import keras
import numpy as np
from keras import layers

from models.classifier import image_input
from models.normalised import ONES, ZEROS, scaled_classifier
from models.weights import weighted

PATCH = 2                        # pixels: the side of what the whitening layer reads


def airbench94(input_shape=(32, 32, 3), num_classes=10, *, widths=(64, 256, 256), residual=False,
               scale=1 / 9, include_top=True, classifier_activation=None, weights=None):
    """A whitening layer and three groups of convolutions: 94 % on CIFAR-10 in seconds on a GPU.

    Source: Jordan 2024, arXiv:2404.00498, and github.com/KellerJordan/cifar10-airbench.
    Shapes: float (B, H, W, C), 9x9 or larger or None, standardised -> (B, num_classes) logits;
    without its top (B, 3, 3, 256) for 32x32. stem, stage1 to stage3 name the layers that end them.
    Parameters: 1,973,944, of which 1,971,352 trainable; 118,147,360 multiply-adds.
    widths: of the three groups; airbench95 has (128, 384, 384).  residual: a third convolution in
    each group and a shortcut around the last two; airbench96 has it, and (128, 512, 512) or
    (128, 384, 512).  scale: that of the features, and so of the logits; airbench94_muon has 1/256.
    The kernels of "whitening" are no weights to train: set_whitening takes them from images; its
    biases, layer "whitening_bias", are trained during the first epochs only. Convolutions begin as
    the identity of as many maps as they read; normalisation has an offset and no scale, and a
    memory of few batches.
    Raises ValueError for other than three widths, or too small an image.
    """
    if len(widths) != 3 or any(width < 1 for width in widths):
        raise ValueError(f"widths must be three numbers of at least 1. Received: {widths}")
    image = image_input(input_shape, num_classes, smallest=9)
    x = layers.Conv2D(2 * PATCH ** 2 * input_shape[2], PATCH, use_bias=False, trainable=False,
                      name="whitening")(image)                           # 32x32 -> 31x31
    x = gelu(Offset(name="whitening_bias")(x), "stem")
    for stage, width in enumerate(widths, 1):                            # -> 15x15 -> 7x7 -> 3x3
        name = f"stage{stage}"
        x = identity_convolution(x, width, f"{name}_conv1")
        x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
        x = shortcut = gelu(offset_normalised(x, f"{name}_bn1"), f"{name}_gelu1")
        x = offset_normalised(identity_convolution(x, width, f"{name}_conv2"), f"{name}_bn2")
        if residual:
            x = identity_convolution(gelu(x, f"{name}_gelu2"), width, f"{name}_conv3")
            x = layers.Add(name=f"{name}_add")([offset_normalised(x, f"{name}_bn3"), shortcut])
        x = gelu(x, name)
    model = scaled_classifier(image, x, num_classes, scale, include_top, classifier_activation, "airbench94")
    return weighted(model, weights)


def set_whitening(model, images, *, epsilon=5e-4):
    """Gives the layer "whitening" the principal components of the 2x2 patches of images, and their negatives.

    Each is divided by the square root of its variance + epsilon, so that all maps vary alike.
    images: float (N, H, W, C) as the model takes them; the authors use the first 5,000.
    Raises ValueError if their channels are not the model's.
    """
    images = np.asarray(images, "float32")
    kernel = model.get_layer("whitening").kernel
    if images.ndim != 4 or images.shape[-1] != kernel.shape[2] or min(images.shape[1:3]) < PATCH:
        raise ValueError(f"images must be (N, height, width, {kernel.shape[2]}). Received: {images.shape}")
    height, width = images.shape[1] - PATCH + 1, images.shape[2] - PATCH + 1
    patches = np.stack([images[:, i:i + height, j:j + width] for i in range(PATCH) for j in range(PATCH)],
                       axis=3).reshape(-1, PATCH ** 2 * images.shape[-1])         # a patch row by row
    variances, components = np.linalg.eigh(patches.T @ patches / len(patches))    # of columns, ascending
    filters = components[:, ::-1] / np.sqrt(variances[::-1] + epsilon)
    kernel.assign(np.concatenate([filters, -filters], axis=1).reshape(kernel.shape))


def gelu(x, name):
    """x Phi(x), exact and not by tanh, of the shape of x, as the layer of that name."""
    return layers.Activation(keras.activations.gelu, name=name)(x)


def offset_normalised(x, name):
    """Batch normalisation of (B, h, w, C) without a scale, in airbench's momentum and epsilon."""
    return layers.BatchNormalization(momentum=0.6, epsilon=1e-12, scale=False, beta_initializer=ZEROS,
                                     moving_mean_initializer=ZEROS, moving_variance_initializer=ONES,
                                     name=name)(x)


def identity_convolution(x, width, name):
    """A 3x3 convolution (B, h, w, C) -> (B, h, w, width) without bias that copies the C maps at first."""
    return layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer=PartialIdentity(),
                         name=name)(x)


@keras.saving.register_keras_serializable("models")
class PartialIdentity(keras.initializers.Initializer):
    """Kernels (h, w, C, maps) whose first C maps copy the input; the others are U(-1, 1) / sqrt(h w C)."""

    def __init__(self, seed=None):
        self.others = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed)

    def __call__(self, shape, dtype=None):
        dtype = dtype or keras.config.floatx()
        height, width, channels, maps = shape
        identity = np.zeros(shape, "float32")
        copies = np.arange(min(channels, maps))
        identity[height // 2, width // 2, copies, copies] = 1
        random = (np.arange(maps) >= channels).astype("float32")         # maps that do not copy
        return keras.ops.cast(identity, dtype) + self.others(shape, dtype) * keras.ops.cast(random, dtype)

    def get_config(self):
        return {"seed": self.others.get_config()["seed"]}


@keras.saving.register_keras_serializable("models")
class Offset(layers.Layer):
    """Adds one learned number per channel, zero at first: (..., C) -> (..., C).

    The bias of a convolution whose kernels are fixed, in a layer that can be fixed by itself.
    """

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(input_shape[-1],), name="bias", initializer="zeros")

    def call(self, x):
        return keras.ops.add(x, self.bias)

    def compute_output_shape(self, input_shape):
        return input_shape
