"""Lines of handwriting: digits of MNIST side by side, and lines or words of the IAM database on disk.

    mnist     five handwritten digits a line, at random distances and heights; also fashion_mnist, kmnist
    digits    the same from scikit-learn's digits, enlarged: no download
    a path    a folder with the layout of IAM: ascii/lines.txt or ascii/words.txt and lines/ or words/

Images are white on black, uint8 until they are prepared; labels count from 1, with 0 after a line's end.
"""
import dataclasses
import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines import mnist
from pipelines.stream import Examples, Splits, Stream, cut_anew

DIGITS = (*mnist.TFDS_NAMES, "digits")
SIZE = 28                         # pixels of an image's side in all of them
# Of IAM's "large writer independent text line recognition task".
SPLIT_FILES = {"training": ("trainset.txt",), "validation": ("validationset1.txt", "validationset2.txt"),
               "test": ("testset.txt",)}


class Lines:
    """Images one beside the other: the prepare of Examples whose inputs are plans.

    A plan, int32 (B, 3, digits), names the images, how far down and how far right each of them
    begins. -> float32 (B, height, width, 1) in [0, 1]; where two overlap the brighter one is seen.
    """

    def __init__(self, images, height, width):
        self.images = np.pad(images[..., 0], [(0, 0), (1, 1), (1, 1)])         # a black frame around each
        self.height, self.width = height, width

    @functools.cached_property
    def _pixels(self):
        with tf.init_scope():                          # one tensor for all graphs, and no part of any
            return tf.constant(self.images.reshape(-1))

    def __call__(self, plans):
        index, down, right = tf.unstack(tf.cast(plans, tf.int32), axis=1)                  # (B, digits)
        size = self.images.shape[1]
        line = tf.zeros((tf.shape(index)[0], self.height, self.width), tf.uint8)
        for k in range(index.shape[1]):
            row = tf.clip_by_value(tf.range(self.height) - down[:, k, None] + 1, 0, size - 1)
            column = tf.clip_by_value(tf.range(self.width) - right[:, k, None] + 1, 0, size - 1)
            begin = index[:, k, None] * size ** 2
            pixels = tf.gather(self._pixels, (begin + row * size)[:, :, None] + column[:, None])
            line = tf.maximum(line, pixels)
        return tf.cast(line, tf.float32)[..., None] / 255


