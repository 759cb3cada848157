"""Multilayer perceptrons."""
import keras
from keras import layers

INITIALISATIONS = ("scaled", "large")


def mlp(input_shape=(28, 28, 1), num_classes=10, *, hidden=(30,), activation="sigmoid",
        initialisation="scaled", output_activation=None):
    """Dense layers of the given widths, then one logit per class, as a Sequential.

    Source: Nielsen, Neural Networks and Deep Learning, chapters 1 to 3 and 5.
    Shapes: float (B, *input_shape) in [0, 1] -> (B, num_classes) logits.
    Parameters: 23,860 for 784-30-10, 79,510 for 784-100-10.
    hidden: any number of layers, none for a linear classifier.
    initialisation: "large" draws all weights from N(0, 1) (chapter 1), "scaled" divides
    by the square root of a unit's number of inputs (chapter 3); biases are N(0, 1) in
    both. Or the name or instance of a Keras initialiser, with biases of zero.
    output_activation: "sigmoid" for chapter 1's quadratic cost on ten sigmoid outputs.
    Raises ValueError for a width or class count below 1.
    """
    if any(width < 1 for width in (*hidden, num_classes)):
        raise ValueError(f"widths must be at least 1. Received: hidden={hidden}, num_classes={num_classes}")

    def dense(width, activation, name):
        kernel, bias = initialisation, "zeros"
        if initialisation in INITIALISATIONS:
            bias = keras.initializers.RandomNormal(stddev=1.0)
            kernel = bias if initialisation == "large" else keras.initializers.VarianceScaling(
                1.0, mode="fan_in", distribution="untruncated_normal")
        return layers.Dense(width, activation, kernel_initializer=kernel, bias_initializer=bias, name=name)

    model = keras.Sequential([keras.Input(input_shape, name="input"), layers.Flatten(name="flatten")],
                             name="mlp")
    for index, width in enumerate(hidden, 1):
        model.add(dense(width, activation, name=f"hidden{index}"))
    model.add(dense(num_classes, output_activation, name="logits"))
    return model
