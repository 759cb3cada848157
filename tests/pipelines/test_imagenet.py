"""ImageNet's folder tree, its ten crops, and its colours."""
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
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


class TinyPhotographs(tfds.core.GeneratorBasedBuilder):
    """Features as those of imagenet2012: two classes, told apart by their colour."""
    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = Path(__file__).parent                      # TFDS looks for it in a package, else

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
            "image": tfds.features.Image(encoding_format="jpeg"), "file_name": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=["n01440764", "n01443537"])}))

    def _split_generators(self, manager):
        return {"train": self._generate_examples(12), "validation": self._generate_examples(4)}

    def _generate_examples(self, count):
        for index in range(count):
            pixels = np.full((40 + index, 50, 3), 20, np.uint8)
            pixels[..., index % 2] = 10 * index + 100
            yield index, {"image": pixels, "file_name": f"{index}.JPEG", "label": index % 2}


@pytest.fixture
def records_of_tfds(tmp_path, monkeypatch):
    builder = TinyPhotographs(data_dir=tmp_path)
    builder.download_and_prepare()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(imagenet, "TFDS", "tiny_photographs")
    return builder


def test_records_of_tfds_are_read_in_any_order(records_of_tfds, capsys):
    data = imagenet.load("tiny_photographs", 4, size=32)
    assert [len(part) for part in (data.training, data.validation, data.test)] == [10, 2, 4]
    stored = [(example["image"], example["label"])
              for example in tfds.as_numpy(records_of_tfds.as_dataset(split="train"))]
    train = [image for label in (0, 1) for image, other in stored if other == label]     # by class
    kept = [*train[:5], *train[6:11]]                                                    # the last validates
    for number in (7, 2, 9, 0):
        expected = Image.fromarray(kept[number])
        side = round(0.875 * min(expected.size))
        left, top = (expected.width - side) // 2, (expected.height - side) // 2
        middle = expected.crop((left, top, left + side, top + side)).resize((32, 32))
        assert np.abs(data.training.inputs[number].astype(int) - np.asarray(middle)).max() <= 2
    assert data.training.labels.tolist() == [0] * 5 + [1] * 5
    images, labels = data.train.batch(3)
    np.testing.assert_array_equal(images, data.train.batch(3)[0])
    np.testing.assert_array_equal(labels, images.numpy().mean(axis=(1, 2))[:, :2].argmax(axis=1))
    assert "train: reading through 1 files" in capsys.readouterr().out
    again = imagenet.load("tiny_photographs", 4, size=32)
    assert not capsys.readouterr().out                                 # the index is kept
    np.testing.assert_array_equal(again.training.paths, data.training.paths)


def test_records_that_are_damaged_or_not_there(records_of_tfds, tmp_path, monkeypatch):
    path = records_of_tfds.info.splits["train"].filepaths[0]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="train.* is damaged: it ends within a record"):
        imagenet.load("tiny_photographs", 4)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "elsewhere"))
    with pytest.raises(FileNotFoundError, match="tiny_photographs is not in .*elsewhere.*--data digits"):
        imagenet.load("tiny_photographs", 4)


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
