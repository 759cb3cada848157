"""How every image classifier begins and ends: its input, checked, and its linear output layer."""
import keras
from keras import layers


def image_input(input_shape, num_classes=1, *, smallest=1):
    """The Input named "image" for (height, width, channels); None stands for any height or width.

    smallest: the least height and width, in pixels, that the network's stages leave something of.
    Raises ValueError for a shape that is not three numbers, too small an image, or no class.
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or not isinstance(shape[2], int) or shape[2] < 1:
        raise ValueError(f"input_shape must be (height, width, channels). Received: input_shape={shape}")
    if any(side is not None and side < smallest for side in shape[:2]):
        raise ValueError(f"this network needs images of at least {smallest}x{smallest} pixels. "
                         f"Received: input_shape={shape}")
    if not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(f"num_classes must be an integer of at least 1. Received: num_classes={num_classes}")
    return keras.Input(shape, name="image")


def flattened(x):
    """(B, h, w, C) -> (B, h * w * C) by the layer "features": row by row, the channels of a place together.

    PyTorch keeps channels first, and so flattens to C, h, w: the rows of the kernel of the dense
    layer that follows come in another order there. Raises ValueError where h or w is not known.
    """
    if None in x.shape[1:]:
        raise ValueError("a dense layer on the flattened map needs images of a fixed size. Received: "
                         "input_shape with None; name height and width, or take include_top=False")
    return layers.Flatten(name="features")(x)


def logits(x, num_classes, *, activation=None, kernel_initializer="glorot_uniform", bias_initializer="zeros",
           use_bias=True):
    """(B, features) -> (B, num_classes) logits in float32 also under mixed precision, by the layer "logits".

    activation: "softmax" or another one, a layer of its own named "predictions"; None leaves the logits.
    """
    x = layers.Dense(num_classes, use_bias=use_bias, kernel_initializer=kernel_initializer,
                     bias_initializer=bias_initializer, dtype="float32", name="logits")(x)
    return x if activation is None else layers.Activation(activation, dtype="float32", name="predictions")(x)
