"""The decoded arrays that are kept beside TFDS's files."""
import os

import numpy as np
import pytest

from pipelines.tfds_source import arrays, keep, read_kept

IMAGES = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 1)
LABELS = np.array([4, 1])


@pytest.fixture
def version(tmp_path):
    """A TFDS folder with one version of a data set, prepared a while ago."""
    folder = tmp_path / "tiny" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")
    os.utime(folder / "dataset_info.json", (1_000_000_000, 1_000_000_000))
    return folder


def test_kept_arrays_are_read_without_tfds(version, monkeypatch):
    keep(version, "train", IMAGES, LABELS)
    monkeypatch.setenv("TFDS_DATA_DIR", str(version.parent.parent))
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_datasets", None)      # its import fails
    images, labels = arrays("tiny", "train", offline="digits")
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    assert images.dtype == np.uint8 and labels.dtype == np.int64
    assert sorted(path.name for path in version.iterdir()) == ["arrays-train.npz", "dataset_info.json"]


def test_no_arrays_of_another_split(version):
    keep(version, "train", IMAGES, LABELS)
    assert read_kept(version.parent, "test") is None


def test_arrays_older_than_the_data_are_ignored(version):
    keep(version, "train", IMAGES, LABELS)
    os.utime(version / "arrays-train.npz", (999_999_999, 999_999_999))
    assert read_kept(version.parent, "train") is None


@pytest.mark.parametrize("cut", [0, 30, -30])
def test_a_truncated_file_is_ignored(version, cut):
    keep(version, "train", IMAGES, LABELS)
    path = version / "arrays-train.npz"
    path.write_bytes(path.read_bytes()[:cut])
    assert read_kept(version.parent, "train") is None


def test_a_changed_byte_is_noticed(version):
    keep(version, "train", IMAGES, LABELS)
    path = version / "arrays-train.npz"
    content = path.read_bytes()
    path.write_bytes(content.replace(IMAGES.tobytes(), IMAGES[::-1].tobytes()))
    assert read_kept(version.parent, "train") is None


def test_two_versions_are_left_to_tfds(version):
    keep(version, "train", IMAGES, LABELS)
    (version.parent / "3.1.0").mkdir()
    assert read_kept(version.parent, "train") is None


def test_a_folder_that_cannot_be_written_is_left_alone(tmp_path):
    keep(tmp_path / "absent", "train", IMAGES, LABELS)
    assert list(tmp_path.iterdir()) == []
