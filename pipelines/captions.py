"""Images with sentences about them: real photographs on disk, or a generated world.

    shapes        coloured shapes and what can be said of them (pipelines.shapes): no download
    a folder      of Flickr8k: Flickr8k.token.txt and its three lists, or Flickr8k_text.zip, and the images
                  of COCO: captions_train2014.json and captions_val2014.json (or any other year), and the
                  images; all of them wherever they lie below the folder
                  with Karpathy's dataset_coco.json, dataset_flickr8k.json or dataset_flickr30k.json in it:
                  by that file and its split

The split of Flickr8k is its own: 6,000, 1,000 and 1,000 images. COCO's validation images give, in the order
of their numbers, the first 5,000 for validation, the next 5,000 for the test (a quarter each if there are
fewer than 20,000), and the rest for training, beside the training images.
"""
import dataclasses
import functools
import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines import shapes
from pipelines.distort import keys, uniform
from pipelines.files import (
    CentreCrop,
    FileExamples,
    FileStream,
    RandomResizedCrop,
    examined,
    paths_below,
    scan,
)
from pipelines.image_folder import IMAGENET_MEAN, IMAGENET_STD, report
from pipelines.stream import Examples, Standardized, Stream
from pipelines.text import padded, words

PADDING, UNKNOWN, START, END, FIRST = range(5)      # what the integers mean; the first word comes after them
KIND = "captions"                # in about.json: predict says what is in an image
SALT = 3_000                     # the pair of random numbers that chooses a sentence
MULTIPLE = 8                     # batches of sentences are cut to multiples of so many words
PARTS = ("training", "validation", "test")
FLICKR_TEXT, FLICKR_ZIP = "Flickr8k.token.txt", "Flickr8k_text.zip"
FLICKR_LISTS = {"training": "Flickr_8k.trainImages.txt", "validation": "Flickr_8k.devImages.txt",
                "test": "Flickr_8k.testImages.txt"}
