"""Where a number that is not finite came from: the layer whose output or gradient it was first."""
import contextlib
import math

import keras
import numpy as np
import tensorflow as tf

from training import checkpoint


def trace(first, last, *, update, batch, model):
    """Makes the updates [first, last) one by one and describes, in a sentence, the first that fails.

    update(i) makes update i and returns its metrics, batch(i) gives its inputs and labels.
    """
    before = previous = loss = None
    for i in range(first, last):
        before, previous, good = checkpoint.snapshot({"model": model}), before, loss
        model.reset_metrics()
        loss = float(update(i)["loss"])
        if math.isfinite(loss):
            continue
        found = None
        if previous is not None:             # an update before this one may have made the weights infinite
            found = at(model, previous, *batch(i - 1))
        found = found or at(model, before, *batch(i)) or "the loss alone is not finite"
        told = "" if good is None else f" (it was {good:.6g} at update {i - 1})"
        return f"the loss became {loss} at update {i}{told}. First not finite: {found}."
    return (f"the loss became not finite between the updates {first} and {last}, but not when they were "
            "made again: this device does not repeat a computation exactly.")


def at(model, state, inputs, labels):
    """first_not_finite of a model with the variables of an earlier snapshot."""
    checkpoint.restore({"model": model}, state)
    return first_not_finite(model, inputs, labels)


def first_not_finite(model, inputs, labels):
    """The first weight, output or gradient of a compiled model that is NaN or infinite, in words, or None.

    One forward and backward pass as in training, without an update: outputs in the order in
    which the layers are called, then the loss, then (on TensorFlow) gradients from the loss backwards.
    """
    for weight in model.weights:
        if not finite(weight):
            return f"the weights {weight.path}"
    if not finite(inputs):
        return "the inputs of the batch"
    outputs = []
    tape = tf.GradientTape() if keras.backend.backend() == "tensorflow" else None
    with tape or contextlib.nullcontext(), recorded(model, outputs):
        predicted = model(inputs, training=True)
        loss = model.compute_loss(x=inputs, y=labels, y_pred=predicted, training=True)
    for layer, output in outputs:
        if not all(map(finite, keras.tree.flatten(output))):
            return f"the output of layer {layer.path or layer.name} ({type(layer).__name__})"
    if not finite(loss):
        return "the loss, of outputs that are all finite"
    if tape is None:
        return None
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    for variable, gradient in reversed(list(zip(variables, gradients, strict=True))):
        if gradient is not None and not finite(gradient):
            return f"the gradient of {variable.path}"
    return None


def finite(values):
    """Whether a tensor or array of any shape and dtype holds neither NaN nor infinity."""
    values = keras.ops.convert_to_numpy(values)
    return values.dtype.kind in "iub" or bool(np.isfinite(values.astype(np.float32)).all())


@contextlib.contextmanager
def recorded(model, outputs):
    """Appends (layer, output) to a list whenever a layer without layers of its own is called in here."""
    layers = [layer for layer in model._flatten_layers(include_self=False)
              if not list(layer._flatten_layers(include_self=False))]

    def recording(layer, call):
        def called(*arguments, **options):
            output = call(*arguments, **options)
            outputs.append((layer, output))
            return output
        return called
    own = [vars(layer).get("call") for layer in layers]     # of kernels.faster, which takes it away itself
    for layer in layers:
        layer.call = recording(layer, layer.call)
    try:
        yield
    finally:
        for layer, call in zip(layers, own, strict=True):
            if call is None:
                del layer.call
            else:
                layer.call = call


def wrong_variable(objects):
    """The name of the first variable of {name: object} that is not finite, or None."""
    for name, thing in objects.items():
        found = checkpoint.variables(thing) if hasattr(thing, "variables") else [thing]
        for variable in found:
            if hasattr(variable, "assign") and not finite(variable):
                return name if variable is thing else f"{name}'s {variable.path}"
    return None
