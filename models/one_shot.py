"""Networks that compare images, for classes of which there are one or a few examples."""
import keras
import numpy as np
from keras import layers, ops

from models.classifier import image_input

# Of a character as it is, turned and leaning (degrees), and smaller and larger: our choice.
VIEWS = ((0, 0, 1), (8, 0, 1), (-8, 0, 1), (0, 10, 1), (0, -10, 1), (0, 0, 0.9), (0, 0, 1.1))


def siamese(input_shape=(105, 105, 1), *, filters=(64, 128, 128, 256), kernels=(10, 7, 4, 4), features=4096,
            normalised=False):
    """Koch's twin network: are these two images of the same character?

    Source: Koch, Zemel and Salakhutdinov 2015, Siamese neural networks for one-shot image
    recognition, figure 4. Per stage a valid convolution, relu and, but for the last, 2x2
    max-pooling; a layer of sigmoids; the distance sum_j w_j |h1_j - h2_j| + b of both.
    Shapes: two float (B, H, W, C), strokes 1 on 0 -> (B, 1) logits, above 0 for "the same".
    Parameters: 38,951,745; the last maps are 6x6x256, 9,216 numbers.
    Weights begin as published: convolutions N(0, .01), the dense layer N(0, .2), biases N(.5, .01);
    the weights of the distance, of which the paper says nothing, at Keras's default.
    normalised: our departure for small widths: batch normalisation in place of the biases, before
    every activation, and He's first weights.
    The nested model "twin" gives the features of one image: (B, H, W, C) -> (B, features) in [0, 1].
    Raises ValueError for a width below 1, kernels of another number than filters, or images that the
    stages shrink away.
    """
    if len(kernels) != len(filters) or not filters or any(n < 1 for n in (*filters, *kernels, features)):
        raise ValueError("filters and kernels must be equally many, at least one, and all sizes at least 1. "
                         f"Received: filters={filters}, kernels={kernels}, features={features}")
    smallest = 1
    for stage, kernel in enumerate(reversed(kernels)):
        smallest = (2 * smallest if stage else smallest) + kernel - 1
    image = x = image_input(input_shape, smallest=smallest)

    def start(stddev):
        return {} if normalised else {"kernel_initializer": keras.initializers.RandomNormal(stddev=stddev),
                                      "bias_initializer": keras.initializers.RandomNormal(0.5, 0.01)}

    for stage, (width, kernel) in enumerate(zip(filters, kernels, strict=True), 1):
        options = {"use_bias": False, "kernel_initializer": "he_normal"} if normalised else start(0.01)
        x = layers.Conv2D(width, kernel, name=f"stage{stage}_conv", **options)(x)
        if normalised:
            x = layers.BatchNormalization(momentum=0.9, name=f"stage{stage}_bn")(x)
        last = stage == len(filters)
        x = layers.Activation("relu", name=f"stage{stage}" if last else f"stage{stage}_relu")(x)
        if not last:
            x = layers.MaxPooling2D(2, name=f"stage{stage}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(features, use_bias=not normalised, name="features_dense", **start(0.2))(x)
    if normalised:
        x = layers.BatchNormalization(momentum=0.9, name="features_bn")(x)
    twin = keras.Model(image, layers.Activation("sigmoid", name="features")(x), name="twin")

    first, second = (keras.Input(image.shape[1:], name=name) for name in ("first", "second"))
    distance = ops.absolute(layers.Subtract(name="difference")([twin(first), twin(second)]))
    same = layers.Dense(1, dtype="float32", name="logits")(distance)
    return keras.Model([first, second], same, name="siamese")


def prototypical(input_shape=(28, 28, 1), *, filters=(64, 64, 64, 64), pool_first=False):
    """The embedding of prototypical networks: per stage 3x3 convolution, normalisation, relu, 2x2 pooling.

    Source: Snell, Swersky and Zemel 2017, Prototypical networks for few-shot learning,
    arXiv:1703.05175, section 3.1; the same as Vinyals et al. 2016, matching networks.
    Shapes: float (B, H, W, C), strokes 1 on 0 -> (B, h w filters[-1]); 28x28 -> (B, 64).
    Parameters: 112,448, of which 111,936 are trained and 512 are moving statistics.
    pool_first: our departure: pooling comes before normalisation and relu, which saves two fifths of
    the time. Where the scale is positive only the statistics differ.
    Raises ValueError for a width below 1, or images that the poolings shrink away.
    """
    if not filters or any(width < 1 for width in filters):
        raise ValueError(f"filters must be at least one width, all at least 1. Received: filters={filters}")
    image = x = image_input(input_shape, smallest=2 ** len(filters))
    for stage, width in enumerate(filters, 1):                        # 28x28 -> 14x14 -> 7x7 -> 3x3 -> 1x1
        x = layers.Conv2D(width, 3, padding="same", name=f"stage{stage}_conv")(x)
        if pool_first:
            x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"stage{stage}_bn")(x)
        x = layers.Activation("relu", name=f"stage{stage}" if pool_first else f"stage{stage}_relu")(x)
        if not pool_first:
            x = layers.MaxPooling2D(2, name=f"stage{stage}")(x)
    return keras.Model(image, layers.Flatten(dtype="float32", name="features")(x), name="prototypical")


def viewed(images, turn, lean, scale):
    """Images (N, H, W, C) turned, sheared and scaled about their centre; black moves in.

    turn, lean: degrees.  scale: above 1 is larger.
    """
    if (turn, lean, scale) == VIEWS[0]:
        return images
    angle, slope = np.radians(turn), np.tan(np.radians(lean))
    matrix = np.array([[1, slope], [0, 1]]) @ [[np.cos(angle), -np.sin(angle)],
                                               [np.sin(angle), np.cos(angle)]] / scale
    centre = (np.array([images.shape[2], images.shape[1]]) - 1) / 2                  # right, down
    rows = np.concatenate([matrix, (centre - matrix @ centre)[:, None]], axis=1)
    return ops.image.affine_transform(images, np.float32([*rows.reshape(-1), 0, 0]))
