"""MNIST and the data sets of its shape, through TFDS: 28x28 grey images, white on black.

    mnist, fashion_mnist, kmnist   60,000 training images, of which the last 10,000 validate
    emnist                         emnist/balanced: 112,800 training images, 47 classes
    digits                         scikit-learn's digits enlarged to 28x28: no download

Test: 10,000 images (emnist: 18,800; digits: 360). Order is TFDS's own, or that of the
original file, by which "the first 1,000 images" of a book are the same ones.
"""
import hashlib

import numpy as np

from pipelines import digits
from pipelines.stream import Examples, Splits, Stream, cut_last, joined
from pipelines.tfds_source import arrays

TFDS_NAMES = {"mnist": "mnist", "fashion_mnist": "fashion_mnist", "kmnist": "kmnist",
              "emnist": "emnist/balanced"}
VALIDATION = 10_000
FASHION = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
           "ankle boot")
EMNIST = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")


def load(name="mnist", batch_size=10, *, seed=0, original_order=False, fold=None, validation=VALIDATION,
         **stream_options):
    """-> Splits of uint8 images (N, 28, 28, 1) and int64 labels.

    original_order: the training images, and so the split for validation, in the order of the
    file that their authors published; digits is in its own order always.
    validation: images cut from the end of the training images; 0 trains on all of them, and
    there is no validation then. digits has its own 180.
    fold: (k, K) validates on the k-th K-th of training and validation images together.
    stream_options go to Stream: order, variants, vary, augment.
    Raises ValueError for an unknown name or an impossible cut, FileNotFoundError when the data
    is neither cached nor to be downloaded.
    """
    if name == "digits":
        data = digits.load(1, size=28)
        everything, test = joined(data.training, data.validation), data.test
        validation = validation and digits.VALIDATION
    elif name in TFDS_NAMES:
        (images, labels), (test_images, test_labels) = (arrays(TFDS_NAMES[name], split, offline="digits")
                                                        for split in ("train", "test"))
        if name == "emnist":                           # TFDS stores these transposed
            images, test_images = (np.swapaxes(x, 1, 2) for x in (images, test_images))
        if original_order:
            rows = file_order(len(images))
            images, labels = images[rows], labels[rows]
        everything, test = Examples(images, labels), Examples(test_images, test_labels)
    else:
        raise ValueError(f"data must be one of {', '.join([*TFDS_NAMES, 'digits'])}. Received: {name}")
    training, validates = cut_last(everything, validation, fold)
    return Splits(Stream(training, batch_size, seed=seed, **stream_options), training, validates, test,
                  {"fashion_mnist": FASHION, "emnist": EMNIST}.get(name, tuple("0123456789")))


def file_order(count, split="train"):
    """Where TFDS keeps each example of the original file: int64 (count,).

    TFDS stores a split sorted by the MD5 of its name and the example's key, here the number
    in the file, and keeps it so for all versions of a data set (tensorflow_datasets.core.hashing).
    """
    stored = sorted(range(count), key=lambda key: hashlib.md5(f"{split}{key}".encode()).digest())
    return np.argsort(stored)
