import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines import digits, mnist
from pipelines.augment import (
    ONE_PIXEL,
    Chain,
    CropFlip,
    Cutout,
    OnPixels,
    RandAugment,
    one_pixel_shift,
    shifted,
)
from pipelines.stream import Examples, Splits, Stream, cut_last
from training.run import Run


def numbered(count):
    """Examples whose single input is their index, so that a batch shows its order."""
    return Examples(np.arange(count, dtype=np.float32)[:, None], np.arange(count))


def walk(stream, batches, start=0):
    return np.concatenate([stream.batch(i)[1].numpy() for i in range(start, start + batches)])


@pytest.mark.parametrize("batch_size", [1, 7, 10, 30])
def test_every_epoch_is_a_permutation_also_where_batches_straddle(batch_size):
    stream = Stream(numbered(30), batch_size, seed=3)
    seen = walk(stream, 30 * 7 // batch_size)[:90].reshape(3, 30)
    assert all(sorted(epoch) == list(range(30)) for epoch in seen)
    assert (seen[0] != seen[1]).any() and (seen[1] != seen[2]).any()


def test_batch_i_is_a_function_of_seed_and_i_in_and_out_of_a_graph():
    stream, again = Stream(numbered(100), 8, seed=5), Stream(numbered(100), 8, seed=5)
    graph = tf.function(again.batch)
    for i in (13, 0, 12, 1000):                     # any order
        np.testing.assert_array_equal(stream.batch(i)[1], graph(tf.constant(i, tf.int64))[1])
    assert (walk(stream, 10) != walk(Stream(numbered(100), 8, seed=6), 10)).any()


@pytest.mark.parametrize("augment", [
    None, CropFlip(2), CropFlip(2, reflect=True, flip="alternating"), Chain((CropFlip(1), Cutout(3)))])
def test_halves_compiled_make_the_same_batch(augment):
    examples = digits.load(1).training
    stream = Stream(examples, 100, seed=4, augment=augment,
                    augment_by_visit=getattr(augment, "by_visit", False))
    take, make = stream.halves()
    make = tf.function(make, jit_compile=True)
    for i, shard in ((0, (0, 1)), (12, (1, 2)), (13, (0, 1))):       # an epoch of 1,257 ends within batch 12
        with tf.device("CPU:1"):                       # stands in for a GPU
            taken = take(i, shard)
        assert all(each.device.endswith("CPU:0") for each in taken)
        for half, whole in zip(make(*taken), stream.batch(i, shard), strict=True):
            np.testing.assert_allclose(half, whole, rtol=1e-6, atol=1e-6)


def test_a_stream_that_xla_might_not_compile_has_no_halves():
    class Own(Stream):
        def batch(self, i, shard=(0, 1)):
            return super().batch(i, shard)
    data = digits.load(1)
    for stream in (Own(numbered(9), 3), Stream(numbered(9), 3, augment=lambda x, seeds: x),
                   Stream(numbered(9), 3, variants=2, vary=lambda x, version: x),
                   Stream(numbered(8), 4, mix=lambda x, y, seeds: (x, y)),
                   Stream(data.training, 10, augment=Chain((CropFlip(1), OnPixels(
                       RandAugment(), data.training.prepare))))):
        assert stream.halves() is None


def test_orders():
    assert list(walk(Stream(numbered(6), 4, order="fixed"), 3)) == [0, 1, 2, 3, 4, 5] * 2
    shuffled = walk(Stream(numbered(50), 10, order="shuffled"), 10)
    np.testing.assert_array_equal(shuffled[:50], shuffled[50:])
    assert sorted(shuffled[:50]) == list(range(50)) and list(shuffled[:50]) != list(range(50))


def test_shards_make_up_the_batch():
    stream = Stream(numbered(100), 12, seed=1)
    parts = [stream.batch(4, shard=(k, 3))[1] for k in range(3)]
    np.testing.assert_array_equal(np.concatenate(parts), stream.batch(4)[1])
    with pytest.raises(ValueError, match="multiple of the 5 devices"):
        stream.batch(0, shard=(0, 5))


def test_bad_arguments_say_what_is_allowed():
    with pytest.raises(ValueError, match=r"\[1, 10\].*Received: 11"):
        Stream(numbered(10), 11)
    with pytest.raises(ValueError, match="Received: 0"):
        Stream(numbered(10), 0)
    with pytest.raises(ValueError, match="reshuffled.*Received: 'random'"):
        Stream(numbered(10), 2, order="random")
    with pytest.raises(ValueError, match="3 inputs, 2 labels"):
        Examples(np.zeros((3, 1)), np.zeros(2))
    with pytest.raises(ValueError, match="2 and 3 inputs, 3 labels"):
        Examples({"image": np.zeros((3, 1)), "words": np.zeros((2, 1))}, np.zeros(3))


def several(count=10):
    """Two inputs and two labels, all telling their index."""
    index = np.arange(count)
    return Examples({"image": index[:, None].astype(np.float32), "words": np.stack([index, -index], axis=1)},
                    (index, 10 * index))


def test_several_inputs_and_labels_stay_together():
    examples = several()
    inputs, (first, second) = Stream(examples, 4, seed=3).batch(5)
    np.testing.assert_array_equal(inputs["image"][:, 0], first)
    np.testing.assert_array_equal(inputs["words"], np.stack([first, -first], axis=1))
    np.testing.assert_array_equal(second, 10 * first)
    np.testing.assert_array_equal(first, Stream(numbered(10), 4, seed=3).batch(5)[1])
    part = examples[2:5]
    assert len(part) == 3 and part.labels[1][0] == 20
    batches = list(examples.dataset(batch_size=4))
    assert [len(labels[0]) for _, labels in batches] == [4, 4, 2]
    assert Splits(None, examples, examples, examples, ()).input_shape == {"image": (1,), "words": (2,)}
    training, validation = cut_last(examples, 2, (1, 5))
    assert list(validation.labels[0]) == [0, 1] and len(training) == 8


def test_a_network_of_two_inputs_trains_and_is_evaluated(tmp_path):
    examples = several()
    image, words = keras.Input((1,), name="image"), keras.Input((2,), name="words")
    model = keras.Model({"image": image, "words": words}, keras.layers.Dense(1)(
        keras.layers.Concatenate()([image, keras.ops.cast(words, "float32")])))
    examples = Examples(examples.inputs, examples.labels[0].astype(np.float32))
    model.compile(keras.optimizers.Adam(0.1), "mse")
    run = Run(tmp_path / "run", strategy="none")
    history = run.fit(model, Stream(examples, 5), examples, epochs=30, verbose=0)
    assert history[-1]["val_loss"] < 0.1 * history[0]["val_loss"]
    assert run.evaluate(model, examples)["test_loss"] == pytest.approx(history[-1]["val_loss"], rel=1e-4)


def test_evaluation_waits_for_no_tuning_thread():
    examples = Examples(np.zeros((4, 2, 2, 1), np.uint8), np.arange(4))
    dataset = examples.dataset(2)
    assert dataset.options().autotune.enabled is False
    assert [labels.numpy().tolist() for _, labels in dataset] == [[0, 1], [2, 3]]


def test_shift_equals_numpy():
    images = np.random.default_rng(0).random((5, 6, 7, 2), np.float32)
    down, right = np.array([0, 2, -2, 1, 0]), np.array([0, -1, 2, 0, -2])
    moved = shifted(images, tf.constant(down, tf.int64), tf.constant(right, tf.int64), reach=2).numpy()
    for image, result, dy, dx in zip(images, moved, down, right, strict=True):
        expected = np.zeros_like(image)
        rows, columns = slice(max(dy, 0), 6 + min(dy, 0)), slice(max(dx, 0), 7 + min(dx, 0))
        expected[rows, columns] = image[max(-dy, 0):6 - max(dy, 0), max(-dx, 0):7 - max(dx, 0)]
        np.testing.assert_array_equal(result, expected)


def test_expansion_has_every_image_in_five_versions():
    data = digits.load(10, order="shuffled", variants=len(ONE_PIXEL), vary=one_pixel_shift)
    assert data.train.size == 5 * 1257
    small = Stream(data.training[:4], 20, order="fixed", variants=5, vary=one_pixel_shift)
    images = small.batch(0)[0].numpy().reshape(5, 4, 8, 8)       # versions first
    original = data.training.inputs[:4, :, :, 0] / np.float32(255)
    np.testing.assert_allclose(images[0], original)
    np.testing.assert_allclose(images[1][:, 1:], original[:, :-1])
    np.testing.assert_allclose(images[2][:, :-1], original[:, 1:])
    np.testing.assert_allclose(images[3][:, :, 1:], original[:, :, :-1])
    np.testing.assert_allclose(images[4][:, :, :-1], original[:, :, 1:])
    assert (images[1][:, 0] == 0).all() and (images[4][:, :, -1] == 0).all()


def test_augmentation_gets_one_seed_per_example_that_does_not_depend_on_the_batch():
    def noisy(inputs, seeds):
        return inputs * 0 + tf.map_fn(lambda seed: tf.random.stateless_uniform([1], seed), seeds,
                                      fn_output_signature=tf.float32)
    one = np.concatenate([Stream(numbered(60), 3, seed=9, augment=noisy).batch(i)[0] for i in range(4)])
    other = np.concatenate([Stream(numbered(60), 6, seed=9, augment=noisy).batch(i)[0] for i in range(2)])
    np.testing.assert_array_equal(one, other)
    assert len(np.unique(one)) == 12


@pytest.mark.parametrize("size", [8, 28])
def test_digits(size):
    data = digits.load(size=size)
    assert data.input_shape == (size, size, 1) and data.num_classes == 10
    assert [len(part) for part in (data.training, data.validation, data.test)] == [1257, 180, 360]
    x, y = data.test.arrays()
    assert x.dtype == np.float32 and x.min() == 0 and 0.9 < x.max() <= 1 and y.dtype == np.int64
    batches = list(data.test.dataset(100))
    np.testing.assert_array_equal(np.concatenate([b[0] for b in batches]), x)


def disjoint(data):
    training, validation, test = ({image.tobytes() for image in part.inputs}
                                  for part in (data.training, data.validation, data.test))
    return not (training & validation or training & test or validation & test)


def test_splits_of_digits_are_disjoint():
    assert disjoint(digits.load())


def test_real_mnist(real_mnist):
    data = mnist.load("mnist")
    assert [len(part) for part in (data.training, data.validation, data.test)] == [50_000, 10_000, 10_000]
    assert data.input_shape == (28, 28, 1) and disjoint(data)
    assert np.bincount(data.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert abs(np.mean(np.concatenate([data.training.inputs, data.validation.inputs])) / 255 - 0.1307) < 1e-4


def test_the_last_examples_validate_or_none():
    training, validation = cut_last(numbered(10), 3)
    assert training.labels.tolist() == list(range(7)) and validation.labels.tolist() == [7, 8, 9]
    training, validation = cut_last(numbered(10), 0)
    assert training.labels.tolist() == list(range(10)) and validation is None
    for arguments in ((10,), (-1,), (0, (1, 5))):
        with pytest.raises(ValueError, match=r"validation must be in \[0, 9\].*Received: "):
            cut_last(numbered(10), *arguments)


def test_all_of_mnists_training_images_can_train():
    cut, whole = mnist.load("digits"), mnist.load("digits", validation=0)
    assert whole.validation is None and whole.train.size == 1437
    np.testing.assert_array_equal(whole.training.inputs[:1257], cut.training.inputs)
    np.testing.assert_array_equal(whole.training.labels[1257:], cut.validation.labels)


def test_unknown_data_is_refused_by_name():
    with pytest.raises(ValueError, match="mnist, fashion_mnist, kmnist, emnist, digits. Received: nist"):
        mnist.load("nist")


def test_the_first_batches_are_of_small_images():
    data = digits.load(20, seed=4, size=12)
    grows = Stream(data.training, 20, seed=4, resized=((3, 6), (5, 9)))
    (first, small), (second, middle), (last, large) = grows.stages
    assert (first, second, last) == (3, 5, None) and large is grows
    images, labels = data.train.batch(2)
    found, found_labels = small.batch(2)
    assert found.shape == (20, 6, 6, 1) and middle.batch(2)[0].shape == (20, 9, 9, 1)
    np.testing.assert_allclose(found, tf.image.resize(images, (6, 6), antialias=True))
    np.testing.assert_array_equal(found_labels, labels)
    np.testing.assert_array_equal(large.batch(7)[0], data.train.batch(7)[0])
    assert small._tensors is grows._tensors and small.halves() is None
    np.testing.assert_allclose(small.batch(2, (1, 2))[0], found[10:])


@pytest.mark.parametrize("resized", [((5, 6), (3, 9)), ((0, 6),), ((3, 0),)])
def test_sizes_that_make_no_sense_are_refused(resized):
    with pytest.raises(ValueError, match="resized must be pairs of an update and a number of pixels"):
        Stream(digits.load(20).training, 20, resized=resized)


def test_a_network_of_any_size_trains_on_growing_images(tmp_path):
    data = digits.load(20, seed=4, size=12)
    seen = []

    class Watched(keras.layers.Layer):
        def call(self, images):
            seen.append(images.shape[1])
            return images

    def network():
        model = keras.Sequential([keras.Input((None, None, 1)), Watched(), keras.layers.Conv2D(4, 3),
                                  keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(10)])
        model.compile(keras.optimizers.SGD(0.05),
                      keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        return model
    straight, by_hand, cut = network(), network(), network()
    for other in (by_hand, cut):
        other.set_weights(straight.get_weights())
    grows = Stream(data.training, 20, seed=4, resized=((5, 6),))
    del seen[:]
    Run(tmp_path / "straight").fit(straight, grows, data.validation, updates=9, verbose=0)
    assert set(seen) == {12, 6}
    for updates, again in ((3, False), (7, True), (9, True)):         # interrupted in either stage
        Run(tmp_path / "cut", resume=again).fit(cut, grows, updates=updates, validate_every=1, verbose=0)
    for one, other in zip(cut.get_weights(), straight.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    for i in range(9):
        images, labels = data.train.batch(i)
        by_hand.train_on_batch(tf.image.resize(images, (6, 6), antialias=True) if i < 5 else images, labels)
    for one, other in zip(straight.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
