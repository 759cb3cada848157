"""A text as characters, read on from batch to batch; for networks that carry their state along.

    tiny_shakespeare   1,003,854 characters, and 55,770 each for validation and test, through TFDS
    sentences          generated reviews, one per line: no download
    any text file      named by its path: its last tenth is for validation and test, half each

Source of tiny_shakespeare: Karpathy 2015, The unreasonable effectiveness of recurrent neural networks.
"""
import dataclasses
import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines import sentences
from pipelines.stream import untuned
from pipelines.text import contents
from pipelines.tfds_source import texts

OTHER = "\N{REPLACEMENT CHARACTER}"        # integer 0: any character that the training text has not
KIND = "characters"                        # in about.json: predict goes on with a text


@dataclasses.dataclass(frozen=True)
class Alphabet:
    """Which integer stands for which character of the training text: 1 and up; 0 for any other."""
    characters: str

    @classmethod
    def of(cls, text):
        return cls("".join(sorted(set(text))))

    def __len__(self):
        return 1 + len(self.characters)

    @functools.cached_property
    def places(self):
        return {character: index for index, character in enumerate(self.characters, 1)}

    def integers(self, text):
        """A text -> int32 (T,)."""
        return np.array([self.places.get(character, 0) for character in text], np.int32)

    def text(self, integers):
        return "".join((OTHER + self.characters)[index] for index in integers)

    def preprocessing(self):
        """What goes into about.json, for Reader."""
        return {"kind": KIND, "characters": self.characters}


class Continued:
    """Endless batches of a text whose rows go on where those of the batch before ended.

    Row r starts at r * (length // rows), and from then on reads the text as a circle: so batch i is a pure
    function of i, and of nothing else. inputs: int32 (rows, steps); labels: the characters after them.
    Raises ValueError for a text that is shorter than one batch.
    """

    def __init__(self, integers, rows, steps):
        if rows < 1 or steps < 1:
            raise ValueError("a batch has at least one row and one step. "
                             f"Received: {rows} rows, {steps} steps")
        if len(integers) <= rows * steps:
            raise ValueError(f"the text has {len(integers)} characters, and a batch of {rows} rows of "
                             f"{steps} steps needs more than {rows * steps}")
        self.integers, self.batch_size, self.steps = integers, rows, steps

    @property
    def batches_per_epoch(self):
        return len(self.integers) // (self.batch_size * self.steps)

    def check_divides(self, parts):
        """Raises ValueError for several devices: each row's state stays where the row is."""
        if parts != 1:
            raise ValueError("a network that carries its state from batch to batch trains on one device. "
                             f"Received: {parts} devices. Take --strategy none")

    def batch(self, i, shard=(0, 1)):
        self.check_divides(shard[1])
        length = len(self.integers)
        starts = tf.range(self.batch_size, dtype=tf.int64) * (length // self.batch_size)
        places = (starts[:, None] + tf.cast(i, tf.int64) * self.steps
                  + tf.range(self.steps + 1, dtype=tf.int64)) % length
        window = tf.gather(self._text, places)                               # (rows, steps + 1)
        return window[:, :-1], window[:, 1:]

    @functools.cached_property
    def _text(self):
        with tf.init_scope():
            return tf.constant(self.integers)


class Passage:
    """A text for evaluation, once through: rows side by side, in windows of equal length that go on.

    Up to rows + windows characters at the end of the rows are left out, so that all windows weigh the same.
    inputs, labels: int32 (rows, windows * steps).
    """

    def __init__(self, integers, rows, steps):
        span = (len(integers) - 1) // rows
        if span < 1:
            raise ValueError(f"a text of {len(integers)} characters is too short for {rows} rows")
        windows = -(-span // steps)
        self.steps = span // windows
        used = np.arange(rows)[:, None] * span + np.arange(windows * self.steps)
        self.inputs, self.labels = integers[used], integers[used + 1]

    def __len__(self):
        return len(self.labels)

    def dataset(self, batch_size=None):
        """(inputs, labels) of (rows, steps), window after window; batch_size is not asked for."""
        parts = [np.stack(np.split(array, array.shape[1] // self.steps, axis=1))
                 for array in (self.inputs, self.labels)]
        return untuned(tf.data.Dataset.from_tensor_slices(tuple(parts)))


@dataclasses.dataclass(frozen=True)
class Book:
    """A text, ready: an endless training stream and two passages; alphabet: of the training text."""
    train: Continued
    validation: Passage
    test: Passage
    alphabet: Alphabet
    validation_text: str


def load(name="tiny_shakespeare", batch_size=64, steps=64):
    """-> Book of batches of batch_size rows and so many steps.

    name: see above. Raises ValueError for a text that is too short, FileNotFoundError when it is neither
    there nor to be downloaded.
    """
    if name == "tiny_shakespeare":
        training, validation, test = ("".join(texts(name, split, offline="sentences")[0])
                                      for split in ("train", "validation", "test"))
    else:
        if name == "sentences":
            text = "\n".join(np.concatenate([part.inputs for part in sentences.reviews()]))
        elif Path(name).suffix or Path(name).exists():
            text = contents(name)
        else:
            raise ValueError("data must be tiny_shakespeare, sentences, or the path of a text file. "
                             f"Received: {name}")
        ends = len(text) * 9 // 10, len(text) * 19 // 20
        training, validation, test = text[:ends[0]], text[ends[0]:ends[1]], text[ends[1]:]
    alphabet = Alphabet.of(training)
    return Book(Continued(alphabet.integers(training), batch_size, steps),
                Passage(alphabet.integers(validation), batch_size, steps),
                Passage(alphabet.integers(test), batch_size, steps), alphabet, validation)


class Reader:
    """Prompts for a network that was saved with Alphabet.preprocessing()."""
    takes = "text files, or --text TEXT"

    def __init__(self, about):
        self.alphabet = Alphabet(about["characters"])

    @staticmethod
    def load(path):
        return contents(path)

    def read(self, text, name):
        """A text -> int32 (T,). Raises ValueError, with the name, if none of its characters is known."""
        found = self.alphabet.integers(text)
        if not found.any():
            raise ValueError(f"{name} is empty" if not len(found) else
                             f"{name} has no character that the model knows: another script? It knows "
                             f"{self.alphabet.characters.strip()!r}")
        return found
