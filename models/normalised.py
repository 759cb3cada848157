"""What residual and dense networks are made of: normalised convolutions, and their two kinds of end."""
import dataclasses

import keras
from keras import initializers, layers

from models.classifier import logits

# One object for all variables, where names would be looked up for each: a tenth of the time to build.
ZEROS, ONES = initializers.Zeros(), initializers.Ones()


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """Batch normalisation as a reference has it, so that its weights fit."""
    epsilon: float
    momentum: float              # the part of a moving statistic that one update keeps

    def __call__(self, x, name):
        return layers.BatchNormalization(
            momentum=self.momentum, epsilon=self.epsilon, beta_initializer=ZEROS, gamma_initializer=ONES,
            moving_mean_initializer=ZEROS, moving_variance_initializer=ONES, name=name)(x)

    def relu(self, x, name, relu):
        """Normalisation by the layer of one name, relu by that of the other."""
        return rectified(self(x, name), relu)


KERAS = Normalisation(1.001e-5, 0.99)          # of keras.applications
TORCH = Normalisation(1e-5, 0.9)               # of torchvision, which calls this momentum .1


def rectified(x, name):
    """ReLU as a layer of that name; any shape."""
    return layers.Activation(keras.activations.relu, name=name)(x)


def convolution(x, width, size, stride=1, *, bias=False, name):
    """A convolution with size // 2 zeros on every side: what "same" gives, but for strides.

    Kernels have the variance of He et al. 2015, and are drawn uniformly: normal numbers would
    take most of the time to build a large network.
    """
    if stride > 1 and size > 1:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    return layers.Conv2D(width, size, stride, padding="valid" if stride > 1 else "same", use_bias=bias,
                         kernel_initializer=initializers.HeUniform(), bias_initializer=ZEROS, name=name)(x)


def imagenet_stem(image, width, norm, *, bias=False):
    """A 7x7 convolution and max-pooling, both of stride 2: (B, H, W, C) -> (B, H / 4, W / 4, width).

    norm: None leaves the convolution as it is.  The pooling is named "stem".
    """
    x = convolution(image, width, 7, 2, bias=bias, name="stem_conv")
    if norm is not None:
        x = norm.relu(x, "stem_bn", "stem_relu")
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name="stem")(x)


def check_depth(depth, step, rest, condition=""):
    """Raises ValueError unless depth is step n + rest with n >= 1."""
    if not isinstance(depth, int) or depth < step + rest or (depth - rest) % step:
        first = ", ".join(str(step * n + rest) for n in (1, 2, 3))
        raise ValueError(f"depth must be {step}n + {rest} ({first}, ...){condition}. Received: {depth!r}")


def averaged_classifier(image, x, num_classes, include_top, classifier_activation, name):
    """The model, with the mean of each map and the output layer if wanted."""
    if include_top:
        x = layers.GlobalAveragePooling2D(name="features")(x)
        x = logits(x, num_classes, activation=classifier_activation)
    return keras.Model(image, x, name=name)


def scaled_classifier(image, x, num_classes, scale, include_top, classifier_activation, name):
    """The model, with the largest value of each map and the output layer, without biases, if wanted.

    The speed records multiply the logits by a constant: here the features, which is the same.
    """
    if include_top:
        x = layers.GlobalMaxPooling2D(name="features_pool")(x)
        x = layers.Rescaling(scale, name="features")(x)
        x = logits(x, num_classes, activation=classifier_activation, use_bias=False,
                   kernel_initializer=initializers.VarianceScaling(1 / 3, "fan_in", "uniform"))
    return keras.Model(image, x, name=name)
