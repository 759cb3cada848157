"""VGG: stages of 3x3 convolutions, twice as many filters at half the size."""
import keras
from keras import layers

from models.classifier import flattened, image_input, logits
from models.weights import weighted

FILTERS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def vgg11(input_shape=(224, 224, 3), num_classes=1000, **options):
    """VGG-11, configuration A: 132,863,336 parameters, 7,609,090,048 multiply-adds; see vgg.

    With batch normalisation 132,868,840 that are trained.
    """
    return vgg(input_shape, num_classes, depth=11, **options)


def vgg13(input_shape=(224, 224, 3), num_classes=1000, **options):
    """VGG-13, configuration B: 133,047,848 parameters, 11,308,466,176 multiply-adds; see vgg.

    With batch normalisation 133,053,736 that are trained.
    """
    return vgg(input_shape, num_classes, depth=13, **options)


def vgg16(input_shape=(224, 224, 3), num_classes=1000, **options):
    """VGG-16, configuration D: 138,357,544 parameters, 15,470,264,320 multiply-adds; see vgg.

    14,714,688 of them are in the convolutions, 102,764,544 in the first dense layer. With batch
    normalisation 138,365,992 that are trained.
    """
    return vgg(input_shape, num_classes, depth=16, **options)


def vgg19(input_shape=(224, 224, 3), num_classes=1000, **options):
    """VGG-19, configuration E: 143,667,240 parameters, 19,632,062,464 multiply-adds; see vgg.

    With batch normalisation 143,678,248 that are trained.
    """
    return vgg(input_shape, num_classes, depth=19, **options)


def vgg(input_shape=(224, 224, 3), num_classes=1000, *, depth=16, batch_norm=False, pooling="flatten",
        hidden=(4096, 4096), dropout=0.5, kernel_initializer="glorot_uniform", include_top=True,
        classifier_activation=None, weights=None):
    """Five stages of one to four 3x3 convolutions and 2x2 max-pooling, then dense layers.

    Source: Simonyan and Zisserman 2015, arXiv:1409.1556, Table 1 (A, B, D and E for depth 11, 13,
    16 and 19).
    Shapes: float (B, H, W, C), the mean pixel subtracted -> (B, num_classes) logits; stage n ends
    with a map of H / 2^n, W / 2^n, rounded down. Without the top (B, H / 32, W / 32, 512). (None, None, C)
    without the top, or with pooling="average".
    batch_norm: between each convolution and its relu, as torchvision has it; the biases stay.
    pooling: "flatten" as published, or "average" over the places of the last map.
    hidden: widths of the dense layers before the output layer; dropout: of their outputs.
    Of 32x32 images the last map has one place, 1x1x512: with hidden=(512,) there are no more than
    262,656 parameters between it and the output layer, where the published head has 18,882,560.
    kernel_initializer: of all layers but the output layer. Glorot's is what the authors recommend
    in section 3.1; they trained the deeper networks from the weights of configuration A.
    A layer for each of torchvision's modules, in its order, and the layers of keras.applications,
    whose activations are no layers of their own; of torchvision's first dense layer the rows are
    in another order (see classifier.flattened).
    weights: "imagenet" for VGG-16 and 19 without batch_norm, or a file; see models.weighted.
    Raises ValueError for images under 32x32, or another depth or pooling.
    """
    if depth not in CONVOLUTIONS:
        raise ValueError(f"depth must be 11, 13, 16 or 19. Received: depth={depth}")
    if pooling not in ("flatten", "average"):
        raise ValueError(f'pooling must be "flatten" or "average". Received: pooling={pooling!r}')
    image = x = image_input(input_shape, num_classes, smallest=2 ** len(FILTERS))
    for stage, (filters, convolutions) in enumerate(zip(FILTERS, CONVOLUTIONS[depth], strict=True), 1):
        for number in range(1, convolutions + 1):
            name = f"stage{stage}_conv{number}"
            x = layers.Conv2D(filters, 3, padding="same", kernel_initializer=kernel_initializer,
                              name=name)(x)
            if batch_norm:
                x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)
            x = layers.ReLU(name=f"{name}_relu")(x)
        x = layers.MaxPooling2D(2, name=f"stage{stage}")(x)
    if include_top:
        x = flattened(x) if pooling == "flatten" else layers.GlobalAveragePooling2D(name="features")(x)
        for index, width in enumerate(hidden, 1):
            x = layers.Dense(width, kernel_initializer=kernel_initializer, name=f"hidden{index}")(x)
            x = layers.ReLU(name=f"hidden{index}_relu")(x)
            x = layers.Dropout(dropout, name=f"hidden{index}_dropout")(x)
        x = logits(x, num_classes, activation=classifier_activation)
    return weighted(keras.Model(image, x, name=f"vgg{depth}{'_bn' if batch_norm else ''}"), weights)
