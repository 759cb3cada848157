"""Distortions: their random numbers, the elastic field against its definition, affine maps by hand."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines import digits
from pipelines.distort import (
    Distortion,
    affine_field,
    elastic_field,
    gaussian_matrix,
    keys,
    resampled,
    uniform,
)
from training import replicas

ALL = Distortion(rotation=15, shear=10, scale=0.15, shift=2, sigma=4, alpha=34)


def seeds_of(count, seed=0, first=0):
    return tf.stack([tf.fill([count], tf.constant(seed, tf.int64)),
                     tf.range(first, first + count, dtype=tf.int64)], axis=1)


def drawn(count, pairs, seed=0):
    """Uniform numbers as (examples, 2 pairs)."""
    return np.concatenate(uniform(keys(seeds_of(count, seed)), pairs).numpy(), axis=1)


def test_numbers_are_uniform():
    numbers = drawn(500, 1000)                                        # 10^6
    assert numbers.dtype == np.float32 and np.abs(numbers).max() < 1
    counts = np.histogram(numbers, bins=100, range=(-1, 1))[0]
    chi_square = np.sum((counts - 10_000) ** 2 / 10_000)              # 99 degrees of freedom
    assert 50 < chi_square < 160                                      # all but 1 in 10^4
    for axis in (0, 1):                                               # of each place, of each example
        means = numbers.mean(axis=axis) * np.sqrt(3 * numbers.shape[axis])
        assert np.abs(means).max() < 5 and 0.85 < means.std() < 1.15


def test_numbers_do_not_depend_on_each_other():
    numbers = drawn(500, 1000)

    def correlation(one, other):
        """In standard deviations of that of independent numbers."""
        return np.mean(one * other) * 3 * np.sqrt(one.size)
    for lag in (1, 2, 29, 30, 58, 841):                               # neighbours in a row, in a column
        assert abs(correlation(numbers[:, lag:], numbers[:, :-lag])) < 4.5, lag
    for lag in (1, 2, 16, 250):                                       # examples one after the other
        assert abs(correlation(numbers[lag:], numbers[:-lag])) < 4.5, lag
    down, right = uniform(keys(seeds_of(500)), 1000).numpy()
    assert abs(correlation(down, right)) < 4.5                        # the halves of one hash
    for other in (1, 2, 2 ** 31, 2 ** 32, -1):                        # seeds of runs
        assert abs(correlation(numbers, drawn(500, 1000, other))) < 4.5, other
    squares = numbers ** 2 - 1 / 3
    assert abs(np.mean(squares[1:] * squares[:-1]) / (4 / 45) * np.sqrt(squares[1:].size)) < 4.5


def test_keys_differ_in_every_bit_of_a_seed():
    bits = [1 << bit for bit in range(63)]
    seeds = [(0, 0), *((bit, 0) for bit in bits), *((0, bit) for bit in bits)]
    found = keys(tf.constant(seeds, tf.int64)).numpy()
    assert len({tuple(key) for key in found}) == len(seeds)
    assert len(set(found[:, 0])) == len(set(found[:, 1])) == len(seeds)
    one = keys(seeds_of(4096)).numpy()
    flips = np.unpackbits((one[0::2] ^ one[1::2]).view(np.uint8), axis=1).mean()
    assert abs(flips - 0.5) < 0.01                                    # neighbours differ in half their bits


def test_numbers_are_those_of_the_same_places_in_any_part():
    key = keys(seeds_of(6))
    whole = uniform(key, 50).numpy()
    np.testing.assert_array_equal(uniform(key, 20, first=30), whole[:, :, 30:])
    np.testing.assert_array_equal(uniform(key[2:4], 50), whole[:, 2:4])


def test_gaussian_matrix_is_the_convolution():
    signal = np.random.default_rng(0).normal(size=29)
    for sigma in (0.5, 4.0, 40.0):
        offsets = np.arange(-200, 201)
        kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
        expected = np.convolve(signal, kernel / kernel.sum(), mode="full")[200:229]
        np.testing.assert_allclose(gaussian_matrix(29, sigma) @ signal, expected, atol=1e-5)


def test_elastic_field_is_the_two_dimensional_convolution():
    noise = np.random.default_rng(1).uniform(-1, 1, (2, 3, 9, 7)).astype(np.float32)       # (2, B, W, H)
    field = elastic_field(tf.constant(noise), 2.0, 10.0).numpy()                           # (2, B, H, W)
    assert field.shape == (2, 3, 7, 9)
    i, j = np.arange(7), np.arange(9)
    kernel = np.exp(-0.5 * ((i[:, None, None, None] - i[:, None]) ** 2
                            + (j[:, None, None] - j) ** 2) / 2.0 ** 2)                     # (7, 9, 7, 9)
    kernel /= np.sum(np.exp(-0.5 * (np.arange(-60, 61) / 2.0) ** 2)) ** 2
    np.testing.assert_allclose(field, 10 * np.einsum("ijkl,cblk->cbij", kernel, noise), atol=1e-5)


@pytest.mark.parametrize(("sigma", "alpha"), [(4.0, 34.0), (6.0, 36.0)])
def test_elastic_field_has_the_variance_of_its_definition(sigma, alpha):
    plain = Distortion(sigma=sigma, alpha=alpha)
    key = keys(seeds_of(2000))
    field = plain.field(key, *plain.affine(key, tf.ones(2000)), 29, 29).numpy()
    weights = gaussian_matrix(29, sigma).astype(float)
    along = (weights ** 2).sum(axis=1)
    expected = alpha * np.sqrt(np.outer(along, along) / 3)            # variance of uniform (-1, 1): 1/3
    np.testing.assert_allclose(field.std(axis=1), [expected, expected], rtol=0.12)
    # In the middle, that of the infinite Gaussian: alpha / (sqrt(3) 2 sqrt(pi) sigma).
    if sigma == 4.0:
        assert expected[14, 14] == pytest.approx(34 / (np.sqrt(3) * 2 * np.sqrt(np.pi) * 4), rel=0.02)
    assert np.abs(field.mean(axis=1)).max() < 0.15 * expected.max()
    # Neighbours move together, as the Gaussian says: exp(-1 / (4 sigma^2)).
    middle = field[:, :, 14, 12:16].reshape(-1, 4)
    assert np.corrcoef(middle[:, 1], middle[:, 2])[0, 1] == pytest.approx(
        np.exp(-1 / (4 * sigma ** 2)), abs=0.01)
    assert abs(np.corrcoef(field[0, :, 14, 14], field[1, :, 14, 14])[0, 1]) < 0.1


def test_resampled_by_hand():
    image = np.zeros((1, 4, 5, 2), np.float32)
    image[0, 1, 2], image[0, 1, 3] = (1.0, 3.0), (2.0, 5.0)
    field = np.zeros((2, 1, 4, 5), np.float32)
    np.testing.assert_array_equal(resampled(tf.constant(image), field), image)
    field[1] = 0.25                                                   # read a quarter pixel to the right
    out = resampled(tf.constant(image), field).numpy()
    np.testing.assert_allclose(out[0, 1, 1:4, 0], [0.25, 1.25, 1.5])
    np.testing.assert_allclose(out[0, 1, 1:4, 1], [0.75, 3.5, 3.75])
    field[0], field[1] = -0.5, 0
    np.testing.assert_allclose(resampled(tf.constant(image), field)[0, :, 3, 0], [0, 1, 1, 0])
    for far in (1e6, -1e6, 4.0):
        field[:] = far
        assert not resampled(tf.constant(image), field).numpy().any()


def test_whole_pixel_shifts_are_exact():
    images = np.random.default_rng(2).random((2, 6, 6, 1), np.float32)
    shift = tf.constant([[1.0, 0.0], [0.0, -2.0]])
    field = affine_field(tf.eye(2, batch_shape=[2]), shift, 6, 6)
    moved = resampled(tf.constant(images), field).numpy()
    np.testing.assert_array_equal(moved[0, :5], images[0, 1:])
    np.testing.assert_array_equal(moved[1, :, 2:], images[1, :, :-2])
    assert not moved[0, 5].any() and not moved[1, :, :2].any()


def test_a_quarter_turn():
    image = np.random.default_rng(3).random((1, 5, 5, 1), np.float32)
    field = affine_field(tf.constant([[[0.0, -1.0], [1.0, 0.0]]]), tf.zeros((1, 2)), 5, 5)
    # The place (down, right) from the centre reads (-right, down).
    np.testing.assert_allclose(resampled(tf.constant(image), field)[0, ..., 0],
                               np.rot90(image[0, ..., 0], -1), atol=1e-5)


def matrices(distortion, count=4000, angle=1.0):
    matrix, shift = distortion.affine(keys(seeds_of(count)), tf.fill([count], angle))
    return matrix.numpy(), shift.numpy()


def test_rotation_is_a_rotation_within_its_bound():
    matrix, shift = matrices(Distortion(rotation=15))
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-5)
    np.testing.assert_allclose(matrix @ matrix.transpose(0, 2, 1), np.broadcast_to(np.eye(2), matrix.shape),
                               atol=1e-5)
    angle = np.degrees(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert -15 < angle.min() < -14.9 and 14.9 < angle.max() < 15 and abs(angle.mean()) < 0.6
    assert not shift.any()
    half, _ = matrices(Distortion(rotation=15), angle=0.5)
    np.testing.assert_allclose(np.degrees(np.arctan2(half[:, 1, 0], half[:, 0, 0])), angle / 2, atol=1e-3)


def test_scale_shear_and_shift_are_within_their_bounds():
    matrix, _ = matrices(Distortion(scale=0.2))
    factors = 1 / matrix[:, [0, 1], [0, 1]]
    assert 0.8 < factors.min() < 0.801 and 1.199 < factors.max() < 1.2
    assert not matrix[:, [0, 1], [1, 0]].any() and abs(np.corrcoef(factors.T)[0, 1]) < 0.05
    matrix, _ = matrices(Distortion(shear=10))
    lean = np.degrees(np.arctan(matrix[:, 1, 0]))
    assert -10 < lean.min() < -9.95 and 9.95 < lean.max() < 10
    np.testing.assert_array_equal(matrix[:, 0], np.broadcast_to([1, 0], (4000, 2)))
    np.testing.assert_array_equal(matrix[:, 1, 1], np.ones(4000))
    _, shift = matrices(Distortion(shift=2))
    assert 1.99 < np.abs(shift).max() < 2 and abs(np.corrcoef(shift.T)[0, 1]) < 0.05


@pytest.fixture(scope="module")
def handwriting():
    return digits.load(10, size=28).test.arrays()[0][:64]


def test_nothing_to_distort_gives_the_images(handwriting):
    np.testing.assert_array_equal(Distortion()(handwriting, seeds_of(64)), handwriting)


def test_images_stay_images(handwriting):
    out = ALL(handwriting, seeds_of(64)).numpy()
    assert out.shape == handwriting.shape and out.dtype == np.float32
    assert out.min() >= 0 and out.max() <= 1
    assert np.abs(out - handwriting).mean(axis=(1, 2, 3)).min() > 0.01        # every one has changed
    assert 0.7 < out.sum() / handwriting.sum() < 1.3                          # and kept its ink


def test_the_same_eagerly_in_a_graph_in_tf_data_and_in_a_loop(handwriting):
    seeds = seeds_of(64, seed=7, first=1000)
    expected = ALL(handwriting, seeds).numpy()
    graph = tf.function(ALL)(handwriting, seeds)
    np.testing.assert_array_equal(graph, expected)
    data = tf.data.Dataset.from_tensor_slices((handwriting, seeds)).batch(16).map(ALL)
    np.testing.assert_array_equal(np.concatenate(list(data.as_numpy_iterator())), expected)
    images = tf.constant(handwriting)
    loop = tf.function(lambda: tf.while_loop(lambda i, _: i < 2, lambda i, _: (i + 1, ALL(images, seeds)),
                                             (0, images))[1])
    np.testing.assert_array_equal(loop(), expected)
    # By the single operations, without XLA.
    key = keys(seeds)
    field = ALL.field(key, *ALL.affine(key, tf.ones(64)), 28, 28)
    np.testing.assert_allclose(resampled(images, field), expected, atol=1e-5)


def test_an_image_depends_on_its_own_seed_alone(handwriting):
    seeds = seeds_of(64, seed=3)
    expected = ALL(handwriting, seeds).numpy()
    order = np.random.default_rng(4).permutation(64)
    np.testing.assert_array_equal(ALL(handwriting[order], tf.gather(seeds, order)), expected[order])
    assert (ALL(handwriting, seeds_of(64, seed=4)).numpy() != expected).any(axis=(1, 2, 3)).all()


def test_shards_of_a_stream_and_two_devices_see_what_one_sees():
    stream = digits.load(24, size=28, seed=5, augment=ALL).train
    whole, _ = stream.batch(9)
    parts = np.concatenate([stream.batch(9, shard=(k, 3))[0] for k in range(3)])
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    def replica():
        return stream.batch(9, shard=replicas.shard(strategy))[0]
    run = tf.function(lambda: strategy.run(replica), autograph=False)
    parts = np.concatenate(strategy.experimental_local_results(run()))
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_gentle_labels_turn_half_as_far(handwriting):
    seeds, labels = seeds_of(64), np.arange(64) % 10
    gentle = Distortion(rotation=15, shear=10, gentle=(1, 7))
    out = gentle(handwriting, seeds, labels).numpy()
    firm = Distortion(rotation=15, shear=10)(handwriting, seeds).numpy()
    half = Distortion(rotation=7.5, shear=5)(handwriting, seeds).numpy()
    among = np.isin(labels, (1, 7))
    np.testing.assert_allclose(out[among], half[among], atol=1e-5)
    np.testing.assert_allclose(out[~among], firm[~among], atol=1e-5)
    stream = digits.load(24, size=28, seed=5, augment=gentle, augment_by_label=True).train
    other = digits.load(24, size=28, seed=5, augment=Distortion(rotation=15, shear=10)).train
    (x, y), (plain, _) = stream.batch(0), other.batch(0)
    changed = (np.abs(x - plain) > 1e-5).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(changed, np.isin(y, (1, 7)))


@pytest.mark.parametrize(("arguments", "message"), [
    ({"sigma": 0.0}, "sigma must be a number of pixels above 0. Received: 0.0"),
    ({"sigma": -1.0, "alpha": 1.0}, "sigma .* Received: -1.0"), ({"alpha": -0.1}, "alpha must be at least 0"),
    ({"rotation": 181}, r"rotation must be in \[0, 180\] degrees. Received: 181"),
    ({"rotation": -1}, "rotation"), ({"shear": 90}, r"shear must be in \[0, 90\)"),
    ({"scale": 1.0}, r"scale must be in \[0, 1\)"),
    ({"shift": -1}, "shift must be"), ({"sigma": float("nan")}, "sigma must be"),
    ({"alpha": float("inf")}, "alpha must be"),
])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Distortion(**arguments)


def test_gentleness_needs_labels(handwriting):
    with pytest.raises(ValueError, match="needs the labels"):
        Distortion(gentle=(1,))(handwriting, seeds_of(64))
