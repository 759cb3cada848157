"""States that stateful recurrent layers carry from batch to batch: kept, and kept out of evaluations."""
import keras
from keras import ops


def carried_states(model):
    """The state variables of a model's stateful recurrent layers; Keras does not count them as variables."""
    found = [state for layer in model._flatten_layers() if getattr(layer, "stateful", False)
             for state in keras.tree.flatten(getattr(layer, "states", None) or [])]
    return list({id(state): state for state in found}.values())


def forget(model):
    """Sets all carried states to zero, which is how they start."""
    for state in carried_states(model):
        state.assign(ops.zeros_like(state))


class Apart(keras.callbacks.Callback):
    """An evaluation starts from zero states, and the training goes on from its own after it."""

    def on_test_begin(self, logs=None):
        self.states = [ops.convert_to_numpy(state) for state in carried_states(self.model)]
        forget(self.model)

    def on_test_end(self, logs=None):
        for variable, state in zip(carried_states(self.model), self.states, strict=True):
            variable.assign(state)
