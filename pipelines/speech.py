"""Sound: wav files of any kind, spoken digits one by one and in strings, speech commands.

    spoken_digit   the Free Spoken Digit Dataset through TFDS: 8 kHz, ten digits, five or six speakers
    a path         its recordings as they are published, a folder or zip of <digit>_<speaker>_<index>.wav
    formants       made here from vowel-like glides, ten of them named zero to nine: no download

commands(...) has Google's speech commands in the same three forms: speech_commands, a path, formants.
The official test of the digits is indices 0 to 4 of each speaker and digit; 5 to 9 validate, others train.
Source: Jackson et al., github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0.
"""
import dataclasses
import functools
import io
import math
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines import tfds_source
from pipelines.distort import keys, uniform
from pipelines.stream import Examples, Splits, Stream, cut_anew

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEST, VALIDATION = range(5), range(5, 10)                  # indices of each speaker and digit
COMMANDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "_silence_", "_unknown_")
NOISE = "_background_noise_"                               # the folder of speech commands without words
DIGIT_RATE, COMMAND_RATE = 8_000, 16_000                   # samples per second
KIND = "sound"                                             # in about.json: predict takes wav files
SILENT = 1e-4                                              # of full scale: 80 decibels below it


def read_wav(file, rate, *, name=None, say=print):
    """A wav file -> float32 (samples,) in [-1, 1] at that rate, one channel.

    file: a path, or a binary file, which name names in messages. 8 to 32 bits PCM or floating point.
    say: called with a sentence where the sound had to be converted: mixed or resampled.
    Raises FileNotFoundError, or ValueError for what is no such file, is truncated or is empty.
    """
    from scipy.io import wavfile
    from scipy.signal import resample_poly
    name = name or file
    if isinstance(file, (str, Path)):
        if Path(file).is_dir():
            raise ValueError(f"{file} is a folder, not a wav file")
        if not Path(file).exists():
            raise FileNotFoundError(f"there is no file {file}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Chunk .* not understood", wavfile.WavFileWarning)
        warnings.filterwarnings("error", "Reached EOF", wavfile.WavFileWarning)
        try:
            found, values = wavfile.read(file)
        except wavfile.WavFileWarning as error:
            raise ValueError(f"{name} is truncated: its header announces more sound than it holds") from error
        except PermissionError as error:
            raise ValueError(f"{name} cannot be read ({error.strerror})") from error
        except Exception as error:                     # scipy raises struct.error and others for damaged ones
            raise ValueError(f"{name} is not a wav file that can be read (PCM of 8 to 32 bits and floating "
                             f"point can), or it is damaged: {error}") from error
    if not len(values) or found < 1:
        raise ValueError(f"{name} holds no sound")
    sound = full_scale(values)
    if sound.ndim == 2:
        if sound.shape[1] > 1:
            say(f"{name}: mixed {sound.shape[1]} channels into one")
        sound = sound.mean(axis=1)
    if not np.isfinite(sound).all():
        raise ValueError(f"{name} holds values that are no finite numbers")
    if found != rate:
        say(f"{name}: resampled from {found} to {rate} Hz")
        common = math.gcd(found, rate)
        sound = resample_poly(sound, rate // common, found // common)
    return np.clip(sound, -1, 1).astype(np.float32)


def full_scale(values):
    """Samples as scipy reads them -> float64 in [-1, 1]: 24 bits come as the upper ones of 32."""
    if values.dtype == np.uint8:
        return (values.astype(np.float64) - 128) / 128
    if values.dtype.kind == "i":
        return values / -float(np.iinfo(values.dtype).min)
    return values.astype(np.float64)


def sixteen_bit(sound):
    """float in [-1, 1] -> int16, the form in which sound is stored; 16-bit files come back as they were."""
    return np.clip(np.round(np.asarray(sound) * 32768), -32768, 32767).astype(np.int16)


def from_sixteen_bit(sounds):
    """int16 -> float32 in [-1, 1), any shape."""
    return tf.cast(sounds, tf.float32) / 32768


def preprocessing(rate, samples=None):
    """What goes into about.json, for Reader: rate in Hz, and samples of a sound, None for any length."""
    return {"kind": KIND, "rate": rate, "samples": samples}


class Reader:
    """Wav files for a network that was saved with preprocessing(...)."""
    takes = "wav files"

    def __init__(self, about):
        self.rate, self.samples = about["rate"], about["samples"]
        self.class_names = tuple(about.get("class_names", ()))

    def read(self, file, *, say=print):
        """A wav file -> float32 (samples,), its beginning where the network takes no more.

        Raises what read_wav raises, and ValueError where nothing is to be heard.
        """
        sound = read_wav(file, self.rate, say=say)
        if np.abs(sound).max() < SILENT:
            raise ValueError(f"{file} is silent: no sample is above {SILENT:g} of full scale")
        if self.samples is not None and len(sound) > self.samples:
            say(f"{file}: only the first {self.samples / self.rate:g} of {len(sound) / self.rate:.2f} s are "
                "listened to")
        return from_sixteen_bit(sixteen_bit(sound)).numpy()[:self.samples]

    def batch(self, sounds):
        """Sounds of any length -> float32 (B, samples), with zeros after the end of each."""
        rows = np.zeros((len(sounds), self.samples or max(map(len, sounds))), np.float32)
        for row, sound in zip(rows, sounds, strict=True):
            row[:len(sound)] = sound
        return rows

    def strings(self, outputs):
        """What a CTC network writes: float (B, steps, 1 + classes) -> [str], names with spaces between."""
        best = np.asarray(outputs).argmax(axis=2)
        begins = (best > 0) & (best != np.pad(best, [(0, 0), (1, 0)])[:, :-1])    # no blank, no repetition
        return [" ".join(self.class_names[label - 1] for label in row[first])
                for row, first in zip(best, begins, strict=True)]


def filled(sounds, samples):
    """A list of int16 (any length,) -> int16 (N, samples), cut or filled up with zeros at the end."""
    rows = np.zeros((len(sounds), samples), np.int16)
    for row, sound in zip(rows, sounds, strict=True):
        row[:len(sound)] = sound[:samples]
    return rows


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Spoken digits in memory: sounds int16 (N, samples) with zeros after lengths int32 (N,).

    labels int64 (N,), speakers str (N,), indices int64 (N,): of a speaker's recordings of a digit.
    """
    sounds: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray
    indices: np.ndarray

    def rows(self, part):
        """Rows of "training", "validation" or "test", by index."""
        test, validation = np.isin(self.indices, TEST), np.isin(self.indices, VALIDATION)
        return np.flatnonzero({"test": test, "validation": validation,
                               "training": ~(test | validation)}[part])


def recordings(data="spoken_digit", seconds=1.0):
    """Recordings of `data` (see above), each cut after so many seconds, by digit, speaker and index.

    Raises FileNotFoundError or ValueError, in a sentence, for data that is not there or not whole.
    """
    if data == "formants":
        found = list(formants())
    elif data == "spoken_digit":
        found = [(filename(example["audio/filename"]), np.asarray(example["audio"]).astype(np.int16))
                 for example in tfds_source.examples("spoken_digit", "train", offline="formants")]
    else:
        files = wav_files(data, offline="spoken_digit and formants")
        found = [(filename(name), sound) for name, sound in
                 zip([name for name, _ in files], sounds_of(data, files, DIGIT_RATE), strict=True)]
    found.sort(key=lambda pair: pair[0])
    names, sounds = zip(*found, strict=True)
    digits, speakers, indices = map(np.array, zip(*names, strict=True))
    samples = round(seconds * DIGIT_RATE)
    whole = Recordings(filled(sounds, samples), np.minimum([len(sound) for sound in sounds], samples)
                       .astype(np.int32), digits.astype(np.int64), speakers, indices.astype(np.int64))
    for part in ("training", "validation", "test"):
        if missing := set(range(10)) - set(whole.labels[whole.rows(part)]):
            words = ", ".join(DIGITS[digit] for digit in missing)
            raise ValueError(f"{data} has no recording of {words} for the {part} split. Indices 0 to 4 are "
                             "the test, 5 to 9 validate, the others train.")
    return whole


def filename(name):
    """"7_jackson_32.wav", text or bytes -> (7, "jackson", 32). Raises ValueError for another form."""
    text = name.decode() if isinstance(name, bytes) else str(name)
    parts = re.fullmatch(r"(\d)_(.+)_(\d+)\.wav", text)
    if parts is None:
        raise ValueError(f"spoken digits are files named <digit>_<speaker>_<index>.wav. Received: {text}")
    return int(parts[1]), parts[2], int(parts[3])


def wav_files(path, *, offline):
    """[(file name, path or binary file)] of all wav files in a folder or zip, in alphabetical order."""
    path = Path(path).expanduser()
    if path.is_dir():
        files = [(file.name, file) for file in sorted(path.rglob("*.wav"))]
    elif not path.exists():
        raise FileNotFoundError(f"there is no data {path}: name a folder or zip of wav files, or one of "
                                f"{offline}")
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                names = sorted(name for name in archive.namelist() if name.endswith(".wav"))
                files = [(Path(name).name, io.BytesIO(archive.read(name))) for name in names]
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} is not a zip archive, or it is truncated ({error})") from error
    if not files:
        raise ValueError(f"{path} holds no wav files")
    return files


def sounds_of(data, files, rate):
    """The int16 sounds of [(name, path or binary file)], saying once how many had to be converted."""
    notes = []
    sounds = [sixteen_bit(read_wav(file, rate, name=name, say=notes.append)) for name, file in files]
    if notes:
        print(f"{data}: {len(notes)} conversions, the first: {notes[0]}")
    return sounds


def formants(words=10, voices=3, repetitions=20, rate=DIGIT_RATE):
    """((digit, speaker, index), int16 sound) of artificial words: glides between two vowels in three voices.

    Each of up to twelve words goes from one pair of formants (resonances of the throat and mouth, Hz) to
    another. The harmonics of the voice are as strong as they are near to one of them; pitch,
    length and formants differ by a few percent from one repetition to the next.
    """
    a, e, i, o, u = (750, 1250), (450, 2000), (280, 2300), (480, 900), (300, 700)
    glides = [(i, o), (u, a), (i, u), (e, i), (o, a), (a, i), (e, e), (a, u), (a, e), (o, i),
              (u, u), (o, e)]
    random = np.random.default_rng(0)
    for digit, (begin, end) in enumerate(glides[:words]):
        for voice in range(voices):
            for index in range(repetitions):
                pitch, size = 110 * 1.35 ** voice, 0.95 + 0.08 * voice          # Hz; of the formants
                samples = int(rate * random.uniform(0.2, 0.3))
                course = np.linspace(0, 1, samples)[None]
                voiced = np.cumsum(pitch * random.uniform(0.93, 1.07) * (1.1 - 0.2 * course)) / rate
                harmonics = np.arange(1, int(3600 / pitch))[:, None]
                strength = 0
                for first, last, gain in zip(begin, end, (1.0, 0.6), strict=True):
                    centre = ((1 - course) * first + course * last) * size * random.uniform(0.96, 1.04)
                    strength = strength + gain / (1 + ((harmonics * pitch - centre) / 90) ** 2)
                sound = (strength * np.sin(2 * np.pi * harmonics * voiced)).sum(axis=0)
                sound *= np.minimum(1, 20 * np.minimum(course, 1 - course))[0]          # fades in and out
                sound = sound / np.abs(sound).max() + 0.01 * random.standard_normal(samples)
                yield (digit, f"voice{voice}", index), sixteen_bit(0.5 * sound)


def load(data="spoken_digit", batch_size=32, *, seconds=1.0, seed=0, fold=None, **stream_options):
    """Single spoken digits -> Splits of int16 sounds (N, samples), int64 labels; 8,000 samples a second.

    fold: (k, K) validates on the k-th K-th of training and validation recordings together.
    stream_options go to Stream. Raises what recordings raises.
    """
    whole = recordings(data, seconds)
    training, validation = cut_anew(*(Examples(whole.rows(part), whole.labels[whole.rows(part)])
                                      for part in ("training", "validation")), fold)
    training, validation, test = (Examples(whole.sounds[rows], whole.labels[rows], from_sixteen_bit)
                                  for rows in (training.inputs, validation.inputs, whole.rows("test")))
    return Splits(Stream(training, batch_size, seed=seed, **stream_options), training, validation, test,
                  DIGITS)


class Strings:
    """Digits one after the other: the prepare of Examples whose inputs are plans.

    A plan, int32 (B, 2, longest), names the recordings and the samples at which they start; the
    row of a place that is not used is -1. -> float32 (B, samples), as long as the longest of the batch.
    """

    def __init__(self, whole, longest_gap):
        """longest_gap: seconds of silence, at most, before a recording."""
        silence = np.zeros(round(longest_gap * DIGIT_RATE) + 1, np.int16)
        self.sounds, self.lengths = np.concatenate([whole.sounds.reshape(-1), silence]), whole.lengths
        self.samples, self.silence = whole.sounds.shape[1], whole.sounds.size

    @functools.cached_property
    def _tensors(self):
        with tf.init_scope():                          # one of each for all graphs, and no part of any
            return tf.constant(self.sounds), tf.constant(self.lengths)

    def __call__(self, plans):
        sounds, all_lengths = self._tensors
        rows, starts = tf.unstack(tf.cast(plans, tf.int32), axis=1)                        # (B, longest)
        used = rows >= 0
        lengths = tf.where(used, tf.gather(all_lengths, tf.maximum(rows, 0)), 0)
        before = tf.pad((starts + lengths)[:, :-1], [[0, 0], [1, 0]])            # end of the one before
        gaps = tf.where(used, starts - before, 0)
        # All pieces of all strings one after the other: gap, recording, gap, recording, ...
        pieces = tf.reshape(tf.stack([gaps, lengths], axis=2), [-1])
        silence = tf.fill(tf.shape(rows), self.silence)
        begins = tf.reshape(tf.stack([silence, rows * self.samples], axis=2), [-1])
        since = tf.repeat(begins - tf.cumsum(pieces, exclusive=True), pieces)
        samples = tf.gather(sounds, since + tf.range(tf.reduce_sum(pieces)))
        whole = tf.reduce_sum(gaps + lengths, axis=1)
        return from_sixteen_bit(tf.RaggedTensor.from_row_lengths(samples, whole, validate=False).to_tensor())


def plans(whole, rows, count, seed, lengths=(3, 7), gaps=(0.0, 0.3)):
    """Strings to be made of the recordings in rows: (plans int32 (count, 2, longest), labels of them).

    Each string is of one speaker, its length and its digits equally likely, with silence of gaps
    seconds before each digit. labels int64 (count, longest): digit + 1, with 0 after the end.
    A pure function of (seed, count) and the recordings.
    """
    if not 1 <= lengths[0] <= lengths[1] or not 0 <= gaps[0] <= gaps[1]:
        raise ValueError("lengths and gaps must be (least, most), lengths at least 1, gaps at least 0. "
                         f"Received: lengths={lengths}, gaps={gaps}")
    random = np.random.default_rng([seed, 1])
    speakers, speaker_of = np.unique(whole.speakers[rows], return_inverse=True)
    cells = [[rows[(speaker_of == speaker) & (whole.labels[rows] == digit)] for digit in range(10)]
             for speaker in range(len(speakers))]
    if not all(len(cell) for cells_of_one in cells for cell in cells_of_one):
        raise ValueError("strings of one speaker's digits need recordings of every digit by every speaker")
    sizes = np.array([[len(cell) for cell in cells_of_one] for cells_of_one in cells])
    table = np.zeros((*sizes.shape, sizes.max()), np.int64)
    for speaker, digit in np.ndindex(*sizes.shape):
        table[speaker, digit, :sizes[speaker, digit]] = cells[speaker][digit]
    shape = (count, lengths[1])
    used = np.arange(lengths[1]) < random.integers(lengths[0], lengths[1] + 1, (count, 1))
    digits, speaker = random.integers(0, 10, shape), random.integers(0, len(speakers), (count, 1))
    chosen = table[speaker, digits, (random.random(shape) * sizes[speaker, digits]).astype(np.int64)]
    silence = np.round(random.uniform(*gaps, shape) * DIGIT_RATE).astype(np.int64)
    before = np.cumsum(silence + whole.lengths[chosen], axis=1) - whole.lengths[chosen]
    return (np.where(used, np.stack([chosen, before]), -1).swapaxes(0, 1).astype(np.int32),
            np.where(used, digits + 1, 0).astype(np.int64))


def strings(data="spoken_digit", batch_size=32, *, lengths=(3, 7), gaps=(0.0, 0.3), count=20_000,
            count_test=1_000, seed=0, fold=None, **stream_options):
    """Strings of one speaker's digits -> Splits; labels int64 (N, longest), digit + 1, filled up with 0.

    Training strings are made of training recordings alone, and so on. Their plan is drawn once from
    the seed, count of them; the count_test strings of validation and test are the same for every
    seed. They sound when a batch is made. fold as in load. Raises what recordings and plans raise.
    """
    whole = recordings(data)
    training, validation = (part.inputs for part in cut_anew(
        *(Examples(whole.rows(part), whole.rows(part)) for part in ("training", "validation")), fold))
    prepare = Strings(whole, gaps[1])
    training, validation, test = (
        Examples(*plans(whole, rows, number, own_seed, lengths, gaps), prepare)
        for rows, number, own_seed in ((training, count, seed), (validation, count_test, 1_000_001),
                                       (whole.rows("test"), count_test, 1_000_002)))
    return Splits(Stream(training, batch_size, seed=seed, **stream_options), training, validation, test,
                  DIGITS)


def commands(data="speech_commands", batch_size=100, *, seed=0, **stream_options):
    """Ten words, silence and unknown words -> Splits of int16 sounds (N, 16000), one second each.

    data: "speech_commands" through TFDS; a folder as Google publishes it, <word>/<name>.wav with
    validation_list.txt and testing_list.txt; "formants", made here.
    In a folder there are as many unknown words as of a known one, on average, evenly taken by name, and
    the silence is its background noise in pieces of a second: of each ten, one tests and one validates.
    Whole, in memory: 2.7 GB from TFDS, 1.5 GB from a folder. Raises FileNotFoundError or ValueError.
    """
    if data == "formants":
        parts = artificial_commands()
    elif data == "speech_commands":
        parts = {part: [(np.asarray(example["audio"]).astype(np.int16), int(example["label"])) for example in
                        tfds_source.examples("speech_commands", split, offline="formants")]
                 for part, split in (("training", "train"), ("validation", "validation"), ("test", "test"))}
    else:
        parts = command_folder(data)
    for part, pairs in parts.items():
        if missing := set(range(len(COMMANDS))) - {label for _, label in pairs}:
            words = ", ".join(COMMANDS[label] for label in missing)
            raise ValueError(f"{data} has no recording of {words} for the {part} split")
    training, validation, test = (
        Examples(filled([sound for sound, _ in parts[part]], COMMAND_RATE),
                 np.array([label for _, label in parts[part]], np.int64), from_sixteen_bit)
        for part in ("training", "validation", "test"))
    return Splits(Stream(training, batch_size, seed=seed, **stream_options), training, validation, test,
                  COMMANDS)


def artificial_commands():
    """{part: [(int16 sound, label)]} like recordings("formants"); noise is silence, two words unknown."""
    random = np.random.default_rng(1)
    parts = {"training": [], "validation": [], "test": []}
    for (word, _, index), sound in formants(words=12, rate=COMMAND_RATE):
        part = "test" if index in TEST else "validation" if index in VALIDATION else "training"
        parts[part].append((sound, COMMANDS.index("_unknown_") if word > 9 else word))
        if word == 0:
            noise = random.standard_normal(COMMAND_RATE) * random.uniform(0.001, 0.1)
            parts[part].append((sixteen_bit(noise), COMMANDS.index("_silence_")))
    return parts


def command_folder(data):
    """{part: [(int16 sound, label)]} of a folder of speech commands; see commands."""
    folder = Path(data).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {data}: name that of the speech commands, or one of "
                                "speech_commands and formants")
    parts = {"training": [], "validation": [], "test": []}
    listed = {}
    for part, name in (("validation", "validation_list.txt"), ("test", "testing_list.txt")):
        if not (folder / name).exists():
            raise FileNotFoundError(f"{data} does not hold the speech commands: it has no {name}")
        listed.update(dict.fromkeys((folder / name).read_text().split(), part))
    files = sorted(path.relative_to(folder) for path in folder.glob("*/*.wav"))
    words = [path for path in files if path.parent.name != NOISE]
    if absent := sorted(set(listed) - {path.as_posix() for path in words}):
        raise ValueError(f"{data} is not whole: {len(absent)} files of its lists are missing, among them "
                         f"{absent[0]}")
    for part, pairs in parts.items():
        own = [path for path in words if listed.get(path.as_posix(), "training") == part]
        known = [path for path in own if path.parent.name in COMMANDS]
        unknown = [path for path in own if path.parent.name not in COMMANDS]
        wanted = min(len(unknown), round(len(known) / 10))
        chosen = known + [unknown[k * len(unknown) // wanted] for k in range(wanted)]
        sounds = sounds_of(data, [(path.as_posix(), folder / path) for path in chosen], COMMAND_RATE)
        labels = [COMMANDS.index(path.parent.name if path.parent.name in COMMANDS else "_unknown_")
                  for path in chosen]
        pairs.extend(zip(sounds, labels, strict=True))
    noises = [(path.as_posix(), folder / path) for path in files if path.parent.name == NOISE]
    pieces = [sound[start:start + COMMAND_RATE] for sound in sounds_of(data, noises, COMMAND_RATE)
              for start in range(0, len(sound) - COMMAND_RATE + 1, COMMAND_RATE)]
    for k, piece in enumerate(pieces):
        part = {0: "test", 1: "validation"}.get(k % 10, "training")
        parts[part].append((piece, COMMANDS.index("_silence_")))
    return parts


@dataclasses.dataclass(frozen=True)
class Disturbed:
    """The augment of a Stream of sounds: later by up to `shift` seconds, and with noise.

    noise: standard deviation at most, as a part of the loudest sample; each example draws its own.
    The end of the sound, from which on all is zero, stays free of noise, as in a file that ends there.
    """
    shift: float = 0.0
    noise: float = 0.0
    rate: int = DIGIT_RATE

    def __call__(self, sounds, seeds):
        """sounds float32 (B, samples), seeds int64 (B, 2) -> sounds of the same shape."""
        samples = tf.shape(sounds)[1]
        drawn = (uniform(keys(seeds), 1)[..., 0] + 1) / 2                                   # (2, B) in (0, 1)
        place = tf.range(samples)[None]
        later = tf.cast(drawn[0] * self.shift * self.rate, tf.int32)[:, None]
        moved = sounds
        if self.shift:
            source = place - later
            moved = tf.where(source >= 0, tf.gather(sounds, tf.maximum(source, 0), axis=1, batch_dims=1), 0.0)
        if not self.noise:
            return moved
        end = tf.reduce_max(tf.where(moved != 0, place + 1, 0), axis=1, keepdims=True)
        loudness = tf.reduce_max(tf.abs(moved), axis=1, keepdims=True) * self.noise * drawn[1][:, None]
        # One generator for the whole batch, by its first example, would not be the same on several
        # devices: each example reads its own part of a table of noise.
        offsets = tf.cast(drawn[0] * 48_611 + drawn[1] * 15_301, tf.int32)[:, None]
        noise = tf.gather(tf.constant(NOISE_TABLE), (place + offsets) % len(NOISE_TABLE))
        return moved + tf.where(place < end, loudness * noise, 0.0)


NOISE_TABLE = np.random.default_rng(0).standard_normal(65_536).astype(np.float32)