KARPATHY = {"train": "training", "restval": "training", "val": "validation", "test": "test"}
HELD_OUT = 5_000                 # of COCO's validation images, for validation and for the test, each
TOLD = 10                        # missing images that a message names


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Which integer stands for which word: 0 padding, 1 any other word, 2 start, 3 end, 4 and up the words.

    words: the most frequent first.
    """
    words: tuple[str, ...]

    @classmethod
    def of(cls, sentences, least=5):
        """The words that occur at least so many times in these sentences."""
        counts = Counter(word for sentence in sentences for word in sentence.split())
        known = sorted((word for word, count in counts.items() if count >= least),
                       key=lambda word: (-counts[word], word))
        if not known:
            raise ValueError(f"no word occurs {least} times in the {len(sentences)} sentences for training. "
                             "Take a smaller least")
        return cls(tuple(known))

    def __len__(self):
        return FIRST + len(self.words)

    @functools.cached_property
    def places(self):
        return {word: index for index, word in enumerate(self.words, FIRST)}

    def integers(self, sentence):
        """A sentence of words with spaces between them -> [START, ..., END]."""
        return [START, *(self.places.get(word, UNKNOWN) for word in sentence.split()), END]

    def text(self, integers):
        """Integers without start and end, with padding behind -> a sentence."""
        return " ".join(self.words[index - FIRST] if index >= FIRST else "(unknown)"
                        for index in integers if index != PADDING)


@dataclasses.dataclass(frozen=True)
class Captioned:
    """A finite split of images with sentences, as training.loop and Run.evaluate take it.

    examples: Examples in memory or FileExamples, whose labels are the row numbers.
    words: int32 (N, sentences, T), START ... END, padded; counts: int32 (N,), sentences of each image.
    sentences: of each image, in words with spaces between them, rare ones as they are.
    """
    examples: Examples | FileExamples
    words: np.ndarray
    counts: np.ndarray
    sentences: tuple[tuple[str, ...], ...]

    def __len__(self):
        return len(self.examples)

    @property
    def labels(self):
        return self.words[:, 0, 1:]

    @property
    def input_shape(self):
        """(H, W, C) of an image."""
        return tuple(self.examples.inputs.shape[1:])

    def dataset(self, batch_size=100):
        """A tf.data.Dataset of (inputs, labels): each image once, with one of its sentences, always the same.

        inputs: {"image": prepared (B, H, W, C), "words": int32 (B, T) from START on}; labels: int32 (B, T),
        the word after each, END and padding at last.
        """
        words, counts = tf.constant(self.words), tf.constant(self.counts)

        def pair(images, rows):
            choice = tf.cast(rows, tf.int32) % tf.gather(counts, rows)
            return taught(images, tf.gather(tf.gather(words, rows), choice, batch_dims=1))
        return self.examples.dataset(batch_size).map(pair)

    def images(self, batch_size=100):
        """A tf.data.Dataset of the prepared images alone, in order."""
        return self.examples.dataset(batch_size).map(lambda images, rows: images)

    def picture(self, row):
        """An image as stored: uint8 (H, W, 3)."""
        return self.examples.inputs[row]

    def explained(self, error):
        return self.examples.explained(error) if hasattr(self.examples, "explained") else error


def taught(images, sentences):
    """Images, sentences int32 (B, T) -> ({"image", "words" but for the last}, the words after them).

    Cut to the longest sentence, in steps of MULTIPLE.
    """
    longest = tf.reduce_max(tf.reduce_sum(tf.cast(sentences != PADDING, tf.int32), axis=1)) - 1
    steps = tf.minimum(-(-longest // MULTIPLE) * MULTIPLE, tf.shape(sentences)[1] - 1)
    return {"image": images, "words": sentences[:, :steps]}, sentences[:, 1:steps + 1]


class Taught:
    """What a Stream of images and row numbers becomes with sentences: one for each image, drawn anew."""

    def __init__(self, captioned, batch_size, **options):
        super().__init__(captioned.examples, batch_size, **options)
        self.captioned = captioned

    @functools.cached_property
    def _sentences(self):
        with tf.init_scope(), tf.device("CPU:0"):
            return tf.constant(self.captioned.words), tf.constant(self.captioned.counts)

    def fetch(self, index, seeds):
        images, rows = super().fetch(index, seeds)
        words, counts = (tf.gather(values, rows) for values in self._sentences)
        number = (uniform(keys(seeds), 1, SALT)[0, :, 0] + 1) / 2 * tf.cast(counts, tf.float32)
        return taught(images, tf.gather(words, tf.cast(number, tf.int32), batch_dims=1))


class TaughtStream(Taught, Stream):
    """Endless batches as of Captioned.dataset, from images in memory."""


class TaughtFileStream(Taught, FileStream):
    """Endless batches as of Captioned.dataset, from image files."""


@dataclasses.dataclass(frozen=True)
class CaptionSplits:
    """Images and sentences, ready: an endless training stream and three finite splits.

    vocabulary: of the training sentences. standardized: what was done to the pixels.
    """
    train: Stream
    training: Captioned
    validation: Captioned
    test: Captioned
    vocabulary: Vocabulary
    standardized: Standardized

    @property
    def input_shape(self):
        return self.test.input_shape

    def preprocessing(self):
        """What goes into about.json, for Reader."""
        return {"kind": KIND, "words": self.vocabulary.words, "mean": self.standardized.mean,
                "std": self.standardized.std}


def load(name="shapes", batch_size=32, *, size=48, least=5, most=3, images=20_000, seed=0,
         skip_unreadable=False, check="headers"):
    """-> CaptionSplits of RGB images of size x size pixels.

    name: see above. least: times that a word occurs in the training sentences, else it is unknown.
    most, images: of shapes, how many in an image, and training images. skip_unreadable: images that are
    missing or cannot be read are left out, with their sentences; check: see pipelines.files.scan.
    Photographs: a random part of half or more for training, mirrored half the time, and the largest
    middle square for the rest. Raises ValueError or FileNotFoundError in a sentence: no such folder, or
    none of these layouts, sentences about images that are missing, images without a sentence.
    """
    if name == "shapes":
        return of_shapes(batch_size, size, least, most, images, seed)
    parts = listed(name)
    located, special = found(Path(name), parts, skip_unreadable, check)
    rows = {part: [(located[image], sentences) for image, sentences in parts[part] if image in located]
            for part in PARTS}
    if empty := [part for part in PARTS if not rows[part]]:
        raise ValueError(f"{name} has no image that can be read for the {empty[0]} part")
    vocabulary = Vocabulary.of([one for _, sentences in rows["training"] for one in sentences], least)
    standardized, splits = Standardized(IMAGENET_MEAN, IMAGENET_STD), {}
    for part in PARTS:
        paths, sentences = zip(*rows[part], strict=True)
        examples = FileExamples(np.array(paths), np.arange(len(paths)),
                                np.array([special[path] for path in paths]), CentreCrop(size, 1.0),
                                standardized)
        splits[part] = captioned(examples, sentences, vocabulary)
    stream = TaughtFileStream(splits["training"], batch_size, seed=seed,
                              crop=RandomResizedCrop(size, (0.5, 1.0)))
    return CaptionSplits(stream, **splits, vocabulary=vocabulary, standardized=standardized)


def of_shapes(batch_size, size, least, most, images, seed):
    """The generated world; to validate, a twentieth as many, at most 1,000; to test, twice that."""
    validation = min(max(images // 20, 1), 1_000)
    made = shapes.worlds(images, validation, 2 * validation, side=size, most=most)
    vocabulary = Vocabulary.of([sentence for sentences in made["training"].sentences
                                for sentence in sentences], least)
    standardized = Standardized(0.5, 0.25)
    splits = {part: captioned(Examples(world.images, np.arange(len(world.images)), standardized),
                              world.sentences, vocabulary) for part, world in made.items()}
    return CaptionSplits(TaughtStream(splits["training"], batch_size, seed=seed), **splits,
                         vocabulary=vocabulary, standardized=standardized)


def captioned(examples, sentences, vocabulary):
    """Captioned of images and their sentences."""
    counts = np.array([len(some) for some in sentences], np.int32)
    every = padded([vocabulary.integers(sentence) for some in sentences for sentence in some])
    integers = np.zeros((len(counts), counts.max(), every.shape[1]), np.int32)
    integers[np.arange(counts.max()) < counts[:, None]] = every
    return Captioned(examples, integers, counts, tuple(map(tuple, sentences)))


def listed(folder):
    """{part: [(name of an image file, [sentence])]} of a folder with one of the three layouts.

    Sentences are in lower case, without signs, words with spaces between them.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: data must be shapes, or a folder with the "
                                "layout of Flickr8k or COCO")
    if split := sorted(folder.rglob("dataset_*.json")):
        parts = of_karpathy(split[0])
    elif annotations := sorted(folder.rglob("captions_*.json")):
        parts = of_coco(folder, annotations)
    elif texts := sorted(folder.rglob(FLICKR_TEXT)):
        parts = of_flickr8k(texts[0], lambda name: contents(texts[0].with_name(name)))
    elif archives := sorted(folder.rglob(FLICKR_ZIP)):
        parts = of_flickr8k(archives[0], functools.partial(member, archives[0]))
    else:
        raise ValueError(f"{folder} has no captions: it needs {FLICKR_TEXT} or {FLICKR_ZIP}, "
                         "captions_train2014.json and captions_val2014.json, or a dataset_*.json of Karpathy")
    parts = {part: [(image, [sentence for sentence in map(plain, sentences) if sentence])
                    for image, sentences in parts[part]] for part in PARTS}
    if bare := [image for rows in parts.values() for image, sentences in rows if not sentences]:
        raise ValueError(f"{len(bare)} images of {folder} have no sentence with a word in it: "
                         f"{first_of(bare)}")
    for part, rows in parts.items():
        if not rows:
            raise ValueError(f"{folder} lists no image for the {part} part")
    return parts


