"""Show and Tell: a convolutional network sees the image, an LSTM writes the sentence; and beam search."""
import keras
import numpy as np
from keras import layers, ops

from models import classifier
from models.chrono import ChronoBias
from models.recurrent import recurrent_layer

PADDING = 0                      # the integer after the end of a sentence, in what a Captioner writes
# Over the whole map, and over fields of it.
POOLINGS = {"mean": (layers.GlobalAveragePooling2D, layers.AdaptiveAveragePooling2D),
            "max": (layers.GlobalMaxPooling2D, layers.AdaptiveMaxPooling2D)}


def show_and_tell(encoder, vocabulary, *, embedding=512, units=512, grids=(1,), pooling="mean", hidden=0,
                  normalised=False, memory=None, dropout=0.0, hoisted=False):
    """The logits of the next word after each word of a sentence about an image.

    Source: Vinyals et al. 2015, Show and Tell, arXiv:1411.4555, equations 10 to 12: the LSTM reads the
    image once, as its first input x_{-1} = CNN(I), and then the words x_t = W_e S_t.
    Shapes: {"image": float (B, *encoder's), "words": integers (B, T) in [0, vocabulary)} -> (B, T,
    vocabulary) logits, float32; those at step t depend on the image and the words 0 to t. Words begin
    with a start symbol; training gives the right words, whatever the network would have written
    (teacher forcing). Padding after the end needs no mask here, since nothing comes before it.
    Parameters: beside the encoder's 4 units (embedding + units + 1), 2,099,200 as published (512, 512),
    vocabulary * embedding + (features + 1) * embedding + vocabulary * (units + 1).
    Departs: the paper's equation 8 prints the output as o * c; here it is o * tanh(c), as in
    Hochreiter's LSTM, in the authors' program and in cuDNN. Biases, which the equations leave out.

    encoder: any network of images, of include_top=False, that gives maps (B, h, w, C), or vectors.
    grids, pooling: for each number n the maps are pooled over n x n fields of the image, by "mean" or "max",
    and all results stand side by side: a spatial pyramid (He et al. 2014, arXiv:1406.4729, section 2.2).
    (1,) and "mean" are the paper's CNN; that tells little of where things are.
    hidden: relu units, batch-normalised, between features and embedding; 0 is none, as in the paper.
    normalised: batch normalisation of the image's embedding, so that no unit of the LSTM is saturated by it,
    and words that begin as large, N(0, 1) where Keras's embeddings are within .05.
    memory: steps that the LSTM remembers at first (Tallec and Ollivier 2018: the forget gate's biases are
    log u, u in [1, memory - 1]). By Keras's, of 1, it keeps less than a hundredth of the image for 15 words.
    dropout: probability, on the inputs and the outputs of the LSTM.
    hoisted: models.HoistedLSTM, the same and trained faster on CPUs.
    Layers: the encoder by its name, "features", "hidden", "image_embedding", "word_embedding", "lstm",
    "logits".
    Raises ValueError for a bad argument.
    """
    for name, value in (("vocabulary", vocabulary), ("embedding", embedding), ("units", units)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1. Received: {name}={value!r}")
    if not grids or min(grids) < 1 or pooling not in POOLINGS:
        raise ValueError(f"grids must be numbers of at least 1, and pooling one of {', '.join(POOLINGS)}. "
                         f"Received: grids={grids!r}, pooling={pooling!r}")
    if not isinstance(hidden, int) or hidden < 0:
        raise ValueError(f"hidden must be an integer of at least 0. Received: hidden={hidden!r}")
    if memory is not None and memory < 3:
        raise ValueError(f"memory must be at least 3 steps, or none for Keras's biases. Received: {memory}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1). Received: {dropout}")
    shape = output_shape(encoder)
    image = keras.Input(encoder.input_shape[1:], name="image")
    words = keras.Input((None,), dtype="int32", name="words")
    x = encoder(image)
    if len(shape) == 4:
        if max(grids) > 1 and (None in shape[1:3] or max(grids) > min(shape[1:3])):
            raise ValueError("grids must be at most the height and width of the encoder's maps, which must "
                             f"be known: {shape[1]}x{shape[2]}. Received: grids={grids}")
        parts = [pooled(x, grid, pooling, "features" if len(grids) == 1 else f"fields{grid}")
                 for grid in grids]
        x = parts[0] if len(parts) == 1 else layers.Concatenate(name="features")(parts)
    if hidden:
        x = layers.Dense(hidden, use_bias=False, name="hidden_dense")(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="hidden_bn")(x)
        x = layers.ReLU(name="hidden")(x)
    if normalised:
        x = layers.Dense(embedding, use_bias=False, name="image_embedding_dense")(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="image_embedding")(x)
    else:
        x = layers.Dense(embedding, name="image_embedding")(x)
    first = layers.Reshape((1, embedding), name="first_input")(x)
    following = layers.Embedding(vocabulary, embedding, name="word_embedding", embeddings_initializer=(
        keras.initializers.RandomNormal(stddev=1.0) if normalised else "uniform"))(words)
    x = layers.Concatenate(axis=1, name="inputs")([first, following])                 # (B, 1 + T, embedding)
    if dropout:
        x = layers.Dropout(dropout, name="lstm_dropout")(x)
    x = recurrent_layer("lstm", units, name="lstm", return_sequences=True, hoisted=hoisted,
                        memory=memory and ChronoBias(memory, inputs=False))(x)
    x = layers.Cropping1D((1, 0), name="after_words")(x)         # what it gives for the image is no word
    if dropout:
        x = layers.Dropout(dropout, name="logits_dropout")(x)
    return keras.Model({"image": image, "words": words}, classifier.logits(x, vocabulary),
                       name=f"show_and_tell_{encoder.name}")


def word_detector(encoder, vocabulary):
    """Which words are said of an image: what an encoder can learn before there are sentences.

    Source: Fang et al. 2015, From captions to visual concepts and back, arXiv:1411.4952, section 3: a
    detector of words at each place of the maps, and of what they find the most. Departs: the
    maximum, where the paper has a noisy or.
    Shapes: {"image": as for show_and_tell, "words": the same, but not looked at} -> (B, vocabulary) logits,
    float32, a yes or no for each word.
    The network shares the encoder's weights. Layers: the encoder by its name, "detectors".
    Raises ValueError for an encoder of neither maps nor vectors.
    """
    maps = len(output_shape(encoder)) == 4
    image = keras.Input(encoder.input_shape[1:], name="image")
    x = encoder(image)
    rare = keras.initializers.Constant(-3.0)                 # at first no word is likely
    if maps:
        x = layers.Conv2D(vocabulary, 1, bias_initializer=rare, name="detectors")(x)
        x = layers.GlobalMaxPooling2D(dtype="float32", name="said")(x)
    else:
        x = layers.Dense(vocabulary, bias_initializer=rare, dtype="float32", name="detectors")(x)
    words = keras.Input((None,), dtype="int32", name="words")
    return keras.Model({"image": image, "words": words}, x, name=f"word_detector_{encoder.name}")


def output_shape(encoder):
    """The shape of its maps or vectors. Raises ValueError if it gives neither."""
    shape = encoder.output_shape
    if not isinstance(shape, tuple) or len(shape) not in (2, 4) or shape[-1] is None:
        raise ValueError("the encoder must give maps (B, h, w, C) or vectors (B, C), as image networks with "
                         f"include_top=False do. Received: output of shape {shape}")
    return shape


def pooled(x, grid, pooling, name):
    """(B, h, w, C) -> (B, grid * grid * C), by a layer of that name."""
    whole, fields = POOLINGS[pooling]
    if grid == 1:
        return whole(name=name)(x)
    return layers.Flatten(name=name)(fields(grid, name=f"{name}_pool")(x))


class Captioner(keras.Model):
    """Sentences that a show_and_tell network writes about images, the likeliest that beam search finds.

    images (B, H, W, C) -> {"words": int32 (B, width, length), best first, PADDING after the end,
    "log_probability": float32 (B, width)}. Use predict: it compiles the search on each backend. An image
    is encoded once, and a step of the search is one step of the LSTM for all beams of a batch.

    At each step the width likeliest of all continuations of the sentences so far are kept (section 3.1).
    A sentence that has ended keeps its place and its probability, and is compared with the longer ones
    as it is: by log p of all its words and of its end, without regard to its length. One that has not
    ended after `length` words is cut there, with the log p of these. Where there are fewer sentences than
    width, the rest has no words and log p = -inf. Width 1 is greedy: the likeliest word each time.

    network: of show_and_tell; its weights are shared. start, end: symbols before the first word and after
    the last one. silent: further symbols that it must not write, such as that of unknown words.
    Raises ValueError for a width or length below 1, or symbols that the network has not.
    """

    def __init__(self, network, *, start, end, silent=(), width=1, length=20):
        super().__init__(name=f"captioner_{network.name}")
        self.logits = network.get_layer("logits")
        vocabulary = self.logits.units
        if width < 1 or length < 1:
            raise ValueError("width and length must be at least 1. "
                             f"Received: width={width}, length={length}")
        if not all(0 <= symbol < vocabulary for symbol in (start, end, *silent)) or end == PADDING:
            raise ValueError(f"symbols must be in [0, {vocabulary}), and the end not {PADDING}, which stands "
                             f"behind it. Received: start={start}, end={end}, silent={tuple(silent)}")
        self.embed = keras.Model(network.input["image"], network.get_layer("image_embedding").output)
        self.word_embedding, self.cell = network.get_layer("word_embedding"), network.get_layer("lstm").cell
        self.start, self.end, self.width, self.length, self.vocabulary = start, end, width, length, vocabulary
        symbols = np.arange(vocabulary)
        forbidden = np.isin(symbols, [PADDING, start, *silent])
        self.allowed = np.where(forbidden, -np.inf, 0).astype(np.float32)
        self.nothing = np.where(symbols == PADDING, 0, -np.inf).astype(np.float32)    # goes on after an end
        self.built = True

    def call(self, images):
        width, length = self.width, self.length
        first = self.embed(images, training=False)                                    # (B, embedding)
        count = ops.shape(first)[0]
        zero = ops.zeros((count, self.cell.units), first.dtype)
        h, c = self.cell(first, [zero, zero])[1]
        rows = ops.repeat(ops.arange(count, dtype="int32"), width)
        ranks = ops.tile(ops.arange(width, dtype="int32"), (count,))

        def step(number, words, last, score, ended, h, c):
            h, c = self.cell(self.word_embedding(last), [h, c])[1]                    # (B width, units)
            logits = ops.cast(self.logits(h), "float32")
            continued = ops.where(ended[:, None], self.nothing[None],
                                  ops.log_softmax(logits, axis=-1) + self.allowed)
            score, place = ops.top_k(ops.reshape(score[:, None] + continued, (-1, width * self.vocabulary)),
                                     width)
            score, place = ops.reshape(score, (-1,)), ops.cast(ops.reshape(place, (-1,)), "int32")
            last = place % self.vocabulary
            before = rows * width + place // self.vocabulary
            words, ended, h, c = (ops.take(values, before, axis=0) for values in (words, ended, h, c))
            ended = ops.logical_or(ended, last == self.end)
            written = ops.where(ended, PADDING, last)
            words = ops.where(ops.arange(length, dtype="int32")[None] == number, written[:, None], words)
            return number + 1, words, last, score, ended, h, c

        *_, words, _, score, _, _, _ = ops.while_loop(
            lambda number, words, last, score, ended, *_: ops.logical_and(
                number < length, ops.logical_not(ops.all(ended))),
            step,
            (ops.convert_to_tensor(0, "int32"), ops.zeros((count * width, length), "int32"),
             ops.full((count * width,), self.start, "int32"),
             ops.where(ranks == 0, 0.0, -float("inf")),              # all beams begin alike: one is enough
             ops.zeros((count * width,), "bool"),
             ops.take(h, rows, axis=0), ops.take(c, rows, axis=0)))
        words = ops.where(score[:, None] > -float("inf"), words, PADDING)
        return {"words": ops.reshape(words, (-1, width, length)),
                "log_probability": ops.reshape(score, (-1, width))}
