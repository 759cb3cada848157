"""Which rectified units of a network answer to nothing."""
import operator

import keras
import numpy as np
from keras import ops

RECTIFIERS = (keras.activations.relu, keras.activations.relu6)


def dead_units(model, inputs, batch_size=500):
    """The units of each rectified layer that are 0 for every input: {layer name: bool (units,)}.

    A unit is a neuron of a dense layer, or a feature map of a convolution, at all its positions.
    Its slope is 0 wherever its output is, so that no gradient reaches its weights: what is dead on
    all training data stays so. Dead on a sample only may be rare instead; take a large one.
    model: Sequential or functional, channels last; the layers within nested models are left out.
    inputs: (N, ...) arrays as the model takes them, or a dict or tuple of these.
    Layers count by their activation, relu or relu6, or as a keras.layers.ReLU without a slope below
    0; a network of sigmoids has none, and gives {}.
    batch_size: inputs at a time, at least 1.
    Raises ValueError where there are no inputs, or for a batch size below 1.
    Source: Lu, Shin, Su and Karniadakis 2019, "Dying ReLU and initialization", arXiv:1903.06733.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1. Received: {batch_size}")
    count = len(keras.tree.flatten(inputs)[0])
    if not count:
        raise ValueError("dead units are told by the inputs that they do not answer to. Received: no inputs")
    layers = [layer for layer in model.layers if rectified(layer)]
    if not layers:
        return {}
    entry = model.inputs[0] if len(model.inputs) == 1 else model.input
    largest = keras.Model(entry, [over_positions(layer.output) for layer in layers])
    alive = [np.zeros(layer.output.shape[-1], bool) for layer in layers]
    for start in range(0, count, batch_size):
        batch = keras.tree.map_structure(operator.itemgetter(slice(start, start + batch_size)), inputs)
        for found, values in zip(alive, keras.tree.flatten(largest(batch, training=False)), strict=True):
            found |= (ops.convert_to_numpy(ops.cast(values, "float32")) > 0).any(axis=0)
    return {layer.name: ~found for layer, found in zip(layers, alive, strict=True)}


def rectified(layer):
    """Whether a layer's output is 0, with slope 0, wherever its input is negative."""
    if isinstance(layer, keras.layers.ReLU):
        return not layer.negative_slope and not layer.threshold
    return getattr(layer, "activation", None) in RECTIFIERS


def over_positions(outputs):
    """The largest value of each unit: (B, ..., units) -> (B, units)."""
    return ops.max(outputs, axis=tuple(range(1, outputs.ndim - 1))) if outputs.ndim > 2 else outputs
