"""Cross-entropy and accuracy that take labels as they come: integers (B,), or soft ones (B, K).

A stream that mixes examples has soft labels, and the validation beside it has integers; the loss
and the metric of Keras that model.compile chooses take one kind only.
"""
import keras
from keras import ops


def is_soft(labels, outputs):
    """Whether labels are a probability for each class, (B, K) as outputs are, rather than integers (B,)."""
    return len(labels.shape) == len(outputs.shape) and labels.shape[-1] == outputs.shape[-1] != 1


@keras.saving.register_keras_serializable("recipes")
class CrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits (B, K) with labels int (B,), or float (B, K) whose rows sum to one.

    label_smoothing: the part of each label, in [0, 1), that is spread evenly over all classes
    (Szegedy et al. 2016, arXiv:1512.00567, section 7).
    """

    def __init__(self, label_smoothing=0.0, reduction="sum_over_batch_size", name="cross_entropy"):
        super().__init__(name=name, reduction=reduction)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1). Received: {label_smoothing}")
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        classes = y_pred.shape[-1]
        if not is_soft(y_true, y_pred):
            y_true = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), classes, dtype=y_pred.dtype)
        if self.label_smoothing:
            y_true = y_true * (1 - self.label_smoothing) + self.label_smoothing / classes
        return ops.categorical_crossentropy(y_true, y_pred, from_logits=True)

    def get_config(self):
        return {"label_smoothing": self.label_smoothing, "reduction": self.reduction, "name": self.name}


@keras.saving.register_keras_serializable("recipes")
class Accuracy(keras.metrics.MeanMetricWrapper):
    """The part of examples whose likeliest class is the label, or the class that a soft label has most of."""

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(right, name=name, dtype=dtype)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


def right(y_true, y_pred):
    """-> float (B,), 1 where the prediction is right."""
    labels = ops.argmax(y_true, axis=-1) if is_soft(y_true, y_pred) else ops.reshape(y_true, (-1,))
    found = ops.argmax(y_pred, axis=-1)
    return ops.cast(ops.equal(ops.cast(labels, "int32"), ops.cast(found, "int32")), "float32")
