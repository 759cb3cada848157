"""Examples in memory, and the endless stateless stream of training batches made from them."""
import copy
import dataclasses
import functools

import numpy as np
import tensorflow as tf

HOST = "CPU:0"                   # where the examples wait, and are chosen


def untuned(dataset):
    """The dataset without tf.data's autotuning, which may hold up the end of an evaluation.

    An iterator that goes waits for the tuning thread, which sleeps 10 ms, 20 ms, 40 ms ... and at last
    60 s, and is not always woken: an evaluation of .8 s then takes 1.27 (benchmarks/evaluation.py).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


@dataclasses.dataclass(frozen=True)
class Standardized:
    """uint8 pixels (..., C) -> float32 (pixel / 255 - mean) / std; floats in [0, 1] without the division.

    mean and std: a number, or one for each channel; what Run.save keeps beside the network.
    bgr: the channels come out in reverse, blue first; mean and std are of red, green and blue all the same.
    """
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    bgr: bool = False

    def __call__(self, inputs):
        mean, std = (np.asarray(value, np.float32) for value in (self.mean, self.std))
        if inputs.dtype == tf.uint8:                 # one multiplication and one addition for each pixel
            outputs = tf.cast(inputs, tf.float32) * (1 / (255 * std)) - mean / std
        else:
            outputs = (inputs - mean) / std
        return outputs[..., ::-1] if self.bgr else outputs


def unit_interval(inputs):
    """uint8 in [0, 255] -> float32 in [0, 1], any shape; all else passes unchanged."""
    if getattr(inputs, "dtype", None) == tf.uint8:
        return tf.cast(inputs, tf.float32) / 255.0
    return inputs


@dataclasses.dataclass(frozen=True)
class Examples:
    """A finite split, held in memory as it is stored and prepared batch by batch.

    inputs: (N, ...), for images uint8 (N, H, W, C).  labels: int64 (N,), or for sequences (N, T).
    Either may be a dict or tuple of such arrays, where a network takes or gives several.
    prepare: inputs of a batch -> what the model takes; [0, 1] floats by default.
    """
    inputs: np.ndarray | dict | tuple
    labels: np.ndarray | dict | tuple
    prepare: callable = unit_interval

    def __post_init__(self):
        inputs, labels = ({len(array) for array in tf.nest.flatten(part)}
                          for part in (self.inputs, self.labels))
        if inputs != labels or len(inputs) != 1 or 0 in inputs:
            raise ValueError("Examples needs as many labels as inputs, at least one. Received: "
                             f"{' and '.join(map(str, sorted(inputs)))} inputs, "
                             f"{' and '.join(map(str, sorted(labels)))} labels")

    def __len__(self):
        return len(tf.nest.flatten(self.labels)[0])

    def __getitem__(self, rows):
        """The examples of a slice or an index array, as Examples."""
        inputs, labels = tf.nest.map_structure(lambda array: array[rows], (self.inputs, self.labels))
        return dataclasses.replace(self, inputs=inputs, labels=labels)

    def dataset(self, batch_size=500):
        """A tf.data.Dataset of (prepared inputs, labels), in order, the last batch smaller."""
        return untuned(tf.data.Dataset.from_tensor_slices((self.inputs, self.labels)).batch(batch_size)
                       .map(lambda inputs, labels: (self.prepare(inputs), labels)).prefetch(2))

    def arrays(self):
        """(prepared inputs, labels) as NumPy arrays; float32 images take 4 bytes a pixel."""
        inputs = self.prepare(tf.nest.map_structure(tf.constant, self.inputs))
        return tf.nest.map_structure(np.asarray, inputs), self.labels


def cut_anew(training, validation, fold):
    """Another cut of the same examples, for cross-validation: -> (training, validation).

    fold: (k, K) for the k-th of K parts, by index, to validate; None leaves them as they are.
    """
    if fold is None:
        return training, validation
    part, count = fold
    everything = joined(training, validation)
    validates = np.arange(len(everything)) * count // len(everything) == part - 1
    return everything[~validates], everything[validates]


def joined(*parts):
    """The examples of several splits as one, in order."""
    inputs, labels = tf.nest.map_structure(lambda *arrays: np.concatenate(arrays),
                                           *((part.inputs, part.labels) for part in parts))
    return dataclasses.replace(parts[0], inputs=inputs, labels=labels)


def cut_last(everything, validation, fold=None):
    """The last examples, so many, validate: -> (training, validation); None validates where they are 0.

    fold: (k, K) cuts the same examples anew, as cut_anew does.
    Raises ValueError for a number that leaves nothing to train on, or none to cut anew.
    """
    if not 0 <= validation < len(everything) or (fold and not validation):
        raise ValueError(f"validation must be in [0, {len(everything) - 1}], how many training images "
                         f"validate, and above 0 for folds. Received: {validation}")
    if not validation:
        return everything, None
    cut = len(everything) - validation
    return cut_anew(everything[:cut], everything[cut:], fold)


class Stream:
    """Endless training batches whose i-th is a pure function of (seed, i).

    A run can therefore start at batch i, on one device or on several, and see what it
    would have seen. Positions 0, 1, 2, ... walk through the examples epoch after epoch;
    each epoch is a permutation of all examples, so that none is left out when the batch
    size does not divide their number: such a batch takes the rest from the next epoch.

    order     "reshuffled" draws a new permutation each epoch, "shuffled" one for all
              epochs, "fixed" keeps the order of storage.
    variants  the number of versions of each example (Nielsen's five shifts: 5). They are
              numbered images first, so "fixed" order goes through version 0 first.
    vary      (prepared inputs (B, ...), version numbers int64 (B,)) -> inputs.
    augment   (prepared inputs (B, ...), seeds int64 (B, 2)) -> inputs, by stateless
              random operations with one seed per example.
    augment_by_label   augment takes the labels too, int64 (B,), as its third argument.
    augment_by_visit   augment takes, last, the index of each example among the examples and
              the number of the epoch that it is seen in, from 0: int64 (B,) each.
    mix       (inputs, labels int64 (B,), seeds) -> (inputs, soft labels float32 (B, K)), after
              all else: pipelines.mixing. It mixes the examples at positions 2j and 2j + 1 of the
              endless walk, and only these: a pair is never parted by the shards of a batch, whose
              rows, and those of each shard, must therefore be of even number.
    resized   ((end, side), ...): after all else, the images of batch i are resized to side x side, for the
              first pair whose end is more than i; where there is none they stay as they are. A network
              of any input size learns much from small images, and they cost less (progressive
              resizing). `stages` are the streams of one size each, what training goes through;
              batch, by itself, leaves the images as they are.
    Raises ValueError for a batch size outside [1, number of examples] or an unknown order.
    """
    on_disk = False              # whether batches are read from files, which tf.data should do ahead of time

    def __init__(self, examples, batch_size, *, seed=0, order="reshuffled", variants=1, vary=None,
                 augment=None, augment_by_label=False, augment_by_visit=False, mix=None, resized=()):
        if order not in ("reshuffled", "shuffled", "fixed"):
            raise ValueError(f'order must be "reshuffled", "shuffled" or "fixed". Received: {order!r}')
        self.size = len(examples) * variants
        if not 1 <= batch_size <= self.size:
            raise ValueError(f"batch_size must be in [1, {self.size}], the number of training examples. "
                             f"Received: {batch_size}")
        self.examples, self.batch_size, self.seed, self.order = examples, batch_size, seed, order
        self.variants, self.vary = variants, vary
        self.augment = augment
        self.augment_by_label, self.augment_by_visit = augment_by_label, augment_by_visit
        self.mix = mix
        self.resized, self.side = resized, None
        if list(resized) != sorted(resized) or any(end < 1 or side < 1 for end, side in resized):
            raise ValueError("resized must be pairs of an update and a number of pixels, the updates "
                             f"ascending. Received: {resized}")
        self.check_divides(1)

    @property
    def batches_per_epoch(self):
        return self.size // self.batch_size

    @functools.cached_property
    def _tensors(self):
        with tf.init_scope(), tf.device(HOST):
            return tf.nest.map_structure(tf.constant, (self.examples.inputs, self.examples.labels))

    def batch(self, i, shard=(0, 1)):
        """Batch i, or rows [k B / n, (k + 1) B / n) of it for shard=(k, n): (inputs, labels) tensors.

        i: an integer or an int64 scalar tensor. k may be a tensor, n is a Python integer
        that divides the batch size.
        """
        index, order, positions = self._places(i, shard)
        seeds = self._seeds(positions)
        return self._varied(*self.fetch(index, seeds), seeds, index, order, positions)

    @property
    def stages(self):
        """((end, Stream), ...): the batches before the update end, of one size each; None ends the last."""
        return (*((end, self.of_side(side)) for end, side in self.resized), (None, self))

    def of_side(self, side):
        """This stream with images of side x side pixels."""
        small = copy.copy(self)
        small.side, small.resized, small._tensors = side, (), self._tensors
        return small

    def halves(self):
        """batch as two functions, where XLA compiles the second one; else None.

        The first, (i, shard) -> tensors, takes examples as they are stored, on the host; the second
        makes of these what batch returns. None for a stream with a batch or fetch of its own, with
        vary, mix or a resize, or with an augment that does not say that it compiles.
        """
        own = type(self).batch is not Stream.batch or type(self).fetch is not Stream.fetch
        if (own or self.side or self.vary or self.mix
                or not (self.augment is None or getattr(self.augment, "compiles", False))):
            return None

        def take(i, shard=(0, 1)):
            places = self._places(i, shard)
            return *self._taken(places[0]), *places

        def make(inputs, labels, index, order, positions):
            return self._varied(self.examples.prepare(inputs), labels, self._seeds(positions), index, order,
                                positions)
        return take, make

    def _places(self, i, shard):
        """Of a shard's rows of a batch the example, the place in the order and the walk: int64 (B,) each."""
        part, parts = shard
        self.check_divides(parts)
        rows = self.batch_size // parts
        with tf.device(HOST):                 # which shuffles: from a GPU the positions would come back
            positions = (tf.cast(i, tf.int64) * self.batch_size + tf.cast(part, tf.int64) * rows
                         + tf.range(rows, dtype=tf.int64))
            order = self._order(positions)
            return order % len(self.examples) if self.variants > 1 else order, order, positions

    def _seeds(self, positions):
        return tf.stack([tf.fill(tf.shape(positions), tf.cast(self.seed, tf.int64)), positions], axis=1)

    def _varied(self, x, y, seeds, index, order, positions):
        """vary, augment, mix and a resize, whichever there are: -> (inputs, labels)."""
        if self.vary is not None:
            x = self.vary(x, order // len(self.examples))
        if self.augment is not None:
            known = ([y] if self.augment_by_label else [])
            known += [index, positions // self.size] if self.augment_by_visit else []
            x = self.augment(x, seeds, *known)
        if self.mix is not None:
            x, y = self.mix(x, y, seeds)
        return (x, y) if self.side is None else (tf.image.resize(x, (self.side,) * 2, antialias=True), y)

    def fetch(self, index, seeds):
        """Prepared inputs and labels of examples: index int64 (B,), seeds int64 (B, 2), one per example."""
        inputs, labels = self._taken(index)
        return self.examples.prepare(inputs), labels

    def _taken(self, index):
        with tf.device(HOST):                 # a GPU has no kernel for bytes: all of them would come back
            return tf.nest.map_structure(lambda values: tf.gather(values, index), self._tensors)

    def check_divides(self, parts):
        """Raises ValueError if a batch cannot be split into so many equal parts."""
        if self.batch_size % parts:
            raise ValueError(f"the batch size must be a multiple of the {parts} devices. "
                             f"Received: {self.batch_size}")
        if self.mix is not None and self.batch_size // parts % 2:
            raise ValueError("mixing takes the examples of a batch by twos: the batch size must be a "
                             f"multiple of 2 for each device, of {2 * parts} here. "
                             f"Received: {self.batch_size}")

    def _order(self, positions):
        """Positions in the endless walk -> indices in [0, size)."""
        within = positions % self.size
        if self.order == "fixed":
            return within
        if self.order == "shuffled":
            return self._permuted(within, tf.constant(0, tf.int64))
        epoch = positions[0] // self.size
        order = self._permuted(within, epoch)
        if self.size % self.batch_size:              # a batch may straddle two epochs
            order = tf.where(positions // self.size == epoch, order, self._permuted(within, epoch + 1))
        return order

    def _permuted(self, within, epoch):
        return tf.random.experimental.index_shuffle(
            within, seed=tf.stack([tf.cast(self.seed, tf.int64), epoch]), max_index=self.size - 1)


@dataclasses.dataclass(frozen=True)
class Splits:
    """One data set, ready: an endless training stream and two finite splits.

    training is the split that the stream draws from, unshuffled and not augmented.
    input_shape excludes the batch. mean and std are what was subtracted from the pixels in
    [0, 1], and what they were divided by: a number, or one for each channel, for Run.save.
    validation is None where all training examples train.
    """
    train: Stream
    training: Examples
    validation: Examples | None
    test: Examples
    class_names: tuple[str, ...]
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0

    @property
    def num_classes(self):
        return len(self.class_names)

    @property
    def preprocessing(self):
        """For Run.save: what makes of a raw image what the network takes; of files also the crop."""
        return {"mean": self.mean, "std": self.std, **getattr(self.test, "preprocessing", {})}

    @property
    def input_shape(self):
        """(...), or a dict or tuple of such shapes where the network takes several inputs."""
        return tf.nest.map_structure(lambda array: tuple(array.shape[1:]), self.test.inputs)
