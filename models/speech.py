"""Networks that listen: log-mel features as a layer, and convolutional networks for single words."""
import keras
import numpy as np
from keras import layers, ops

from models.classifier import logits

LOUDEST_SILENCE = -30.0        # decibels of a frame's power; a recording that stays below it is not amplified


def mel(frequency):
    """Hz -> mel, 2595 log10(1 + f / 700): the pitch that listeners hear (O'Shaughnessy 1987)."""
    return 2595.0 * np.log10(1.0 + np.asarray(frequency, np.float64) / 700.0)


def mel_filters(bins, rate, fft_length, low, high):
    """Triangular filters, equally wide in mel: float32 (fft_length / 2 + 1, bins), peaks at 1.

    Raises ValueError where a filter is so narrow that it holds none of the frequencies.
    """
    frequencies = np.arange(fft_length // 2 + 1) * rate / fft_length
    edges = np.linspace(mel(low), mel(high), bins + 2)
    position = mel(frequencies)[:, None]
    rising = (position - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - position) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0.0, np.minimum(rising, falling))
    filters[0] = 0.0                                            # a constant offset is no sound
    if not filters.any(axis=0).all():
        raise ValueError(f"{bins} mel bins are too many for a window of {fft_length} samples at {rate} Hz: "
                         "some hold no frequency. Take fewer bins or a longer window.")
    return filters.astype(np.float32)


