"""An end of training in the middle, as a crash would be."""
import keras


class Interrupted(Exception):
    pass


class InterruptAfter(keras.callbacks.Callback):
    """Ends training abruptly after so many calls into TensorFlow."""

    def __init__(self, calls):
        super().__init__()
        self.calls = calls

    def on_train_batch_begin(self, batch, logs=None):
        self.calls -= 1
        if self.calls < 0:
            raise Interrupted
