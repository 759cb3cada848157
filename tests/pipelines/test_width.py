import numpy as np
import pytest

from pipelines import digits
from pipelines.width import of_width


def drawn_columns(images):
    columns = images.any(axis=(1, 3))
    return columns.shape[1] - columns[:, ::-1].argmax(axis=1) - columns.argmax(axis=1)


@pytest.mark.parametrize("width", [10, 12, 20, 28])
def test_every_digit_has_the_width_and_its_rows(width):
    images = digits.load(10, size=28).test.inputs
    out = of_width(images, width)
    assert out.shape == images.shape and out.dtype == np.uint8
    left = (28 - width) // 2
    assert not out[:, :, :left].any() and not out[:, :, left + width:].any()
    assert (np.abs(drawn_columns(out) - width) <= 1).all()           # an edge may round to zero
    ink, expected = (x.astype(float).sum(axis=(1, 2, 3)) for x in (out, images))
    np.testing.assert_allclose(ink / expected * drawn_columns(images) / width, 1, atol=0.15)


def test_by_hand():
    image = np.zeros((1, 1, 8, 1), np.uint8)
    image[0, 0, 1:5, 0] = (100, 200, 40, 80)
    np.testing.assert_array_equal(of_width(image, 4)[0, 0, :, 0], [0, 0, 100, 200, 40, 80, 0, 0])
    # Two columns at 1.5 and 3.5, of reach 2: the four nearest by 1/4 and 3/4, cut at the ends.
    expected = [(0.75 * 100 + 0.75 * 200 + 0.25 * 40) / 1.75, (0.25 * 200 + 0.75 * 40 + 0.75 * 80) / 1.75]
    np.testing.assert_array_equal(of_width(image, 2)[0, 0, 3:5, 0], np.round(expected))
    # Eight at 0.75, 1.25, ...: between two columns, or beyond the outermost.
    expected = [100, 125, 175, 160, 80, 50, 70, 80]
    np.testing.assert_array_equal(of_width(image, 8)[0, 0, :, 0], expected)


def test_in_parts_and_blank_images():
    images = np.random.default_rng(0).integers(0, 256, (1001, 3, 6, 1), np.uint8)
    images[7] = 0
    out = of_width(images, 4)
    np.testing.assert_array_equal(out[1000:], of_width(images[1000:], 4))
    assert not out[7].any() and len(out) == 1001


def test_bad_arguments():
    images = np.zeros((1, 5, 5, 1), np.uint8)
    for width in (0, 6):
        with pytest.raises(ValueError, match=rf"\[1, 5\] pixels. Received: {width}"):
            of_width(images, width)
    with pytest.raises(ValueError, match="uint8"):
        of_width(images.astype(np.float32), 3)
