"""ImageNet's folder tree, its ten crops, and its colours."""
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines import imagenet
from pipelines.augment import ColorJitter, PCAColor


def seeds(count):
    return tf.stack([tf.zeros(count, tf.int64), tf.range(count, dtype=tf.int64)], axis=1)


@pytest.fixture
def tree(tmp_path):
    generator = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 3)):
        for name in ("n01440764", "n01443537"):
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(count):
                image = Image.fromarray(generator.integers(0, 256, (50, 60, 3), np.uint8))
                image.save(tmp_path / part / name / f"{index}.JPEG")
    return tmp_path


def test_val_is_the_test_and_the_last_training_images_validate(tree):
    data = imagenet.load(tree, 4, size=32)
    assert [len(part) for part in (data.training, data.validation, data.test)] == [10, 2, 6]
    assert {path.split("/")[-1] for path in data.validation.paths} == {"5.JPEG"}
    assert all("/val/" in path for path in data.test.paths)
    assert data.class_names == ("n01440764", "n01443537")
    (tree / imagenet.MAPPING).write_text("n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius\n")
    assert imagenet.load(tree, 4, size=32).class_names == ("tench", "goldfish")


def test_colours_are_functions_of_the_seed(tree):
    plain = imagenet.load(tree, 4, size=32).train.batch(2)[0].numpy()
    coloured = imagenet.load(tree, 4, size=32, jitter=0.4, pca=0.1).train
    images = coloured.batch(2)[0].numpy()
    assert np.abs(images - plain).max() > 0.05
    parts = [coloured.batch(2, (k, 2))[0] for k in range(2)]
    np.testing.assert_allclose(np.concatenate(parts), images, atol=1e-5)


def test_a_tree_without_val_is_told(tree):
    (tree / "val").rename(tree / "valid")
    with pytest.raises(FileNotFoundError, match="no folder val.*directory per class"):
        imagenet.load(tree)


def test_ten_crops():
    images = np.arange(2 * 5 * 6 * 3, dtype=np.float32).reshape(2, 5, 6, 3)
    crops = imagenet.ten_crops(tf.constant(images), 4).numpy()
    assert crops.shape == (10, 2, 4, 4, 3)
    np.testing.assert_array_equal(crops[3], images[:, 1:, 2:])
    np.testing.assert_array_equal(crops[4], images[:, 0:4, 1:5])
    np.testing.assert_array_equal(crops[5:], crops[:5, :, :, ::-1])
    with pytest.raises(ValueError, match="at least 6x6. Received: 5x6"):
        imagenet.ten_crops(tf.constant(images), 6)


def test_principal_colours_have_their_deviations():
    moved = PCAColor(0.1)(tf.fill((20_000, 1, 1, 3), 0.5), seeds(20_000)).numpy()[:, 0, 0] - 0.5
    components = moved @ np.array(PCAColor.COMPONENTS)
    np.testing.assert_allclose(components.std(axis=0), 0.1 * np.array(PCAColor.VALUES), rtol=0.03)
    assert abs(components.mean(axis=0)).max() < 1e-3


def test_jitter_changes_each_image_by_factors_of_its_own():
    grey = tf.fill((1000, 2, 2, 3), 0.5)
    bright = ColorJitter(0.4)(grey, seeds(1000)).numpy()
    assert bright.std(axis=(1, 2, 3)).max() < 1e-6                # flat and grey it stays, only brighter
    assert 0.29 < bright.min() < 0.31 and 0.69 < bright.max() < 0.71
    np.testing.assert_array_equal(ColorJitter(0.0)(grey[:2], seeds(2)), grey[:2])
    with pytest.raises(ValueError, match="Received: 1.5"):
        ColorJitter(1.5)
