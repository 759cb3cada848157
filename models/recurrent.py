"""Recurrent networks of any cell, classifiers of sequences and language models; the LSTM cell written out."""
import keras
import numpy as np
from keras import layers, ops

from models import classifier
from models.chrono import ChronoBias
from models.hoisted_lstm import HoistedLSTM

CELLS = ("rnn", "irnn", "lstm", "gru")
POOLINGS = ("last", "mean", "max")


def recurrent_classifier(input_shape, num_classes, *, cell="lstm", units=(128,), bidirectional=False,
                         vocabulary=None, embedding=128, masked=None, pooling="last", dropout=0.0,
                         recurrent_dropout=0.0, hoisted=False, memory=None, classifier_activation=None):
    """Recurrent layers over a sequence, pooled over time, then one logit per class.

    Sources: Elman 1990 ("rnn"); Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000
    ("lstm"); Cho et al. 2014 ("gru", in cuDNN's form, reset after the product); Le, Jaitly and Hinton
    2015 ("irnn": relu, recurrent weights that start as the identity); Schuster and Paliwal 1997 (two
    directions).
    Shapes: float (B, T, F), or with a vocabulary integers (B, T) in [0, vocabulary) -> (B, num_classes)
    logits. input_shape is (T, F) or (T,); T may be None, for sequences of any length.
    Parameters: 11,210, 41,810 and 31,910 for 100 units of irnn, lstm and gru on (784, 1) and 10 classes;
    67,850 for lstm 128; 2,757,761 for the keras-io example on IMDB: (200,), 1, units=(64, 64),
    bidirectional, vocabulary=20_000; 2,691,713 for (80,), 1, units=(128,), vocabulary=20_000.
    units: one number per layer; a layer with two directions has so many in each, side by side.
    masked: steps that are 0 (an integer 0, or a vector of zeros) are padding and change nothing; by default
    so for integers and not for floats. cuDNN asks that padding follows the sequence.
    pooling: "last" is the state after the last step, of each direction after the last that it reads;
    "mean" and "max" are over the steps that are no padding.
    dropout: probability that an input of a recurrent layer, or of the output layer, is dropped, at each
    step anew and never between two steps of a layer (Zaremba et al. 2014). cuDNN's layers allow this.
    recurrent_dropout: probability that a unit of the state is hidden from the next step, the same units
    for all steps of a sequence (Gal and Ghahramani 2016). cuDNN's layers do not allow it: slower on a GPU.
    hoisted: of cell "lstm", models.HoistedLSTM for keras.layers.LSTM: the same, trained faster on CPUs.
    memory: of cells lstm and gru, the most steps that they are to remember, for first biases of
    models.ChronoBias; by default Keras's, which are 1 for the LSTM's forget gate and 0 elsewhere.
    Layers: "embedding" or "mask", "recurrent1", ..., "features" (the pooled vector; of "last" it is the last
    recurrent layer's own), "logits".
    Raises ValueError for a bad argument.
    """
    check(cell, units, dropout, recurrent_dropout, hoisted, memory)
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}. Received: {pooling!r}")
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1. Received: {num_classes}")
    shape = tuple(input_shape)
    if len(shape) != (2 if vocabulary is None else 1):
        wanted = ("(steps, features) for sequences of vectors" if vocabulary is None
                  else "(steps,) for sequences of integers, which a vocabulary makes of the input")
        raise ValueError(f"input_shape must be {wanted}. Received: input_shape={shape}, "
                         f"vocabulary={vocabulary}")
    masked = vocabulary is not None if masked is None else masked
    if vocabulary is None:
        x = sequence = keras.Input(shape, name="sequence")
        x = layers.Masking(name="mask")(x) if masked else x
    else:
        sequence = keras.Input(shape, dtype="int32", name="sequence")
        x = embedded(vocabulary, embedding, masked)(sequence)                         # (B, T, embedding)
    for index, width in enumerate(units, 1):
        if dropout:
            x = layers.Dropout(dropout, name=f"recurrent{index}_dropout")(x)
        last = index == len(units) and pooling == "last"
        x = recurrent_layer(cell, width, name="features" if last else f"recurrent{index}",
                            bidirectional=bidirectional, recurrent_dropout=recurrent_dropout,
                            return_sequences=not last, hoisted=hoisted, memory=memory)(x)
    if pooling == "mean":
        x = layers.GlobalAveragePooling1D(name="features")(x)
    elif pooling == "max":
        x = MaxOverTime(name="features")(x)
    if dropout:
        x = layers.Dropout(dropout, name="logits_dropout")(x)
    x = classifier.logits(x, num_classes, activation=classifier_activation)
    return keras.Model(sequence, x, name=f"{cell}_classifier")


