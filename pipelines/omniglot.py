"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people, for one-shot learning.

    omniglot   through TFDS: 30 background alphabets to learn from, 20 evaluation alphabets
    strokes    characters generated from random curves, a few alphabets of them: no download

Images are white on black. Characters are in TFDS's order of labels: alphabet by alphabet, the
background ones first. What is sampled, episodes and pairs, is stateless like all training streams:
batch i is a pure function of (seed, i).
"""
import dataclasses
import functools
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines import tfds_source
from pipelines.distort import Distortion
from pipelines.stream import Examples, unit_interval, untuned

SIDE, DRAWINGS = 105, 20                           # pixels; images of each character
BACKGROUND = {                                     # alphabet: characters
    "Arcadian": 26, "Armenian": 41, "Asomtavruli_(Georgian)": 40, "Balinese": 24, "Bengali": 46,
    "Blackfoot_(Canadian_Aboriginal_Syllabics)": 14, "Braille": 26, "Cyrillic": 33, "Early_Aramaic": 22,
    "Syriac_(Estrangelo)": 23, "Anglo-Saxon_Futhorc": 29, "Futurama": 26, "Grantha": 43, "Greek": 24,
    "Gujarati": 48, "Hebrew": 22, "Japanese_(hiragana)": 52,
    "Inuktitut_(Canadian_Aboriginal_Syllabics)": 16, "Malay_(Jawi_-_Arabic)": 40,
    "Japanese_(katakana)": 47, "Korean": 40, "Latin": 26, "Alphabet_of_the_Magi": 20,
    "Mkhedruli_(Georgian)": 41, "Burmese_(Myanmar)": 34, "N_Ko": 33,
    "Ojibwe_(Canadian_Aboriginal_Syllabics)": 14, "Sanskrit": 42, "Tagalog": 17, "Tifinagh": 55}
EVALUATION = {
    "Angelic": 20, "Atemayar_Qelisayer": 26, "Atlantean": 26, "Aurek-Besh": 26, "Avesta": 26, "Ge_ez": 26,
    "Glagolitic": 45, "Gurmukhi": 45, "Kannada": 41, "Keble": 26, "Malayalam": 47, "Manipuri": 40,
    "Mongolian": 30, "Old_Church_Slavonic_(Cyrillic)": 45, "Oriya": 46, "Syriac_(Serto)": 23,
    "Sylheti": 28, "Tengwar": 25, "Tibetan": 42, "ULOG": 26}
# Those that Snell et al. validate on: 172 characters.
VALIDATION = ("Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)")
VINYALS = 1_200                                    # training and validation characters of Vinyals' split
PROTOCOLS = ("lake", "vinyals")
RUNS, WAY = 20, 20                                 # of Lake's test: 20 runs of 20 trials, 20 characters each


@dataclasses.dataclass(frozen=True)
class Characters:
    """images uint8 (C, D, side, side, 1): D drawings of each of C characters; strokes are 255.

    alphabets int64 (C,), ascending: which of names each character belongs to.
    """
    images: np.ndarray
    alphabets: np.ndarray
    names: tuple[str, ...]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        """The characters of a slice or an index array."""
        return dataclasses.replace(self, images=self.images[rows], alphabets=self.alphabets[rows])

    @property
    def input_shape(self):
        return self.images.shape[2:]


@dataclasses.dataclass(frozen=True)
class Cut:
    """Characters to learn from, to choose by and to be tested on: none is in two of them."""
    training: Characters
    validation: Characters
    test: Characters


def load(name="omniglot", protocol="lake", *, side=28):
    """-> Cut of images with so many pixels a side, averaged over areas from the original 105.

    protocol  "lake" learns from the background alphabets (792 characters, 172 to validate) and is
              tested on the evaluation alphabets (659).
              "vinyals" learns from the first 1,200 characters in order (1,028, the same 172 to
              validate) and is tested on the other 423.
    strokes is cut into 8, 2 and 2 alphabets under either name.
    Raises ValueError for an unknown name or protocol or a side outside [8, 105], FileNotFoundError
    when the data is neither cached nor to be downloaded.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}. Received: {protocol}")
    if not isinstance(side, int) or not 8 <= side <= SIDE:
        raise ValueError(f"side must be a number of pixels in [8, {SIDE}]. Received: {side}")
    if name == "strokes":
        found = strokes(side=side)
        return Cut(found[found.alphabets < 8], found[(found.alphabets >= 8) & (found.alphabets < 10)],
                   found[found.alphabets >= 10])
    if name != "omniglot":
        raise ValueError(f"data must be omniglot or strokes. Received: {name}")
    sizes = {**BACKGROUND, **EVALUATION}
    names = tuple(sizes)
    alphabets = np.repeat(np.arange(len(sizes)), list(sizes.values()))
    images = np.concatenate([drawings("train", sum(BACKGROUND.values()), side),
                             drawings("test", sum(EVALUATION.values()), side)])
    everything = Characters(images, alphabets, names)
    learns = sum(BACKGROUND.values()) if protocol == "lake" else VINYALS
    validates = np.isin(alphabets, [names.index(name) for name in VALIDATION])
    index = np.arange(len(everything))
    return Cut(everything[(index < learns) & ~validates], everything[validates], everything[index >= learns])


