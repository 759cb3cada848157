"""An image as a sequence: which pixel comes when, saving, and a frozen permutation."""
import keras
import numpy as np
import pytest
from soundness import saves_and_loads

from models import ImageSequence, recurrent_classifier

IMAGES = np.arange(2 * 3 * 4 * 1, dtype=np.float32).reshape(2, 3, 4, 1)


def test_pixels_come_row_by_row():
    pixels = np.asarray(ImageSequence()(IMAGES))
    assert pixels.shape == (2, 12, 1)
    np.testing.assert_array_equal(pixels[0, :, 0], np.arange(12))


def test_rows():
    rows = np.asarray(ImageSequence("rows")(IMAGES))
    assert rows.shape == (2, 3, 4)
    np.testing.assert_array_equal(rows[1], IMAGES[1, :, :, 0])
    colour = ImageSequence("rows")
    assert colour(np.zeros((2, 3, 4, 3))).shape == (2, 3, 12) == colour.compute_output_shape((2, 3, 4, 3))


def test_the_permutation_is_one_for_all_images_and_never_changes():
    permuted = np.asarray(ImageSequence("permuted", seed=0)(IMAGES))[..., 0]
    np.testing.assert_array_equal(permuted[0], [6, 11, 4, 10, 2, 8, 1, 7, 9, 3, 0, 5])
    np.testing.assert_array_equal(permuted[1], permuted[0] + 12)
    other = np.asarray(ImageSequence("permuted", seed=1)(IMAGES))[0, :, 0]
    assert sorted(other) == sorted(permuted[0]) and (other != permuted[0]).any()


def test_travels_with_the_network(tmp_path):
    model = keras.Sequential([keras.Input((3, 4, 1)), ImageSequence("permuted", seed=5),
                              recurrent_classifier((12, 1), 2, cell="rnn", units=(3,))])
    saves_and_loads(model, IMAGES / 24, tmp_path)


def test_another_order():
    with pytest.raises(ValueError, match="order must be one of pixels, permuted, rows. Received: 'columns'"):
        ImageSequence("columns")
