"""Multilayer perceptrons."""
import keras
from keras import layers

INITIALISATIONS = {
    "large": lambda: keras.initializers.RandomNormal(stddev=1.0),
    "scaled": lambda: keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal"),
}


def mlp(input_shape=(28, 28, 1), num_classes=10, *, hidden=(30,), activation="sigmoid",
        initialisation="scaled", dropout=0.0):
    """Dense layers of the given widths, then one logit per class, as a Sequential.

    Source: Nielsen, Neural Networks and Deep Learning, chapters 1 to 3 and 5. His sigmoid
    output layer is these logits and a cost that applies the sigmoid.
    Shapes: float (B, *input_shape) in [0, 1] -> (B, num_classes) logits.
    Parameters: 23,860 for 784-30-10, 79,510 for 784-100-10.
    hidden: any number of layers, none for a linear classifier.
    initialisation: "large" draws all weights from N(0, 1) (chapter 1), "scaled" from
    N(0, 1 / n) where a unit has n inputs (chapter 3); biases are N(0, 1) in both. Or the
    name of a Keras initialiser, "he_normal" say, with biases of zero.
    dropout: probability that the output of a hidden unit is dropped in training, in [0, 1).
    Raises ValueError for a width or class count below 1, a dropout out of range, or an unknown
    initialisation.
    """
    if any(width < 1 for width in (*hidden, num_classes)):
        raise ValueError(f"widths must be at least 1. Received: hidden={hidden}, num_classes={num_classes}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1). Received: {dropout}")

    def dense(width, activation, name):
        kernel, bias = initialisation, "zeros"
        if initialisation in INITIALISATIONS:
            # One object per variable: an initialiser called twice repeats its numbers.
            kernel, bias = INITIALISATIONS[initialisation](), keras.initializers.RandomNormal(stddev=1.0)
        return layers.Dense(width, activation, kernel_initializer=kernel, bias_initializer=bias, name=name)

    stack = [keras.Input(input_shape, name="input"), layers.Flatten(name="flatten")]
    for index, width in enumerate(hidden, 1):
        stack.append(dense(width, activation, name=f"hidden{index}"))
        if dropout:
            stack.append(layers.Dropout(dropout, name=f"hidden{index}_dropout"))
    stack.append(dense(num_classes, None, name="logits"))
    return keras.Sequential(stack, name="mlp")