def drawings(split, characters, side):
    """uint8 (characters, 20, side, side, 1) of a split of TFDS, by label.

    What was decoded once stays beside TFDS's files, a bit for each pixel.
    """
    kept = tfds_source.read_kept(tfds_source.data_folder() / "omniglot", f"{split}-bits")
    if kept is None:
        bits, labels = [], []
        for example in tfds_source.examples("omniglot", split, offline="strokes"):
            bits.append(np.packbits(example["image"][..., 0] < 128))            # ink is black in the files
            labels.append(example["label"])
        order = np.argsort(labels, kind="stable")
        kept = np.stack(bits)[order], np.asarray(labels, np.int64)[order]
        for folder in (tfds_source.data_folder() / "omniglot").glob("*.*.*"):
            tfds_source.keep(folder, f"{split}-bits", *kept)
    bits, labels = kept
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) != characters or set(counts) != {DRAWINGS}:
        raise ValueError(f"omniglot's {split} split should hold {characters} characters with {DRAWINGS} "
                         f"drawings each. Received: {len(counts)} characters, {len(labels)} drawings. "
                         "Remove its folder, so that TFDS prepares it anew.")
    ink = np.unpackbits(bits, axis=1, count=SIDE * SIDE).reshape(-1, SIDE, SIDE)
    return smaller(ink, side).reshape(characters, DRAWINGS, side, side, 1)


def smaller(ink, side):
    """0 or 1 (N, 105, 105) -> uint8 (N, side, side), 255 times the share of ink in each pixel's area."""
    if side == ink.shape[1]:
        return ink * np.uint8(255)
    ends = np.arange(side + 1) * ink.shape[1] / side
    pixels = np.arange(ink.shape[1])
    # Row i: how much of each original pixel lies in the new pixel i.
    overlap = np.minimum(ends[1:, None], pixels + 1) - np.maximum(ends[:-1, None], pixels)
    weights = (np.maximum(overlap, 0) * side / ink.shape[1]).astype(np.float32)
    parts = [np.rint(255 * (weights @ ink[start:start + 1000].astype(np.float32) @ weights.T))
             for start in range(0, len(ink), 1000)]
    return np.concatenate(parts).astype(np.uint8)