@keras.saving.register_keras_serializable("recipes")
class LogMel(layers.Layer):
    """Sound -> the energy that an ear hears, by frequency and time, in decibels below the loudest place.

    Shapes: float (B, samples) in [-1, 1] -> (B, steps, frames_per_step * bins) in [-1, 1], where
    -1 stands for dynamic_range decibels or more below the loudest place and a step is
    frames_per_step * hop, the last one filled with silence. A louder recording gives the same
    features; a silent one has -1 everywhere.

    rate: samples per second. window, hop: of a frame, in seconds; the window grows to the next
    power of two samples. low, high: Hz; high is rate / 2 by default.
    frames_per_step: consecutive frames side by side in one step (Sak et al. 2015, arXiv:1507.06947).
    ends: the steps past the last sample that is not zero are masked, as padding; the first never is.
    """

    def __init__(self, rate, bins=40, *, window=0.025, hop=0.01, low=20.0, high=None, dynamic_range=80.0,
                 frames_per_step=1, ends=False, **options):
        super().__init__(**options)
        if not (0 < hop <= window and 0 <= low < (high or rate / 2) <= rate / 2):
            raise ValueError("LogMel needs 0 < hop <= window and 0 <= low < high <= rate / 2. Received: "
                             f"hop={hop}, window={window}, low={low}, high={high}, rate={rate}")
        self.rate, self.bins, self.window, self.hop = rate, bins, window, hop
        self.low, self.high, self.dynamic_range = low, high, dynamic_range
        self.frames_per_step, self.ends = frames_per_step, ends
        self.supports_masking = True
        self.step = round(rate * hop)                                           # samples
        self.length = 2 ** int(np.ceil(np.log2(round(rate * window))))          # samples
        self.filters = mel_filters(bins, rate, self.length, low, high or rate / 2)

    def call(self, sound):
        sound = ops.cast(sound, "float32")
        started = -ops.shape(sound)[1] % self.step                 # samples that the last frame lacks
        sound = ops.pad(sound, [[0, 0], [0, self.length - self.step + started]])
        real, imaginary = ops.stft(sound, self.length, self.step, self.length, center=False)
        power = ops.matmul(ops.square(real) + ops.square(imaginary), self.filters)      # (B, frames, bins)
        decibels = 10.0 / np.log(10.0) * ops.log(power + 1e-12)
        loudest = ops.maximum(ops.max(decibels, axis=(1, 2), keepdims=True), LOUDEST_SILENCE)
        below = ops.clip((decibels - loudest) / self.dynamic_range, -1.0, 0.0)
        features = ops.cast(1.0 + 2.0 * below, self.compute_dtype)
        return self.side_by_side(features)

    def side_by_side(self, features):
        """(B, frames, bins) -> (B, steps, frames_per_step * bins); silence fills the last step."""
        if self.frames_per_step == 1:
            return features
        missing = -ops.shape(features)[1] % self.frames_per_step
        features = ops.pad(features, [[0, 0], [0, missing], [0, 0]], constant_values=-1.0)
        return ops.reshape(features, (ops.shape(features)[0], -1, self.frames_per_step * self.bins))

    def compute_mask(self, sound, previous_mask=None):
        if not self.ends:
            return None
        sounds = ops.cast(ops.not_equal(sound[:, 1:], 0), "int32")
        sounds = ops.concatenate([ops.ones_like(sound[:, :1], dtype="int32"), sounds], axis=1)
        still_to_come = ops.flip(ops.cumsum(ops.flip(sounds, axis=1), axis=1), axis=1)
        return still_to_come[:, ::self.step * self.frames_per_step] > 0                # (B, steps)

    def compute_output_shape(self, input_shape):
        samples = input_shape[1]
        steps = None if samples is None else -(-samples // (self.step * self.frames_per_step))
        return (input_shape[0], steps, self.frames_per_step * self.bins)

    def get_config(self):
        names = ("rate", "bins", "window", "hop", "low", "high", "dynamic_range", "frames_per_step", "ends")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def sound_input(input_shape, rate=None, **log_mel):
    """(input, features (B, steps, features)) of a network that takes sound or features of it.

    input_shape: (samples,) of sound at so many samples per second, with log_mel for LogMel; or
    (steps, features), and no rate. samples and steps may be None.
    Raises ValueError if shape and rate do not fit.
    """
    shape = tuple(input_shape)
    if len(shape) != (2 if rate is None else 1):
        raise ValueError("input_shape must be (samples,) with a rate, or (steps, features) without. "
                         f"Received: input_shape={shape}, rate={rate}")
    if rate is None:
        features = keras.Input(shape, name="features_of_sound")
        return features, features
    sound = keras.Input(shape, name="sound")
    return sound, LogMel(rate, **log_mel, name="log_mel")(sound)


def commands_convnet(input_shape=(98, 40), num_classes=12, *, dropout=0.5, rate=None, **log_mel):
    """The "conv" network of the Speech Commands example: two wide convolutions, one pooling, no hidden layer.

    Source: tensorflow/examples/speech_commands/models.py after Sainath and Parada 2015, Convolutional
    neural networks for small-footprint keyword spotting.
    Shapes: float (B, samples) or (B, steps, features), see sound_input -> (B, num_classes) logits.
    Parameters: 926,860 for features of (98, 40) and 12 classes.
    """
    sound, x = sound_input(input_shape, rate, **log_mel)
    x = layers.Reshape((*x.shape[1:], 1), name="image")(x)
    x = layers.Conv2D(64, (20, 8), padding="same", activation="relu", name="conv1")(x)
    x = layers.Dropout(dropout, name="dropout1")(x)
    x = layers.MaxPooling2D(2, padding="same", name="stage1")(x)
    x = layers.Conv2D(64, (10, 4), padding="same", activation="relu", name="conv2")(x)
    x = layers.Dropout(dropout, name="stage2")(x)
    x = layers.Flatten(name="features")(x)
    return keras.Model(sound, logits(x, num_classes), name="commands_convnet")


def word_convnet(input_shape, num_classes, *, filters=(24, 48, 96), dropout=0.3, rate=None, **log_mel):
    """A small network for one word: convolutions that halve time and frequency, averaged over time.

    Shapes: float (B, samples) or (B, steps, features), see sound_input -> (B, num_classes) logits.
    Normalised after each convolution (Ioffe and Szegedy 2015); ours, of no paper.
    """
    sound, x = sound_input(input_shape, rate, **log_mel)
    x = layers.Reshape((*x.shape[1:], 1), name="image")(x)
    for stage, width in enumerate(filters, 1):
        x = layers.Conv2D(width, 5 if stage == 1 else 3, strides=2, padding="same", use_bias=False,
                          kernel_initializer="he_normal", name=f"stage{stage}_conv")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"stage{stage}_bn")(x)   # its offset is the bias
        x = layers.ReLU(name=f"stage{stage}")(x)
    # Over time alone: which frequency a sound has tells vowels apart.
    x = layers.AveragePooling2D((x.shape[1], 1), name="over_time")(x)
    x = layers.Flatten(name="features")(x)                           # (B, frequencies * filters[-1])
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(sound, logits(x, num_classes), name="word_convnet")