def plain(sentence):
    """A sentence in lower case, its words with spaces between them, without signs."""
    return " ".join(words(sentence))


def first_of(names):
    """The first TOLD names, and how many more there are."""
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return ", ".join(names[:TOLD]) + more


def contents(path):
    """The text of a file. Raises FileNotFoundError, naming it."""
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}, which the layout of Flickr8k has")
    return path.read_text(encoding="utf-8")


def member(archive, name):
    """The text of a file in Flickr8k_text.zip. Raises ValueError, naming the archive."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.read(name).decode()
    except KeyError as error:
        raise ValueError(f"{archive} holds no {name}") from error
    except (zipfile.BadZipFile, EOFError, OSError, zipfile.zlib.error) as error:
        raise ValueError(f"{archive} is truncated or damaged: {error}") from error


def of_flickr8k(source, read):
    """The parts of Flickr8k: read gives the text of each of its files by name; source is told in errors.

    A line of the captions is: image.jpg#0, tab, sentence. Images in none of the lists are left out.
    Source: Hodosh, Young and Hockenmaier 2013, Framing image description as a ranking task.
    """
    sentences = {}
    for number, line in enumerate(read(FLICKR_TEXT).splitlines(), 1):
        key, tab, sentence = line.partition("\t")
        image, mark, _ = key.rpartition("#")
        if line.strip() and not (tab and mark):
            raise ValueError(f"{source}: line {number} of {FLICKR_TEXT} is not of the form "
                             f"image.jpg#0, tab, sentence: {line[:80]}")
        sentences.setdefault(image, []).append(sentence)
    return {part: [(image, sentences.get(image, [])) for image in read(name).split()]
            for part, name in FLICKR_LISTS.items()}


def of_coco(folder, annotations):
    """The parts of COCO, of the files captions_train*.json and captions_val*.json."""
    found = {kind: [path for path in annotations if path.name.startswith(f"captions_{kind}")]
             for kind in ("train", "val")}
    if not all(found.values()):
        raise ValueError(f"{folder} needs both captions_train2014.json and captions_val2014.json, or those "
                         f"of another year. It has {', '.join(path.name for path in annotations)}")
    train, val = ([row for path in paths for row in of_annotations(path)] for paths in found.values())
    held = min(HELD_OUT, len(val) // 4)
    return {"training": train + val[2 * held:], "validation": val[:held], "test": val[held:2 * held]}


def of_annotations(path):
    """[(file name, [sentence])] of one of COCO's files, by the numbers of the images."""
    content = of_json(path)
    try:
        sentences = {image["id"]: (image["file_name"], []) for image in content["images"]}
        for annotation in content["annotations"]:
            sentences[annotation["image_id"]][1].append(annotation["caption"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not of COCO's form: images with id and file_name, annotations with "
                         f"image_id of these and caption ({type(error).__name__}: {error})") from error
    return [sentences[number] for number in sorted(sentences)]


def of_karpathy(path):
    """The parts of a dataset_*.json. Source: Karpathy and Fei-Fei 2015, arXiv:1412.2306, section 4."""
    parts = {part: [] for part in PARTS}
    try:
        for image in of_json(path)["images"]:
            parts[KARPATHY[image["split"]]].append(
                (image["filename"], [sentence["raw"] for sentence in image["sentences"]]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not of Karpathy's form: images with filename, split (one of "
                         f"{', '.join(KARPATHY)}) and sentences with raw ({type(error).__name__}: {error})"
                         ) from error
    return parts


def of_json(path):
    """What a JSON file holds. Raises ValueError, naming it, if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:                    # of the text, or of its encoding
        raise ValueError(f"{path} is truncated or damaged: {error}") from error


def found(folder, parts, skip, check):
    """({name: path} of the images that can be read, {path: whether Pillow has to read it}).

    Raises ValueError for those that are missing or damaged, or, to be skipped, prints how many.
    """
    there = {Path(path).name: path for path in paths_below(folder)}
    wanted = [image for part in PARTS for image, _ in parts[part]]
    missing = [image for image in wanted if image not in there]
    if missing:
        sentence = (f"{len(missing)} of the {len(wanted)} images that {folder} has captions for are missing: "
                    f"{first_of(missing)}")
        if not skip:
            raise ValueError(f"{sentence}. Put them anywhere below {folder}, or leave them out, with their "
                             "captions, by skip_unreadable.")
        print(f"{sentence}. They are left out.", flush=True)
    paths = [there[image] for image in wanted if image in there]
    special, problems = scan(paths, check)
    if problems:
        report(problems, len(paths), skip)
    bad = {path for path, _ in problems}
    return ({image: there[image] for image in wanted if image in there and there[image] not in bad},
            dict(zip(paths, special, strict=True)))


class Reader:
    """Image files for a network that was saved with CaptionSplits.preprocessing(), and its sentences."""

    def __init__(self, about, size):
        self.vocabulary = Vocabulary(tuple(about["words"]))
        self.standardized = Standardized(about["mean"], about["std"])
        self.crop = CentreCrop(size, 1.0)

    def read(self, path):
        """The largest middle square of an image file, uint8 (size, size, 3). Raises ValueError, naming it."""
        path = Path(path)
        special, wrong = (False, "is a folder") if path.is_dir() else examined(str(path), "decode")
        if wrong:
            raise ValueError(f"{path} {wrong}")
        return self.crop(tf.constant(str(path)), tf.constant(bool(special))).numpy()

    def batch(self, images):
        return np.asarray(self.standardized(tf.constant(np.stack(images))))