def strokes(alphabets=12, characters=10, drawings=8, *, side=28):
    """Characters generated from curves, so many of each alphabet, drawn so often; the same ones each time.

    A character is two to four curves, each bent once; the curves of an alphabet are alike in length
    and bend. A drawing moves their ends a little and turns, scales and shifts the whole.
    """
    random = np.random.default_rng(0)
    along = np.linspace(0, 1, 24)[:, None]
    bend = np.concatenate([(1 - along) ** 2, 2 * along * (1 - along), along ** 2], axis=1)   # Bézier: (24, 3)
    pixels = (np.arange(side) + 0.5) / side * 2 - 1
    images = np.empty((alphabets * characters, drawings, side, side, 1), np.uint8)
    for row in range(alphabets * characters):
        if row % characters == 0:
            length, curve = random.uniform(0.35, 0.75), random.uniform(0.0, 0.8)
        count = random.integers(2, 5)
        starts, directions = random.uniform(-0.6, 0.6, (count, 1, 2)), random.normal(size=(count, 1, 2))
        ends = starts + length * directions
        middles = (starts + ends) / 2 + curve * random.normal(size=(count, 1, 2))
        controls = np.clip(np.concatenate([starts, middles, ends], axis=1), -0.8, 0.8)        # (curves, 3, 2)
        for column in range(drawings):
            drawn = controls + 0.05 * random.normal(size=controls.shape)
            matrix = np.eye(2) + 0.08 * random.normal(size=(2, 2))
            points = (bend @ drawn).reshape(-1, 2) @ matrix + 0.05 * random.normal(size=2)
            down, right = (np.exp(-(pixels - points[:, axis:axis + 1]) ** 2 / 0.006) for axis in (0, 1))
            picture = np.max(down[:, :, None] * right[:, None], axis=0)                       # nearest point
            images[row, column, ..., 0] = np.rint(255 * np.minimum(1.5 * picture, 1))
    return Characters(images, np.repeat(np.arange(alphabets), characters),
                      tuple(f"alphabet {number}" for number in range(alphabets)))


def koch_distortion(side):
    """The affine distortions of Koch et al. 2015, section 3.3, for images with so many pixels a side.

    Rotation within 10 degrees, shear .3 (of the height, as an angle), scale .8 to 1.2, shift 2 of
    105 pixels; each of them happens to every second image.
    """
    return Distortion(rotation=10, shear=float(np.degrees(np.arctan(0.3))), scale=0.2, shift=2 * side / SIDE,
                      probability=0.5)


