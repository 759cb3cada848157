"""GoogLeNet: nine inception modules, in which convolutions of several sizes read the same map."""
import keras
from keras import layers

from models.alexnet import LocalResponseNormalization
from models.classifier import image_input, logits
from models.weights import weighted

# Filters of 1x1; 1x1 before 3x3, 3x3; 1x1 before 5x5, 5x5; 1x1 after pooling (Table 1).
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128)}
AUXILIARY = {"4a": "aux1", "4d": "aux2"}                         # modules that a classifier reads
# What the losses of the outputs count in training (section 5); the auxiliary ones are dropped after it.
LOSS_WEIGHTS = {"main": 1.0, "aux1": 0.3, "aux2": 0.3}


def googlenet(input_shape=(224, 224, 3), num_classes=1000, *, batch_norm=False, auxiliary=False,
              stem_strides=(2, 2, 2), dropout=None, include_top=True, classifier_activation=None,
              weights=None):
    """Three convolutions, nine inception modules, the mean over places, and one dense layer.

    Source: Szegedy et al. 2015, arXiv:1409.4842, section 5, Table 1 and Figure 3; the first weights,
    which the paper does not give, are those of its reproduction in Caffe (Glorot's, biases .2),
    and the constants of response normalisation AlexNet's.
    Shapes: float (B, H, W, C), the mean subtracted -> (B, num_classes) logits, (None, None, C) too;
    maps of 112x112, 56x56, 28x28 ("stem" and "stage3"), 14x14 ("stage4") and 7x7 ("stage5": the
    numbers are the paper's). Without the top (B, 7, 7, 1024).
    Parameters: 6,998,552; with the auxiliary classifiers 13,378,280; 1,582,671,872 multiply-adds
    (without them).

    batch_norm: the variant whose weights torchvision ships: batch normalisation in place of biases
    and response normalisation, 3x3 where the paper has 5x5, pooling of 2x2 before 5a, maps averaged to
    4x4 before the auxiliary classifiers. 6,624,904 parameters are trained, with these classifiers
    13,004,888; 1,498,376,192 multiply-adds.
    auxiliary: True for a model with three outputs, {"main": ..., "aux1": ..., "aux2": ...}, the last
    two read from 4a and 4d. They are there to be trained with LOSS_WEIGHTS; in use,
    keras.Model(model.input, model.output["main"]) is the network of the same weights without them.
    stem_strides: of the first convolution and the two poolings after it. (1, 2, 2) gives 32x32
    images maps of 8x8, 4x4 and 2x2 in stages 3, 4 and 5, where (2, 2, 2) leaves 4x4, 2x2 and 1x1. The
    weights are the same ones.
    dropout: of the averaged features; by default the paper's .4, with batch_norm torchvision's .2.
    weights: a file, with batch_norm torchvision's too; see models.weighted.
    Layers are named after torchvision's modules, dots as underscores (inception3a_branch2_0_conv),
    but for the ends of stages and "logits".
    Raises ValueError for images too small: under 31x31 as published, 15x15 with batch_norm, and with
    auxiliary as published, where a 5x5 mean reads the map of stage 4, under 79x79.
    """
    strides = tuple(stem_strides)
    if len(strides) != 3 or any(stride not in (1, 2) for stride in strides):
        raise ValueError("stem_strides must be three numbers, 1 or 2: of the first convolution and of two "
                         f"poolings. Received: stem_strides={strides}")
    if auxiliary and (not include_top or None in tuple(input_shape)):
        raise ValueError("auxiliary classifiers need the top, and images of a fixed size. "
                         f"Received: include_top={include_top}, input_shape={tuple(input_shape)}")
    side = 1 if batch_norm else 5 if auxiliary else 2            # of the map of stage 4, in pixels
    for stride in (2, *strides[:0:-1]):                          # poolings, the last one first
        side = side * stride
    image = image_input(input_shape, num_classes, smallest=strides[0] * (side - 1) + 1)
    convolved = normalized_convolution if batch_norm else plain_convolution

    x = convolved(image, 64, 7, name="conv1", stride=strides[0])
    x = pooled(x, strides[1], name="maxpool1")
    if not batch_norm:
        x = LocalResponseNormalization(name="maxpool1_lrn")(x)
    x = convolved(x, 64, 1, name="conv2")
    x = convolved(x, 192, 3, name="conv3")
    if not batch_norm:
        x = LocalResponseNormalization(name="conv3_lrn")(x)
    x = pooled(x, strides[2], name="stem")
    outputs = {}
    for module, filters in INCEPTIONS.items():
        if module == "4a":
            x = pooled(x, 2, name="maxpool3")
        if module == "5a":
            x = pooled(x, 2, name="maxpool4", size=2 if batch_norm else 3)
        end = {"3b": "stage3", "4e": "stage4", "5b": "stage5"}.get(module)
        x = inception(x, filters, convolved, 3 if batch_norm else 5, f"inception{module}", end)
        if auxiliary and module in AUXILIARY:
            outputs[AUXILIARY[module]] = auxiliary_classifier(
                x, num_classes, convolved, classifier_activation, batch_norm, AUXILIARY[module])
    if include_top:
        x = layers.GlobalAveragePooling2D(name="features")(x)                      # (B, 1024)
        x = layers.Dropout((0.2 if batch_norm else 0.4) if dropout is None else dropout, name="dropout")(x)
        x = logits(x, num_classes, activation=classifier_activation)
    model = keras.Model(image, {"main": x, **outputs} if auxiliary else x,
                        name="googlenet_bn" if batch_norm else "googlenet")
    return weighted(model, weights)


