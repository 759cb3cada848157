"""What TensorFlow keeps of a finished training, given back."""
import contextlib


@contextlib.contextmanager
def traced_gradients_forgotten():
    """Removes the gradient functions that were registered in here.

    TensorFlow registers one, under a new name and for the rest of the process, for every
    tf.custom_gradient that it traces; the sum of gradients over replicas is one, on one
    device too. Each holds the whole graph that it was traced in, and with it the training
    data: fit after fit the memory grows (keras#17458, #20552). They serve to differentiate that
    graph, which nobody does once it has trained.
    """
    from tensorflow.python.framework import ops  # not public, and the only door to the registry
    registry = ops.gradient_registry._registry
    before = set(registry)
    try:
        yield
    finally:
        for name in set(registry) - before:
            del registry[name]