class Episodes:
    """Endless episodes: which of these few characters is it? Episode e is a pure function of (seed, e).

    batch -> (support, queries), labels: float32 (B, way, shot, H, W, 1) and (B, way * queries, H, W, 1)
    in [0, 1], int64 (B, way * queries), which of the way characters a query is. No drawing is in
    support and queries.
    way        characters of an episode.       shot, queries: drawings of each, to learn from and to name.
    alphabets  0 draws the characters from all; n draws way / n of each of n alphabets, as a whole
               alphabet is harder to tell apart than characters of many.
    turned     a character turned by 90, 180 and 270 degrees counts as three further characters
               (Vinyals et al. 2016); an alphabet's are turned together.
    batch_size episodes in a batch.            batches_per_epoch: there is no natural number of them.
    augment    (images (N, H, W, 1), seeds int64 (N, 2)) -> images, for support and queries.
    Raises ValueError where there are too few drawings, characters, or alphabets that are large enough.
    """

    def __init__(self, characters, way=20, shot=1, queries=1, *, batch_size=1, seed=0, alphabets=0,
                 turned=False, augment=None, batches_per_epoch=100):
        if min(way, shot, queries, batch_size, batches_per_epoch) < 1 or alphabets < 0:
            raise ValueError("way, shot, queries, batch_size and batches_per_epoch must be at least 1, "
                             f"alphabets at least 0. Received: way={way}, shot={shot}, queries={queries}, "
                             f"batch_size={batch_size}, batches_per_epoch={batches_per_epoch}, "
                             f"alphabets={alphabets}")
        drawings = characters.images.shape[1]
        if shot + queries > drawings:
            raise ValueError(f"shot and queries together must be at most {drawings}, the drawings of a "
                             f"character. Received: shot={shot}, queries={queries}")
        if alphabets and way % alphabets:
            raise ValueError(f"way must be a multiple of alphabets. Received: way={way}, "
                             f"alphabets={alphabets}")
        if not alphabets and way > len(characters) * (4 if turned else 1):
            raise ValueError(f"way must be at most the number of characters, {len(characters)}"
                             f"{' in 4 positions' if turned else ''}. Received: {way}")
        self.characters, self.way, self.shot, self.queries = characters, way, shot, queries
        self.batch_size, self.seed, self.alphabets = batch_size, seed, alphabets
        self.turned, self.augment, self.batches_per_epoch = turned, augment, batches_per_epoch
        present, starts, sizes = np.unique(characters.alphabets, return_index=True, return_counts=True)
        large = sizes >= way // max(alphabets, 1)
        self.starts, self.sizes = starts[large].astype(np.int64), sizes[large].astype(np.int64)
        if alphabets > len(self.starts):
            raise ValueError(f"{alphabets} alphabets of at least {way // alphabets} characters are wanted; "
                             f"{len(self.starts)} of the {len(present)} are so large")

    @functools.cached_property
    def _images(self):
        with tf.init_scope():
            return tf.constant(self.characters.images)

    def check_divides(self, parts):
        """Raises ValueError if a batch cannot be split into so many equal parts."""
        if self.batch_size % parts:
            raise ValueError(f"the number of episodes in a batch must be a multiple of the {parts} devices. "
                             f"Received: {self.batch_size}")

    def batch(self, i, shard=(0, 1)):
        """Batch i, or episodes [k B / n, (k + 1) B / n) of it for shard=(k, n)."""
        part, parts = shard
        self.check_divides(parts)
        rows = self.batch_size // parts
        first = tf.cast(i, tf.int64) * self.batch_size + tf.cast(part, tf.int64) * rows
        episodes = [self.episode(first + row) for row in range(rows)]
        inputs = tf.nest.map_structure(lambda *parts: tf.stack(parts), *episodes)
        labels = tf.repeat(tf.range(self.way, dtype=tf.int64), self.queries)
        return inputs, tf.tile(labels[None], [rows, 1])

    def episode(self, number):
        """(support (way, shot, H, W, 1), queries (way * queries, H, W, 1)) of an episode."""
        characters, turns = self.drawn(number)
        drawings, count = self.characters.images.shape[1], self.shot + self.queries
        noise = tf.random.stateless_uniform([self.way, drawings], self._seed(2, number))
        chosen = tf.argsort(noise, axis=1)[:, :count]
        places = tf.reshape(characters[:, None] * drawings + tf.cast(chosen, tf.int64), (-1,))
        shape = self.characters.input_shape
        images = unit_interval(tf.gather(tf.reshape(self._images, (-1, *shape)), places))
        if self.turned:
            images = quarter_turned(images, tf.repeat(turns, count))
        if self.augment is not None:
            total = self.way * count
            seeds = tf.stack([tf.fill([total], tf.constant(self.seed, tf.int64)),
                              number * total + tf.range(total, dtype=tf.int64)], axis=1)
            images = self.augment(images, seeds)
        images = tf.reshape(images, (self.way, count, *shape))
        return images[:, :self.shot], tf.reshape(images[:, self.shot:], (-1, *shape))

    def drawn(self, number):
        """int64 (way,) indices of different characters, and int64 (way,) quarter turns of each."""
        turns = 4 if self.turned else 1
        if not self.alphabets:
            picked = self._shuffled(self.way, self._seed(0, number), len(self.characters) * turns)
            return picked % len(self.characters), picked // len(self.characters)
        each = self.way // self.alphabets
        chosen = self._shuffled(self.alphabets, self._seed(0, number), len(self.starts))
        starts, sizes = tf.gather(self.starts, chosen), tf.gather(self.sizes, chosen)
        picked = [starts[k] + self._shuffled(each, self._seed(1, number * self.alphabets + k), sizes[k])
                  for k in range(self.alphabets)]
        positions = tf.random.stateless_uniform([self.alphabets], self._seed(3, number), 0, turns, tf.int64)
        return tf.concat(picked, axis=0), tf.repeat(positions, each)

    def _seed(self, purpose, number):
        return tf.stack([tf.constant(4 * self.seed + purpose, tf.int64), tf.cast(number, tf.int64)])

    @staticmethod
    def _shuffled(count, seed, size):
        """The first count of a random order of range(size)."""
        return tf.random.experimental.index_shuffle(tf.range(count, dtype=tf.int64), seed,
                                                    tf.cast(size, tf.int64) - 1)

    def first(self, count):
        """The first count episodes as a finite split."""
        return FirstEpisodes(self, count)