def recurrent_language_model(vocabulary, *, cell="lstm", units=(128, 128), embedding=None, steps=None,
                             batch_size=None, stateful=False, masked=False, dropout=0.0,
                             recurrent_dropout=0.0, hoisted=False, memory=None):
    """The logits of the next symbol after each symbol of a sequence: a chain of layers.

    Source: Graves 2013, arXiv:1308.0850; Karpathy 2015 (char-rnn), dropout as Zaremba et al. 2014.
    Shapes: integers (B, T) in [0, vocabulary) -> (B, T, vocabulary) logits, float32; those at step t
    depend on the symbols 0 to t.
    Parameters: 239,297 for char-rnn's two layers of 128 and 65 symbols, one-hot.
    embedding: numbers per symbol that are learned; None stands for a one-hot vector.
    stateful: the state after a batch is the first state of the next one, row by row, until
    reset_state(); it is among the model's variables. Needs a batch_size.
    dropout, recurrent_dropout, masked, hoisted, memory: as in recurrent_classifier.
    Layers: "embedding" or "one_hot", "recurrent1", ..., "logits".
    Raises ValueError for a bad argument.
    """
    check(cell, units, dropout, recurrent_dropout, hoisted, memory)
    if stateful and batch_size is None:
        raise ValueError("a stateful model carries one state per row: it needs a batch_size. Received: None")
    if masked and embedding is None:
        raise ValueError("masked needs an embedding. Received: embedding=None")
    sequence = keras.Input(batch_shape=(batch_size, steps), dtype="int32", name="sequence")
    x = (OneHot(vocabulary, name="one_hot") if embedding is None
         else embedded(vocabulary, embedding, masked))(sequence)
    for index, width in enumerate(units, 1):
        if dropout and (index > 1 or embedding is not None):     # a dropped one-hot vector is no symbol
            x = layers.Dropout(dropout, name=f"recurrent{index}_dropout")(x)
        x = recurrent_layer(cell, width, name=f"recurrent{index}", return_sequences=True,
                            stateful=stateful, recurrent_dropout=recurrent_dropout, hoisted=hoisted,
                            memory=memory)(x)
    if dropout:
        x = layers.Dropout(dropout, name="logits_dropout")(x)
    return keras.Model(sequence, classifier.logits(x, vocabulary), name=f"{cell}_language_model")


def streaming(model, batch_size=1, steps=None):
    """A copy of a recurrent_language_model, with its weights, that carries its state from call to call.

    For sampling (batch_size=1, a symbol at a time) and for text longer than fits in one batch.
    """
    x = sequence = keras.Input(batch_shape=(batch_size, steps), dtype="int32", name="sequence")
    for layer in model.layers[1:]:
        config = layer.get_config()
        x = type(layer).from_config({**config, "stateful": True} if "stateful" in config else config)(x)
    copy = keras.Model(sequence, x, name=f"streaming_{model.name}")
    for ours, theirs in zip(copy.trainable_variables, model.trainable_variables, strict=True):
        ours.assign(theirs)
    return copy


def continuation(model, prompt, count, *, temperature=1.0, seed=0):
    """Symbols drawn one after the other, each from what the model says of those before: int64 (count,).

    model: of streaming(), for one row; its states are set to zero first. prompt: integers (T,), at least one.
    temperature: logits are divided by it; 0 takes the likeliest symbol each time.
    """
    if temperature < 0 or not len(prompt):
        raise ValueError("continuation takes a prompt of one symbol or more and a temperature of at least 0. "
                         f"Received: {len(prompt)} symbols, temperature={temperature}")
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_state()
    generator, symbols = np.random.default_rng(seed), []
    logits = model.predict_on_batch(np.asarray(prompt, np.int32)[None])[0, -1]
    for _ in range(count):
        if temperature:
            scaled = np.asarray(logits, np.float64) / temperature
            chances = np.exp(scaled - scaled.max())
            symbols.append(int(generator.choice(len(chances), p=chances / chances.sum())))
        else:
            symbols.append(int(np.argmax(logits)))
        logits = model.predict_on_batch(np.array([[symbols[-1]]], np.int32))[0, -1]
    return np.array(symbols, np.int64)


