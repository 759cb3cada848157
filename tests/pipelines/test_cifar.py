"""CIFAR: cuts, standardisation, and He et al.'s augmentation against NumPy."""
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipelines import cifar
from pipelines.augment import CropFlip, cropped
from pipelines.stream import Examples, Standardized, Stream


def test_digits_stand_in_for_cifar():
    data = cifar.load("digits", 16)
    assert [len(part) for part in (data.training, data.validation, data.test)] == [1257, 180, 360]
    assert data.input_shape == (32, 32, 3) and data.num_classes == 10
    assert data.training.inputs.dtype == np.uint8
    x = np.concatenate([data.training.arrays()[0], data.validation.arrays()[0]])
    np.testing.assert_allclose(x.mean(axis=(0, 1, 2), dtype=np.float64), 0, atol=1e-3)
    np.testing.assert_allclose(x.std(axis=(0, 1, 2), dtype=np.float64), 1, atol=1e-3)
    pixels = data.test.inputs[:5] / np.float32(255)
    expected = (pixels - np.float32(data.mean)) / np.float32(data.std)
    np.testing.assert_allclose(data.test.arrays()[0][:5], expected, atol=1e-5)
    images, labels = data.train.batch(3)
    assert images.shape == (16, 32, 32, 3) and images.dtype == tf.float32 and labels.dtype == tf.int64


def test_all_images_train_where_none_validates():
    data = cifar.load("digits", 16, validation=0)
    assert data.validation is None and len(data.training) == 1437
    with pytest.raises(ValueError, match="above 0 for folds. Received: 0"):
        cifar.load("digits", 16, validation=0, fold=(1, 5))


def test_folds_part_training_and_validation_together():
    parts = [cifar.load("digits", 16, fold=(k, 3)).validation for k in (1, 2, 3)]
    whole = cifar.load("digits", 16, validation=0).training
    np.testing.assert_array_equal(np.concatenate([part.inputs for part in parts]), whole.inputs)


def test_class_names():
    for names, count in ((cifar.CIFAR10, 10), (cifar.CIFAR100, 100)):
        assert len(set(names)) == count == len(names) and list(names) == sorted(names)


def test_bad_names_are_refused():
    with pytest.raises(ValueError, match="cifar10, cifar100, digits. Received: cifar"):
        cifar.load("cifar")
    with pytest.raises(ValueError, match="none, flip, crop, crop-flip.*Received: 'flop'"):
        cifar.load("digits", augment="flop")
    with pytest.raises(ValueError, match='"random", "none" or "alternating". Received: \'always\''):
        CropFlip(flip="always")
    with pytest.raises(ValueError, match="augment_by_visit=True"):
        CropFlip(flip="alternating")(tf.zeros((1, 4, 4, 1)), tf.zeros((1, 2), tf.int64))
    with pytest.raises(ValueError, match="smaller than the image. Received: 4 pixels for 4x4"):
        CropFlip(reflect=True)(tf.zeros((1, 4, 4, 1)), tf.zeros((1, 2), tf.int64))


@pytest.mark.parametrize("reflect", [False, True])
def test_crops_equal_numpy(reflect):
    generator = np.random.default_rng(0)
    images = generator.random((6, 7, 9, 3), np.float32)
    down, right = generator.integers(0, 7, (2, 6))
    mirrored = np.array([True, False] * 3)
    down, right = down.astype(np.int32), right.astype(np.int32)
    found = cropped(images, down, right, tf.constant(mirrored), 3, reflect)
    padded = np.pad(images, [(0, 0), (3, 3), (3, 3), (0, 0)], "reflect" if reflect else "constant")
    for image, result, top, left, flip in zip(padded, found, down, right, mirrored, strict=True):
        window = image[top:top + 7, left:left + 9]
        np.testing.assert_array_equal(result, window[:, ::-1] if flip else window)


def numbered_pixels(count, size=9):
    """Images whose pixels are all different and not zero, so that a crop shows where it comes from."""
    pixels = np.arange(1, 1 + size * size, dtype=np.float32).reshape(1, size, size, 1)
    return np.repeat(pixels, count, axis=0)


def test_every_place_and_both_sides_come_equally_often():
    images = numbered_pixels(20_000)
    seeds = tf.stack([tf.zeros(20_000, tf.int64), tf.range(20_000, dtype=tf.int64)], axis=1)
    middle = CropFlip(pad=1)(images, seeds).numpy()[:, 4, 3:6, 0]       # about the middle
    mirrored = middle[:, 0] > middle[:, 2]
    centre = middle[:, 1] - images[0, 4, 4, 0]
    moves, counts = np.unique(centre, return_counts=True)
    assert moves.tolist() == [-10, -9, -8, -1, 0, 1, 8, 9, 10]         # by row, by column
    assert abs(counts / 20_000 - 1 / 9).max() < 0.01 and abs(mirrored.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(mirrored, centre)[0, 1]) < 0.03
    np.testing.assert_array_equal(CropFlip(pad=0)(images[:50], seeds[:50])[:, 4, 4, 0], images[:50, 4, 4, 0])
    unflipped = CropFlip(pad=1, flip="none")(images[:50], seeds[:50]).numpy()[:, 4, 3:6, 0]
    assert (np.diff(unflipped) == 1).all()


def test_augmented_batches_are_a_function_of_seed_and_i_and_shards_make_them_up():
    data = Examples(numbered_pixels(40), np.arange(40))
    for augment in (CropFlip(), CropFlip(pad=2, reflect=True, flip="alternating")):
        options = {"augment": augment, "augment_by_visit": augment.by_visit}
        stream = Stream(data, 12, seed=3, **options)
        whole = stream.batch(5)[0].numpy()
        parts = [stream.batch(5, shard=(k, 3))[0] for k in range(3)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        np.testing.assert_array_equal(tf.function(stream.batch)(tf.constant(5, tf.int64))[0], whole)
        assert (Stream(data, 12, seed=4, **options).batch(5)[0].numpy() != whole).any()


def test_an_alternating_flip_shows_each_example_mirrored_every_other_epoch():
    stream = Stream(Examples(numbered_pixels(40), np.arange(40)), 16, seed=3, augment_by_visit=True,
                    augment=CropFlip(pad=0, flip="alternating"))
    sides = np.zeros((4, 40), bool)
    for i in range(10):                          # four epochs; batches straddle them
        images, labels = stream.batch(i)
        for k, (image, label) in enumerate(zip(images.numpy(), labels.numpy(), strict=True)):
            sides[(16 * i + k) // 40, label] = image[0, 0, 0] > image[0, 1, 0]
    assert (sides[0] != sides[1]).all() and (sides[0] == sides[2]).all() and (sides[1] == sides[3]).all()
    assert 8 < sides[0].sum() < 32


def test_standardized_takes_floats_in_the_unit_interval_too():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    prepare = Standardized((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    floats = prepare(tf.constant(pixels / np.float32(255)))
    np.testing.assert_allclose(prepare(tf.constant(pixels)), floats, atol=1e-5)


def test_real_cifar10():
    folder = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    if not (folder / "cifar10").exists():
        pytest.skip(f"CIFAR-10 is not in {folder}: set TFDS_DATA_DIR")
    data = cifar.load("cifar10", augment="none", validation=5000)
    assert [len(part) for part in (data.training, data.validation, data.test)] == [45_000, 5_000, 10_000]
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    whole = np.concatenate([data.training.inputs, data.validation.inputs])
    for found, stated in zip(cifar.statistics(whole), cifar.STATISTICS["cifar10"], strict=True):
        np.testing.assert_allclose(found, stated, atol=1.5e-4)
