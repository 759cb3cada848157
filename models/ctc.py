"""Connectionist temporal classification: networks that read a string out of a sequence, and its decoding.

Graves, Fernandez, Gomez and Schmidhuber 2006. Class 0 is the blank, labels are 1, 2, ..., and a
string shorter than its row is filled up with 0: what keras.losses.CTC expects.
"""
import keras
from keras import layers, ops

from models.speech import sound_input

IMPOSSIBLE = -1e4              # logit of what cannot be: e to it is zero in every precision


@keras.saving.register_keras_serializable("recipes")
class BlankPadding(layers.Layer):
    """Makes the blank certain at the masked steps, and drops the mask.

    Shapes: float (B, steps, 1 + labels) logits, mask bool (B, steps) -> float32 of the same shape.
    A step at which the blank is certain leaves the sum over all alignments as it is and adds
    nothing to a decoded string: the lengths of the sequences travel in the logits, so the loss and the
    decoders need not be told them, and no gradient comes from the padding.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.supports_masking = True

    def call(self, logits, mask=None):
        if mask is None:
            return logits
        blank = ops.arange(logits.shape[-1]) == 0
        certain = ops.where(blank, ops.zeros((), logits.dtype), ops.full((), IMPOSSIBLE, logits.dtype))
        return ops.where(ops.expand_dims(mask, -1), logits, certain)

    def compute_mask(self, logits, previous_mask=None):
        return None

    def get_config(self):
        return super().get_config()            # Keras's own keeps no name where __init__ takes only **options


def ctc_output(x, num_classes):
    """(B, steps, features) -> (B, steps, 1 + num_classes) float32 logits, by the layer "logits"."""
    if not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError("num_classes must be an integer of at least 1, the number of labels without the "
                         f"blank. Received: num_classes={num_classes}")
    x = layers.Dense(1 + num_classes, dtype="float32", name="logits")(x)
    return BlankPadding(dtype="float32", name="padding")(x)


def blstm_ctc(input_shape=(None, 123), num_classes=61, *, units=(250, 250, 250), dropout=0.0, rate=None,
              **log_mel):
    """Bidirectional LSTM layers and a CTC output, for sound or any other sequence.

    Source: Graves, Mohamed and Hinton 2013, arXiv:1303.5778; its CTC-3l-250h reads 123 features a frame
    (40 filters, the energy, first and second differences) and writes 61 phonemes.
    Shapes: float (B, samples) with a rate, or (B, steps, features), see models.speech.sound_input ->
    (B, steps, 1 + num_classes) logits, the blank first.
    Parameters: 3,783,062 by default (the paper: 3.8 million). Departs: no peephole weights.
    units: of each direction of each layer. dropout: on the input of each layer but the first.
    Sound of several lengths is filled up with zeros at its end; features need no mask of their own.
    """
    if not units or min(units) < 1:
        raise ValueError(f"units needs a positive number for each layer. Received: units={units}")
    if rate is not None:
        log_mel = {"ends": True, **log_mel}
    sequence, x = sound_input(input_shape, rate, **log_mel)
    for layer, width in enumerate(units, 1):
        if dropout and layer > 1:
            x = layers.Dropout(dropout, name=f"dropout{layer}")(x)
        x = layers.Bidirectional(layers.LSTM(width, return_sequences=True), name=f"blstm{layer}")(x)
    return keras.Model(sequence, ctc_output(x, num_classes), name="blstm_ctc")


def greedy(logits):
    """The labels of the likeliest class at each step: (B, steps, classes) -> int32 (B, steps).

    Repetitions are merged, then blanks left out; 0 fills the row up.
    """
    return decoded(logits, strategy="greedy")[0][0]


def beam_search(logits, width=100, count=1):
    """The likeliest strings: -> int32 (count, B, steps), best first, filled up with 0.

    A string's probability is the sum over its alignments, of those among the width best
    beginnings at each step: what greedy decoding leaves out.
    """
    return decoded(logits, strategy="beam_search", beam_width=width, top_paths=count)[0]


def decoded(logits, **options):
    """keras.ops.ctc_decode over all steps: int32 (paths, B, steps) with 0 where it has -1, and scores."""
    steps = ops.full((ops.shape(logits)[0],), ops.shape(logits)[1], "int32")
    paths, scores = ops.ctc_decode(logits, steps, mask_index=0, **options)
    return ops.maximum(paths, 0), scores
