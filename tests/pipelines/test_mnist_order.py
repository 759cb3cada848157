"""The original file's order behind TFDS's: its hash, and the labels that everybody has seen first."""
import os
from pathlib import Path

import numpy as np
import pytest

from pipelines import mnist


def test_file_order_inverts_the_order_of_tfds_own_hash():
    hashing = pytest.importorskip("tensorflow_datasets.core.hashing")
    hasher = hashing.Hasher("train")
    stored = sorted(range(500), key=hasher.hash_key)             # what TFDS writes, by key
    order = mnist.file_order(500)
    assert sorted(order) == list(range(500))
    np.testing.assert_array_equal(np.array(stored)[order], np.arange(500))
    assert (mnist.file_order(500, "test") != order).any()


def test_original_order_is_that_of_the_published_file():
    folder = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    if not (folder / "mnist").exists():
        pytest.skip(f"MNIST is not in {folder}: set TFDS_DATA_DIR")
    shuffled, original = mnist.load("mnist"), mnist.load("mnist", original_order=True)
    first = [5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9]
    assert original.training.labels[:20].tolist() == first
    assert shuffled.training.labels[:20].tolist() != first
    # The labels came along with their images: the same pairs, whatever their order.
    for split in (shuffled, original):
        assert len(split.training) == 50_000 and len(split.validation) == 10_000
    products = []
    for split in (shuffled, original):
        parts = split.training, split.validation
        darkness = np.concatenate([part.inputs.sum(axis=(1, 2, 3), dtype=np.int64) for part in parts])
        products.append(np.sort(darkness * np.concatenate([part.labels for part in parts])))
    np.testing.assert_array_equal(*products)
    np.testing.assert_array_equal(shuffled.test.labels, original.test.labels)
