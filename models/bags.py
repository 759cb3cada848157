"""Texts as bags of words: a weight per word, and fastText, a vector per word or pair of words."""
import keras
from keras import layers, ops

from models import classifier

COMBINERS = {"sum": 0.0, "sqrtn": 0.5, "mean": 1.0}        # n to this power divides a sum over n steps


def bag_of_words(vocabulary, num_classes, *, combiner="sum", penalty=0.0):
    """The sum of one weight per class for each word of the text: logistic regression on the words' counts.

    Shapes: integers (B, T) in [0, vocabulary), 0 for padding -> (B, num_classes) logits.
    Parameters: (vocabulary + 1) x num_classes, of which the first row is padding's and never used.
    combiner: "sum", or "sqrtn", which divides by the root of the number of words, so that all texts are of
    length 1 as vectors of counts (where no word is repeated), as support vector machines are given them.
    penalty: times half the sum of all squared weights, added to the loss.
    Weights start at zero. Raises ValueError for a size below 1 or an unknown combiner.
    """
    check(vocabulary=vocabulary, num_classes=num_classes)
    words = keras.Input((None,), dtype="int32", name="sequence")
    x = layers.Embedding(vocabulary, num_classes, embeddings_initializer="zeros", mask_zero=True,
                         embeddings_regularizer=keras.regularizers.L2(penalty / 2) if penalty else None,
                         name="weights")(words)
    x = SumOverTime(combiner, name="features")(x)
    return keras.Model(words, ClassBias(name="logits", dtype="float32")(x), name="bag_of_words")


def fasttext(vocabulary, num_classes, *, width=10, combiner="mean", dropout=0.0):
    """The mean of the vectors of all words, and of pairs of words if the input has them; a linear layer.

    Source: Joulin et al. 2016, Bag of tricks for efficient text classification, arXiv:1607.01759.
    Shapes: integers (B, T) in [0, vocabulary), 0 for padding -> (B, num_classes) logits.
    Parameters: vocabulary x width + (width + 1) x num_classes.
    combiner: "mean" of the vectors as published; "sqrtn" divides their sum by the root of their number,
    so that a text of one word says less than one of many that agree.
    dropout: probability that a component of the mean is dropped, in [0, 1).
    Raises ValueError for a size below 1 or a dropout out of range.
    """
    check(vocabulary=vocabulary, num_classes=num_classes, width=width)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1). Received: {dropout}")
    words = keras.Input((None,), dtype="int32", name="sequence")
    x = layers.Embedding(vocabulary, width, mask_zero=True, name="embedding")(words)
    x = SumOverTime(combiner, name="features")(x)
    if dropout:
        x = layers.Dropout(dropout, name="logits_dropout")(x)
    return keras.Model(words, classifier.logits(x, num_classes), name="fasttext")


def check(**sizes):
    """Raises ValueError that names the first of these numbers that is less than 1."""
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1. Received: {value}")


@keras.saving.register_keras_serializable("models")
class SumOverTime(layers.Layer):
    """The sum of each feature over the n steps that are no padding: (B, T, F) -> (B, F), 0 if there is none.

    combiner: "sum", "mean" (divided by n) or "sqrtn" (divided by the square root of n).
    """

    def __init__(self, combiner="sum", **kwargs):
        super().__init__(**kwargs)
        if combiner not in COMBINERS:
            raise ValueError(f"combiner must be one of {', '.join(COMBINERS)}. Received: {combiner!r}")
        self.combiner, self.supports_masking = combiner, True

    def call(self, x, mask=None):
        valid = ops.ones_like(x[..., :1]) if mask is None else ops.cast(mask, x.dtype)[..., None]
        count = ops.maximum(ops.sum(valid, axis=1), 1)
        return ops.sum(x * valid, axis=1) / count ** COMBINERS[self.combiner]

    def compute_mask(self, x, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "combiner": self.combiner}


@keras.saving.register_keras_serializable("models")
class ClassBias(layers.Layer):
    """One number for each class, added: (B, classes) -> the same."""

    def build(self, input_shape):
        self.bias = self.add_weight((input_shape[-1],), "zeros", name="bias")

    def call(self, x):
        return ops.cast(x, self.bias.dtype) + self.bias
