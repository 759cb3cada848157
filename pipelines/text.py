"""Texts as sequences of integers: words, a vocabulary of the training texts, and the way back from a file."""
import dataclasses
import functools
import re
from collections import Counter
from pathlib import Path

import numpy as np

from pipelines.stream import Examples, Splits

PADDING, UNKNOWN, FIRST = 0, 1, 2          # what the integers mean: nothing, any other word, the first word
TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[!?£$€%]")
KIND = "text"                              # in about.json: predict takes texts


def words(text, shapes=False):
    """The words of a text in lower case, in any script; of all signs only those that say something.

    shapes: every digit is read as 0, so that all telephone numbers of one length are one word.
    """
    text = text.lower().replace("<br />", " ")
    return TOKEN.findall(re.sub(r"\d", "0", text) if shapes else text)


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Which integer stands for which word, or pair of words that follow each other.

    0 is padding, 1 any word that is not known, 2 and up the words; after them come the pairs.
    words: the known words, the most frequent first.
    pairs: int64 codes of the known pairs, (first word's integer) * (2 + words) + second's.
    length: words of a text that are read; of a longer one the last, since reviews end with their verdict.
    shapes: as of words. distinct: of a text each integer once, in no order of its own; for bags of words.
    """
    words: tuple[str, ...]
    pairs: tuple[int, ...] = ()
    length: int = 400
    shapes: bool = False
    distinct: bool = False

    @classmethod
    def of(cls, texts, size, *, pairs=0, length=400, shapes=False, distinct=False):
        """The `size` most frequent words of these texts, and `pairs` pairs, that occur at least twice."""
        if size < 1 or pairs < 0 or length < 1:
            raise ValueError("a vocabulary needs at least one word, no negative number of pairs, and texts "
                             f"of at least one word. Received: size={size}, pairs={pairs}, length={length}")
        counts = Counter()
        for text in texts:
            counts.update(words(text, shapes))
        common = sorted((word for word, count in counts.items() if count > 1),
                        key=lambda word: (-counts[word], word))[:size]
        if not common:
            raise ValueError(f"no word occurs twice in the {len(texts)} texts for training")
        single = cls(tuple(common), length=length, shapes=shapes, distinct=distinct)
        if not pairs:
            return single
        codes, counts = np.unique(np.concatenate([single.pair_codes(single.word_integers(text))
                                                  for text in texts]), return_counts=True)
        order = np.lexsort((codes, -counts))[:pairs]
        kept = np.sort(codes[order[counts[order] > 1]])
        return dataclasses.replace(single, pairs=tuple(kept.tolist()))

    def __len__(self):
        return FIRST + len(self.words) + len(self.pairs)

    @functools.cached_property
    def places(self):
        return {word: index for index, word in enumerate(self.words, FIRST)}

    @functools.cached_property
    def sorted_pairs(self):
        return np.array(self.pairs, np.int64)

    def word_integers(self, text):
        found = words(text, self.shapes)[-self.length:]
        return np.array([self.places.get(word, UNKNOWN) for word in found], np.int64)

    def pair_codes(self, integers):
        known = (integers[:-1] != UNKNOWN) & (integers[1:] != UNKNOWN)
        return (integers[:-1] * (FIRST + len(self.words)) + integers[1:])[known]

    def integers(self, text):
        """A text -> int32 (T,): its words, then its known pairs."""
        found = self.word_integers(text)
        if self.pairs:
            codes = self.pair_codes(found)
            index = np.searchsorted(self.sorted_pairs, codes).clip(max=len(self.pairs) - 1)
            index = index[self.sorted_pairs[index] == codes]
            found = np.concatenate([found, FIRST + len(self.words) + index])
        return (np.unique(found) if self.distinct else found).astype(np.int32)

    def array(self, texts):
        """Texts -> int32 (N, T of the longest), padding after the words; one without words is one unknown."""
        found = [self.integers(text) for text in texts]
        return padded([one if len(one) else np.array([UNKNOWN]) for one in found])

    def preprocessing(self):
        """What goes into about.json, for reader."""
        return {"kind": KIND, "words": self.words, "pairs": self.pairs, "length": self.length,
                "shapes": self.shapes, "distinct": self.distinct}


def padded(sequences):
    """Sequences of integers -> int32 (N, longest), 0 after the end of each."""
    array = np.zeros((len(sequences), max(map(len, sequences), default=0)), np.int32)
    for row, sequence in zip(array, sequences, strict=True):
        row[:len(sequence)] = sequence
    return array


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextSplits(Splits):
    """Splits of texts as integers, with the vocabulary of the training texts and the test texts as such."""
    vocabulary: Vocabulary
    test_texts: tuple[str, ...]


def vectorised(training, validation, test, size, **options):
    """(vocabulary, three Examples of int32 (N, T)) of three Examples of str (N,): once, before training."""
    vocabulary = Vocabulary.of(training.inputs, size, **options)
    return vocabulary, *(Examples(vocabulary.array(part.inputs), part.labels)
                         for part in (training, validation, test))


class Reader:
    """Texts for a network that was saved with Vocabulary.preprocessing()."""
    takes = "text files, or --text TEXT"

    def __init__(self, about):
        self.vocabulary = Vocabulary(tuple(about["words"]), tuple(about["pairs"]), about["length"],
                                     about["shapes"], about["distinct"])

    @staticmethod
    def load(path):
        return contents(path)

    def read(self, text, name):
        """A text -> int32 (T,). Raises ValueError, with the name, if it says nothing to the network."""
        found = self.vocabulary.integers(text)
        if not len(found):
            raise ValueError(f"{name} has no word: it is empty, or holds signs only")
        if (found == UNKNOWN).all():
            raise ValueError(f"{name} has no word that the model knows: another language, or script? "
                             f"It was trained on words such as {', '.join(self.vocabulary.words[:5])}.")
        return found

    def batch(self, sequences):
        return padded(sequences)


def contents(path):
    """The text in a file, as UTF-8. Raises OSError or ValueError, naming the file."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a text file")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8, from byte {error.start} on: save it as UTF-8"
                         ) from error
    except OSError as error:
        raise OSError(f"{path} cannot be read ({error.strerror})") from error
    if not text.strip():
        raise ValueError(f"{path} is empty")
    return text
