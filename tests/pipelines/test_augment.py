"""Cutout, and RandAugment's operations against Pillow's."""
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from pipelines import photographs
from pipelines.augment import Chain, CropFlip, Cutout, OnPixels, RandAugment
from pipelines.stream import Examples, Standardized, Stream

PHOTOGRAPH = np.uint8(photographs.load("flower")[100:164, 200:264] * 255)


def seeds(count):
    return tf.stack([tf.zeros(count, tf.int64), tf.range(count, dtype=tf.int64)], axis=1)


def test_cutout_zeroes_a_square_that_may_hang_over_the_edge():
    found = Cutout(6)(tf.ones((500, 16, 20, 3)), seeds(500)).numpy()[..., 0] == 0
    rows, columns = found.any(axis=2), found.any(axis=1)
    np.testing.assert_array_equal(found, rows[:, :, None] & columns[:, None])
    assert rows.sum(axis=1).max() == columns.sum(axis=1).max() == 6
    assert rows.sum(axis=1).min() == columns.sum(axis=1).min() == 3          # a centre on the border
    centres = np.array([np.flatnonzero(row).mean() for row in rows])
    assert abs(centres.mean() - 7.5) < 0.6


@pytest.mark.parametrize("magnitude", [9, 30])
def test_operations_equal_pillows(magnitude):
    level = magnitude / 30
    bits = 8 - round(4 * level)
    pillow = {
        "identity": lambda image: image,
        "color": lambda image: ImageEnhance.Color(image).enhance(1 + 0.9 * level),
        "contrast": lambda image: ImageEnhance.Contrast(image).enhance(1 + 0.9 * level),
        "brightness": lambda image: ImageEnhance.Brightness(image).enhance(1 + 0.9 * level),
        "sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * level),
        "posterize": lambda image: ImageOps.posterize(image, bits),
        "solarize": lambda image: ImageOps.solarize(image, round(255 * (1 - level) + 1e-9)),
        "auto_contrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
    }
    augment = RandAugment(magnitude=magnitude)
    for name, operation in pillow.items():
        expected = np.asarray(operation(Image.fromarray(PHOTOGRAPH)), np.float32)
        found = augment.applied(tf.constant(PHOTOGRAPH[None] / np.float32(255)),
                                tf.constant([augment.NAMES.index(name)]), tf.constant([1.0]))[0].numpy() * 255
        difference = np.abs(found - expected)
        assert np.quantile(difference, 0.999) < 1.6 and difference.mean() < 0.6, name


def test_geometry_moves_as_told():
    image = np.zeros((1, 21, 21, 3), np.float32)
    image[0, 10, 5] = 1                                                       # left of the centre
    augment = RandAugment(magnitude=30)

    def peak(name):
        moved = augment.applied(tf.constant(image), tf.constant([augment.NAMES.index(name)]),
                                tf.constant([1.0]))
        return np.array(np.unravel_index(moved[0, ..., 0].numpy().argmax(), (21, 21))) - 10
    turned = peak("rotate")
    assert abs(np.hypot(*turned) - 5) < 1 and abs(abs(np.degrees(np.arctan2(*turned))) - 150) < 8
    assert peak("shear_y")[1] == -5 and abs(peak("shear_y")[0]) in (1, 2)
    assert list(peak("shear_x")) == [0, -5]                                   # its row is the axis
    assert abs(peak("translate_y")[0]) in (9, 10) and peak("translate_y")[1] == -5


def test_each_image_has_operations_of_its_own_and_they_are_a_function_of_its_seed():
    images = tf.constant(np.repeat(PHOTOGRAPH[None, :32, :32] / np.float32(255), 60, axis=0))
    augment = RandAugment(operations=1, magnitude=20)
    found = augment(images, seeds(60)).numpy()
    assert len({image.tobytes() for image in found}) >= 14                     # signs make more than 14
    np.testing.assert_array_equal(augment(images[10:20], seeds(60)[10:20]), found[10:20])
    assert found.min() >= 0 and found.max() <= 1 and np.isfinite(found).all()


def test_chain_in_a_stream_of_standardised_images():
    prepare = Standardized((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    data = Examples(np.repeat(PHOTOGRAPH[None, :32, :32], 20, axis=0), np.arange(20), prepare)
    chain = Chain((CropFlip(pad=2, reflect=True, flip="alternating"), OnPixels(RandAugment(), prepare),
                   Cutout(8)))
    stream = Stream(data, 8, augment=chain, augment_by_visit=chain.by_visit)
    whole = stream.batch(3)[0].numpy()
    parts = [stream.batch(3, (k, 2))[0] for k in range(2)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)
    assert ((whole == 0).all(axis=-1).sum(axis=(1, 2)) >= 16).all()
    bounds = prepare(tf.constant([[0.0] * 3, [1.0] * 3])).numpy()
    assert (whole >= bounds[0] - 1e-4).all() and (whole <= bounds[1] + 1e-4).all()


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least 1 pixel. Received: 0"):
        Cutout(0)
    with pytest.raises(ValueError, match=r"magnitude in \[0, 30\]. Received: 2, 31"):
        RandAugment(magnitude=31)
