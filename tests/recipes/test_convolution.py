"""convolution: the example to the digit, and hand, layer and SciPy against each other."""
import numpy as np
import pytest
from scipy.signal import correlate2d

from pipelines import photographs
from recipes.foundations.convolution import (
    FILTERS,
    IMAGE,
    VERTICAL,
    convolve,
    edges,
    output_size,
    pool,
    weights_shared_and_dense,
)


def test_the_example_to_the_digit():
    assert convolve(IMAGE, VERTICAL).tolist() == [
        [-5, -4, 0, 8], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]]
    assert pool(IMAGE, 2, 2).tolist() == [[5, 9, 7], [7, 5, 8], [4, 6, 9]]
    assert pool(IMAGE, 3, 3, np.mean)[0, 0] == pytest.approx(29 / 9)


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("f", [1, 2, 3, 5])
def test_by_hand_equals_scipy(f, stride, padding):
    generator = np.random.default_rng(f)
    image, kernel = generator.normal(size=(9, 12)), generator.normal(size=(f, f))
    expected = correlate2d(np.pad(image, padding), kernel, mode="valid")[::stride, ::stride]
    received = convolve(image, kernel, stride, padding)
    assert received.shape == tuple(output_size(n, f, stride, padding) for n in image.shape)
    np.testing.assert_allclose(received, expected, atol=1e-12)


def test_weights_to_the_digit():
    counts = weights_shared_and_dense()
    assert counts["convolution_parameters"] == 280 and counts["dense_weights"] == 1_080
    assert counts["patches_of_8x8_on_256x256"] == 249 * 249 and counts["patches_side_by_side"] == 1_024
    assert counts["unshared_weights_of_all_patches"] == 64 * 62_001


def test_a_constant_picture_has_no_edges():
    maps = edges(np.full((20, 30), 0.7, np.float32))
    for name in FILTERS:
        inside = maps[name][1:-1, 1:-1]
        np.testing.assert_allclose(inside, 0.7 if name == "blur" else 0, atol=1e-6)


@pytest.mark.parametrize(("f", "stride", "padding"), [(7, 1, 0), (0, 1, 0), (3, 0, 0), (3, 1, -1)])
def test_what_does_not_fit_is_refused(f, stride, padding):
    with pytest.raises(ValueError, match=f"image 6, filter {f}, stride {stride}, padding {padding}"):
        output_size(6, f, stride, padding)


def test_photographs():
    for name in photographs.NAMES:
        photograph = photographs.load(name)
        assert photograph.shape == (427, 640, 3) and photograph.dtype == np.float32
        assert photograph.min() >= 0 and 0.8 < photograph.max() <= 1
        assert photographs.grey(photograph).shape == (427, 640)
    with pytest.raises(ValueError, match="china, flower. Received: cat"):
        photographs.load("cat")


def test_smoke(smoke_run, drawn):
    folder, metrics = smoke_run("convolution")
    drawn(folder, "arithmetic", "photograph")
    assert (metrics["first_value"], metrics["second_value"], metrics["values"]) == (-5, -4, 16)
    assert metrics["largest_difference"] < 1e-5 and metrics["largest_difference_photograph"] < 1e-5