class FirstEpisodes:
    """So many episodes of a stream, always the same ones, to validate or test on."""

    def __init__(self, stream, count):
        stream.check_divides(1)
        if count < 1 or count % stream.batch_size:
            raise ValueError(f"the number of episodes must be a multiple of {stream.batch_size}, the number "
                             f"in a batch, and at least that. Received: {count}")
        self.stream, self.count = stream, count

    def __len__(self):
        return self.count

    @property
    def labels(self):
        return np.tile(np.repeat(np.arange(self.stream.way), self.stream.queries), (self.count, 1))

    def dataset(self, batch_size=None):
        """A tf.data.Dataset of (inputs, labels), in order, in the stream's own batches."""
        numbers = tf.data.Dataset.range(self.count // self.stream.batch_size)
        return untuned(numbers.map(self.stream.batch).prefetch(2))


class Pairs:
    """Endless pairs for verification, half of them of the same character; batch i is a function of (seed, i).

    batch -> (first, second), same: two float32 (B, H, W, 1) in [0, 1], int64 (B, 1), 1 for two drawings
    of one character. Alphabets are equally frequent, and two different characters are of one alphabet:
    that is what Lake's test asks.
    augment: (images (2 B, H, W, 1), seeds int64 (2 B, 2)) -> images.
    Raises ValueError for a batch size that is odd or below 2.
    """

    def __init__(self, characters, batch_size=128, *, seed=0, augment=None, batches_per_epoch=100):
        if batch_size < 2 or batch_size % 2:
            raise ValueError(f"batch_size must be even, half the same and half different. "
                             f"Received: {batch_size}")
        self.characters, self.batch_size, self.seed = characters, batch_size, seed
        self.augment, self.batches_per_epoch = augment, batches_per_epoch
        _, starts, sizes = np.unique(characters.alphabets, return_index=True, return_counts=True)
        self.starts, self.sizes = starts[sizes > 1].astype(np.int64), sizes[sizes > 1].astype(np.int64)

    @functools.cached_property
    def _images(self):
        with tf.init_scope():
            return tf.constant(self.characters.images.reshape(-1, *self.characters.input_shape))

    def check_divides(self, parts):
        """Raises ValueError if a batch cannot be split into so many equal parts."""
        if self.batch_size % parts:
            raise ValueError(f"the batch size must be a multiple of the {parts} devices. "
                             f"Received: {self.batch_size}")

    def batch(self, i, shard=(0, 1)):
        """Batch i, or rows [k B / n, (k + 1) B / n) of it for shard=(k, n)."""
        part, parts = shard
        self.check_divides(parts)
        rows, i = self.batch_size // parts, tf.cast(i, tf.int64)
        mine = tf.cast(part, tf.int64) * rows + tf.range(rows, dtype=tf.int64)
        first, second, same = (tf.gather(values, mine) for values in self.drawn(i))
        images = unit_interval(tf.gather(self._images, tf.concat([first, second], axis=0)))
        if self.augment is not None:
            numbers = 2 * (i * self.batch_size + mine)
            numbers = tf.concat([numbers, numbers + 1], axis=0)
            images = self.augment(images, tf.stack([tf.fill([2 * rows], tf.constant(self.seed, tf.int64)),
                                                    numbers], axis=1))
        return (images[:rows], images[rows:]), same[:, None]

    def drawn(self, i):
        """Places of both images among all, int64 (B,) each, and int64 (B,), 1 where of one character."""
        seed = tf.stack([tf.constant(self.seed, tf.int64), i])
        numbers = tf.random.stateless_uniform([5, self.batch_size], seed)

        def below(row, limit):
            limit = tf.cast(limit, tf.int64)
            return tf.minimum(tf.cast(numbers[row] * tf.cast(limit, tf.float32), tf.int64), limit - 1)
        same = tf.range(self.batch_size, dtype=tf.int64) % 2
        drawings = self.characters.images.shape[1]
        alphabet = below(0, len(self.starts))
        start, size = tf.gather(self.starts, alphabet), tf.gather(self.sizes, alphabet)
        character, drawing = below(1, size), below(2, drawings)
        other = (character + 1 + below(3, size - 1)) % size                    # never the same one
        another = (drawing + 1 + below(4, drawings - 1)) % drawings
        first = (start + character) * drawings + drawing
        return first, tf.where(same == 1, (start + character) * drawings + another,
                               (start + other) * drawings + another), same

    def first(self, batches):
        """The first so many batches as a finite split, Examples."""
        both, same = zip(*(self.batch(i) for i in range(batches)), strict=True)
        images = (np.rint(255 * np.concatenate(part)).astype(np.uint8) for part in zip(*both, strict=True))
        return Examples(tuple(images), np.concatenate(same), unit_intervals)


def quarter_turned(images, turns):
    """Each image (N, H, W, C) turned counterclockwise by so many quarters, int64 (N,) in [0, 3]; H = W."""
    by_half = tf.where(turns[:, None, None, None] >= 2, images[:, ::-1, ::-1], images)
    by_quarter = tf.transpose(by_half, (0, 2, 1, 3))[:, ::-1]
    return tf.where(turns[:, None, None, None] % 2 == 1, by_quarter, by_half)


def unit_intervals(inputs):
    """uint8 arrays of any structure -> float32 in [0, 1]."""
    return tf.nest.map_structure(unit_interval, inputs)


def lake_runs(path, *, side=28):
    """Lake's 20 runs as he published them, all_runs.zip or the folder it unpacks to.

    -> Examples of 20 episodes: (support uint8 (20, 20, 1, side, side, 1), queries
    (20, 20, side, side, 1)), labels int64 (20, 20). Each run has 20 characters of one evaluation
    alphabet, drawn once by one person and once by another.
    Raises FileNotFoundError where there is no such file, ValueError for one that is damaged or
    holds something else.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}: --runs takes all_runs.zip of the Omniglot repository "
                                "(python/one-shot-classification), or the folder it unpacks to")
    try:
        if path.is_dir():
            runs = [one_run(lambda name: (path / name).read_bytes(), run, side) for run in range(1, RUNS + 1)]
        else:
            with zipfile.ZipFile(path) as archive:
                runs = [one_run(archive.read, run, side) for run in range(1, RUNS + 1)]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, tf.errors.InvalidArgumentError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ValueError(f"{path} does not hold Lake's {RUNS} runs, or is damaged: {reason}") from error
    support, queries, labels = (np.stack(parts) for parts in zip(*runs, strict=True))
    return Examples((support[:, :, None], queries), labels, unit_intervals)


def one_run(read, run, side):
    """(support (20, side, side, 1), queries, labels (20,)) of a run; read: path within all_runs -> bytes."""
    lines = read(f"run{run:02d}/class_labels.txt").decode().split()
    tests, answers = lines[::2], lines[1::2]
    classes = sorted(answers)
    if len(tests) != WAY or len(answers) != WAY or len(set(classes)) != WAY:
        raise ValueError(f"run{run:02d}/class_labels.txt names {len(lines)} images where 40 are expected")
    images = np.stack([tf.io.decode_image(read(name), channels=1, expand_animations=False)[..., 0].numpy()
                       for name in (*classes, *tests)])
    if images.shape[1:] != (SIDE, SIDE):
        raise ValueError(f"the images of run{run:02d} are {images.shape[1:]}, not {SIDE}x{SIDE}")
    images = smaller((images < 128).astype(np.uint8), side)[..., None]
    return images[:WAY], images[WAY:], np.array([classes.index(name) for name in answers])


def built_runs(characters, runs=RUNS, way=WAY):
    """Runs built as Lake built his, for who lacks his files: each of way characters of one alphabet.

    Two different drawings of each character; TFDS does not say who drew them, so the people of a run
    are mixed. The same ones each time.
    """
    return Episodes(characters, way, alphabets=1).first(runs)


def trials(characters, shot, count, *, way=20, alphabets=0, turned=False):
    """So many episodes with five queries of each character, or with as much as the characters allow."""
    if not alphabets:
        way = min(way, len(characters))
    else:
        way = min(way, np.unique(characters.alphabets, return_counts=True)[1].max())
    queries = min(5, characters.images.shape[1] - shot)
    return Episodes(characters, way, shot, queries, alphabets=alphabets, turned=turned).first(count)