def recurrent_layer(cell, units, *, name, bidirectional=False, return_sequences=False, stateful=False,
                    recurrent_dropout=0.0, hoisted=False, memory=None):
    """One Keras layer of a cell in CELLS; lstm and gru meet the conditions of cuDNN unless recurrent_dropout.

    (B, T, F) -> (B, units), or (B, T, units) of return_sequences; with two directions twice the units.
    memory: steps, or a ChronoBias.
    """
    options = {"units": units, "return_sequences": return_sequences, "stateful": stateful,
               "recurrent_dropout": recurrent_dropout, "name": f"{name}_forward" if bidirectional else name}
    if cell == "irnn":                               # Le et al. 2015, section 3
        layer = layers.SimpleRNN(
            activation="relu", recurrent_initializer="identity",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.001), **options)
    else:
        kinds = {"rnn": layers.SimpleRNN, "lstm": HoistedLSTM if hoisted else layers.LSTM, "gru": layers.GRU}
        if memory is not None:
            options["bias_initializer"] = memory if isinstance(memory, ChronoBias) else ChronoBias(memory)
            if cell == "lstm":
                options["unit_forget_bias"] = False           # which would set it to 1
        layer = kinds[cell](**options)
    return layers.Bidirectional(layer, name=name) if bidirectional else layer


def embedded(vocabulary, width, masked):
    """The layer from integers (B, T) to float (B, T, width); masked: 0 is padding."""
    return layers.Embedding(vocabulary, width, mask_zero=masked, name="embedding")


def check(cell, units, dropout, recurrent_dropout, hoisted, memory=None):
    """Raises ValueError for what no recurrent network can have."""
    if cell not in CELLS:
        raise ValueError(f"cell must be one of {', '.join(CELLS)}. Received: {cell!r}")
    if hoisted and cell != "lstm":
        raise ValueError(f"hoisted is for cell lstm. Received: cell={cell!r}")
    if memory is not None and (cell not in ("lstm", "gru") or memory < 3):
        raise ValueError("memory is for cells lstm and gru, at least 3 steps. "
                         f"Received: cell={cell!r}, memory={memory}")
    if not units or any(width < 1 for width in units):
        raise ValueError(f"units must be at least one width, each at least 1. Received: units={units}")
    for name, value in (("dropout", dropout), ("recurrent_dropout", recurrent_dropout)):
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be in [0, 1). Received: {value}")


def lstm_gates(z, c):
    """What an LSTM does at one step with its weighted inputs: (B, 4 H), cells (B, H) -> h and c, (B, H).

        i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o)          input, forget and output gate
        c = f * c + i * tanh(z_c)                                   forget some, add some
        h = o * tanh(c)                                             show some
    """
    z_i, z_f, z_c, z_o = ops.split(z, 4, axis=-1)
    c = ops.sigmoid(z_f) * c + ops.sigmoid(z_i) * ops.tanh(z_c)
    return ops.sigmoid(z_o) * ops.tanh(c), c


@keras.saving.register_keras_serializable("models")
class WrittenLSTMCell(layers.Layer):
    """Keras's LSTMCell written out, with its weights in its order: for keras.layers.RNN.

    z = W x + U h + b, then lstm_gates. Weights: kernel W (F, 4 H), recurrent_kernel U (H, 4 H),
    bias b (4 H), the gates in the order i, f, c, o; the forget gate's bias starts at 1, so that a new
    network remembers (Jozefowicz et al. 2015).
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units, self.state_size, self.output_size = units, [units, units], units

    def build(self, input_shape):
        def bias(shape, dtype=None):
            return ops.repeat(ops.convert_to_tensor([0.0, 1.0, 0.0, 0.0], dtype=dtype), self.units)

        self.kernel = self.add_weight((input_shape[-1], 4 * self.units), "glorot_uniform", name="kernel")
        self.recurrent_kernel = self.add_weight((self.units, 4 * self.units), "orthogonal",
                                                name="recurrent_kernel")
        self.bias = self.add_weight((4 * self.units,), bias, name="bias")

    def call(self, x, states, training=False):
        h, c = states
        z = ops.matmul(x, self.kernel) + ops.matmul(h, self.recurrent_kernel) + self.bias
        h, c = lstm_gates(z, c)
        return h, [h, c]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("models")
class OneHot(layers.Layer):
    """Integers (B, T) in [0, size) -> (B, T, size), 1 at that place and 0 elsewhere."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, x):
        return ops.one_hot(x, self.size, dtype=self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.size)

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable("models")
class MaxOverTime(layers.Layer):
    """The largest of each feature over the steps that are no padding: (B, T, F) -> (B, F)."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x, mask=None):
        if mask is not None:
            x = ops.where(mask[..., None], x, ops.cast(-1e4, x.dtype))      # float16 holds this, too
        return ops.max(x, axis=1)

    def compute_mask(self, x, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])