def plans(labels, count, seed, *, digits, gaps, lift, margin):
    """Lines of images with these labels: plans int32 (count, 3, digits) and labels int64 (count, digits).

    Walks through permutations of all images, so that each is used as often as another. A pure
    function of its arguments: gaps (least, most) and lift in pixels, margin before the first digit at most.
    """
    random = np.random.default_rng([seed, 2])
    rounds = -(-count * digits // len(labels))
    index = np.concatenate([random.permutation(len(labels)) for _ in range(rounds)])
    index = index[:count * digits].reshape(count, digits)
    gap = random.integers(gaps[0], gaps[1] + 1, (count, digits))
    gap[:, 0] = random.integers(0, margin + 1, count)
    right = np.cumsum(gap + SIZE, axis=1) - SIZE
    down = random.integers(0, 2 * lift + 1, (count, digits))
    return np.stack([index, down, right], axis=1).astype(np.int32), labels[index] + 1


def load(data="mnist", batch_size=32, *, digits=5, count=20_000, gaps=(-9, 3), lift=4, margin=8, seed=0,
         fold=None, **stream_options):
    """Lines of so many digits -> Splits of plans and labels int64 (N, digits); class k is label k + 1.

    gaps: pixels between two images, each of which has 4 or more of black on either side. lift: pixels
    up or down. count: training lines, drawn once from the seed; validation and test are the same lines
    for every seed, and use each image of their own split once.
    Any other data is a folder for iam. Raises ValueError for numbers that do not fit, FileNotFoundError
    where data is missing.
    """
    if data not in DIGITS:
        if fold is not None:
            raise ValueError(f"{data} has a validation part of its own: take no --fold with it")
        return iam(data, batch_size, seed=seed, **stream_options)
    if digits < 1 or not -SIZE < gaps[0] <= gaps[1] or lift < 0 or margin < 0:
        raise ValueError("a line has at least one digit, gaps (least, most) above -28, lift and margin of at "
                         f"least 0. Received: digits={digits}, gaps={gaps}, lift={lift}, margin={margin}")
    whole = mnist.load(data, 1)
    training, validation = cut_anew(whole.training, whole.validation, fold)
    width = margin + digits * SIZE + (digits - 1) * max(gaps[1], 0)             # of the widest line

    def lines(part, number, own_seed):
        return Examples(*plans(part.labels, number, own_seed, digits=digits, gaps=gaps, lift=lift,
                               margin=margin), Lines(part.inputs, SIZE + 2 * lift, rounded_up(width)))
    training, validation, test = (lines(training, count, seed),
                                  lines(validation, len(validation) // digits, 1_000_001),
                                  lines(whole.test, len(whole.test) // digits, 1_000_002))
    return Splits(Stream(training, batch_size, seed=seed, **stream_options), training, validation, test,
                  whole.class_names)


def rounded_up(width):
    """To a multiple of 4: networks may read four columns of pixels at a time."""
    return -(-width // 4) * 4


@dataclasses.dataclass(frozen=True)
class Line:
    """One entry of IAM's ascii/lines.txt or words.txt."""
    name: str                     # a01-000u-00
    text: str

    @property
    def form(self):
        return "-".join(self.name.split("-")[:2])


def iam_entries(folder, kind="lines"):
    """[Line] of ascii/<kind>.txt, in its order; kind is "lines" or "words".

    A line of the file is: name, ok or err, and (words: the box) 1 or more numbers, (words: a tag), text;
    the words of a line of text are parted by |. Raises FileNotFoundError or ValueError, naming the file.
    """
    if kind not in ("lines", "words"):
        raise ValueError(f'kind must be "lines" or "words". Received: {kind}')
    path = Path(folder) / "ascii" / f"{kind}.txt"
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: name one with the layout of IAM, or one of "
                                f"{', '.join(DIGITS)}")
    if not path.exists():
        raise FileNotFoundError(f"{folder} does not have the layout of IAM: there is no {path}")
    entries, fields = [], 8                        # before the text: name, ok, and six others
    for number, row in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if row.startswith("#") or not row.strip():
            continue
        parts = row.split(" ", fields)
        if len(parts) <= fields or parts[1] not in ("ok", "err") or parts[0].count("-") < 2:
            raise ValueError(f"{path}, line {number} is not of IAM's form: {row[:80]}")
        entries.append(Line(parts[0], parts[fields].replace("|", " ").strip()))
    if not entries:
        raise ValueError(f"{path} lists no {kind}")
    return entries


def iam_split(folder, entries):
    """{"training": [Line], "validation": ..., "test": ...}: by the task's own lists where these are there.

    Else by form, so that no page is in two parts: every tenth form, in order of name, is the test,
    the one after it validates.
    """
    folder, names = Path(folder), {}
    for part, files in SPLIT_FILES.items():
        found = [name for file in files for path in folder.rglob(file)
                 for name in path.read_text(encoding="utf-8").split()]
        names[part] = set(found)
    if all(names.values()):
        def part_of(entry):
            return next((part for part, chosen in names.items()
                         if entry.name in chosen or "-".join(entry.name.split("-")[:3]) in chosen), None)
    else:
        forms = {form: k % 10 for k, form in enumerate(sorted({entry.form for entry in entries}))}

        def part_of(entry):
            return {0: "test", 1: "validation"}.get(forms[entry.form], "training")
    parts = {part: [entry for entry in entries if part_of(entry) == part] for part in SPLIT_FILES}
    for part, chosen in parts.items():
        if not chosen:
            raise ValueError(f"{folder} has nothing for the {part} part: it has {len(entries)} entries of "
                             f"{len({entry.form for entry in entries})} forms, and needs three forms or more")
    return parts


def iam_image(path, height):
    """An image file of black on white -> uint8 (height, width), white on black, proportions kept.

    Raises FileNotFoundError or ValueError, naming the file.
    """
    from PIL import Image
    if not path.exists():
        raise FileNotFoundError(f"there is no image {path}")
    try:
        with Image.open(path) as image:
            grey = image.convert("L")
            width = max(1, round(grey.width * height / grey.height))
            return 255 - np.asarray(grey.resize((width, height)))
    except Exception as error:                     # Pillow's errors for damaged files are of many types
        raise ValueError(f"{path} is damaged or truncated: {error}") from error


def iam(folder, batch_size=16, *, kind="lines", height=36, seed=0, **stream_options):
    """The IAM database in a folder -> Splits of images (N, height, width, 1) and texts as labels.

    labels int64 (N, longest): places in class_names, from 1. Images are filled up with black at the
    right, to the widest. Images that are missing or damaged, of which the database has a few, are left
    out and counted in a sentence. Raises FileNotFoundError or ValueError where too little is left.
    Source: Marti and Bunke 2002, The IAM-database.
    """
    folder = Path(folder).expanduser()
    entries = iam_entries(folder, kind)
    characters = sorted({character for entry in entries for character in entry.text})
    number = {character: k for k, character in enumerate(characters, 1)}
    longest = max(len(entry.text) for entry in entries)
    parts, unread = {}, []
    for part, chosen in iam_split(folder, entries).items():
        images, labels = [], []
        for entry in chosen:
            path = folder / kind / entry.form.split("-")[0] / entry.form / f"{entry.name}.png"
            try:
                images.append(iam_image(path, height))
            except (FileNotFoundError, ValueError) as error:
                unread.append(str(error))
                continue
            text = [number[character] for character in entry.text]
            labels.append(text + [0] * (longest - len(text)))
        if not images:
            raise ValueError(f"{folder} has no readable image for the {part} part. The first: {unread[0]}")
        parts[part] = images, np.array(labels, np.int64)
    if unread:
        print(f"{folder}: {len(unread)} of {len(entries)} images are left out, the first: {unread[0]}")
    widest = rounded_up(max(image.shape[1] for images, _ in parts.values() for image in images))
    training, validation, test = (Examples(np.stack([
        np.pad(image, [(0, 0), (0, widest - image.shape[1])]) for image in images])[..., None], labels)
        for images, labels in (parts[part] for part in ("training", "validation", "test")))
    return Splits(Stream(training, batch_size, seed=seed, **stream_options), training, validation, test,
                  tuple(characters))