def inception(x, filters, convolved, largest, name, end=None):
    """(B, H, W, C) -> (B, H, W, the filters of four branches), by a layer named end or name."""
    ones, before_threes, threes, before_largest, fives, projected = filters
    pool = layers.MaxPooling2D(3, 1, "same", name=f"{name}_branch4_0")(x)
    branches = [
        convolved(x, ones, 1, name=f"{name}_branch1"),
        convolved(convolved(x, before_threes, 1, name=f"{name}_branch2_0"), threes, 3,
                  name=f"{name}_branch2_1"),
        convolved(convolved(x, before_largest, 1, name=f"{name}_branch3_0"), fives, largest,
                  name=f"{name}_branch3_1"),
        convolved(pool, projected, 1, name=f"{name}_branch4_1")]
    return layers.Concatenate(name=end or name)(branches)


def auxiliary_classifier(x, num_classes, convolved, activation, batch_norm, name):
    """(B, 14, 14, C) -> 4x4 means -> (B, num_classes) logits, in float32 under mixed precision too."""
    bias = {"bias_initializer": "zeros" if batch_norm else plain_bias()}
    if batch_norm:
        x = layers.AdaptiveAveragePooling2D(4, name=f"{name}_pool")(x)
    else:
        x = layers.AveragePooling2D(5, 3, name=f"{name}_pool")(x)
    x = convolved(x, 128, 1, name=f"{name}_conv")
    x = layers.Flatten(name=f"{name}_features")(x)               # its order: see classifier.flattened
    x = layers.Dense(1024, **bias, name=f"{name}_fc1")(x)
    x = layers.ReLU(name=f"{name}_fc1_relu")(x)
    x = layers.Dropout(0.7, name=f"{name}_dropout")(x)
    x = layers.Dense(num_classes, dtype="float32", name=f"{name}_fc2")(x)
    return x if activation is None else layers.Activation(activation, dtype="float32", name=name)(x)


def plain_convolution(x, filters, size, *, name, stride=1):
    """A convolution and relu as published: (B, h, w, C) -> (B, h / stride, w / stride, filters)."""
    x = layers.Conv2D(filters, size, stride, **padding(size, stride), bias_initializer=plain_bias(),
                      name=f"{name}_conv")(padded(x, size, stride, name))
    return layers.ReLU(name=f"{name}_relu")(x)


def normalized_convolution(x, filters, size, *, name, stride=1):
    """plain_convolution with batch normalisation in place of the bias, before relu, as torchvision has it."""
    x = layers.Conv2D(filters, size, stride, **padding(size, stride), use_bias=False,
                      name=f"{name}_conv")(padded(x, size, stride, name))
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def plain_bias():
    """The first biases of the network as published: .2, of its reproduction in Caffe."""
    return keras.initializers.Constant(0.2)


def padding(size, stride):
    """Conv2D's padding, beside what padded adds: none with a stride, where Keras's "same" would be uneven."""
    return {"padding": "same" if stride == 1 else "valid"}


def padded(x, size, stride, name):
    """size // 2 on each side; Keras's "same" would pad less on the left with a stride of 2."""
    return x if stride == 1 else layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)


def pooled(x, stride, *, name, size=3):
    """Max-pooling that rounds the size up, as Caffe does: a last window may reach over the edge.

    x is not negative, so that zeros beyond the edge change no maximum.
    """
    if stride == 1 or size == 2:
        return layers.MaxPooling2D(size, stride, "same", name=name)(x)
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
    return layers.MaxPooling2D(size, stride, name=name)(x)
