"""A text read on from batch to batch, its passages for evaluation, its alphabet, and bad texts."""
import numpy as np
import pytest

from pipelines import characters
from pipelines.characters import Alphabet, Continued, Passage, Reader

NUMBERS = np.arange(1, 101, dtype=np.int32)


def test_rows_go_on_where_they_ended():
    stream = Continued(NUMBERS, 4, 6)
    batches = [[part.numpy() for part in stream.batch(i)] for i in range(20)]
    for before, after in zip(batches, batches[1:], strict=False):
        np.testing.assert_array_equal(before[1][:, -1], after[0][:, 0])    # the last label is read next
    for inputs, labels in batches:
        assert inputs.shape == labels.shape == (4, 6)
        np.testing.assert_array_equal(labels, inputs % 100 + 1)            # after the end comes the beginning
    np.testing.assert_array_equal(batches[0][0][:, 0], [1, 26, 51, 76])
    assert stream.batches_per_epoch == 4


def test_each_row_comes_to_where_the_next_one_began():
    stream = Continued(NUMBERS, 4, 5)
    np.testing.assert_array_equal(stream.batch(5)[0][:3], stream.batch(0)[0][1:])


def test_batches_are_for_one_device():
    with pytest.raises(ValueError, match="trains on one device. Received: 2 devices"):
        Continued(NUMBERS, 4, 6).batch(0, shard=(0, 2))


def test_a_passage_is_read_once_in_equal_windows():
    passage = Passage(NUMBERS, 4, 10)
    windows = list(passage.dataset())
    assert len(windows) == 3 and {window[0].shape[1] for window in windows} == {8}
    for row in range(4):
        read = np.concatenate([window[0][row] for window in windows])
        np.testing.assert_array_equal(read, 1 + row * 24 + np.arange(24))
        np.testing.assert_array_equal(np.concatenate([window[1][row] for window in windows]), read + 1)


def test_alphabet():
    alphabet = Alphabet.of("hello")
    assert alphabet.characters == "ehlo" and len(alphabet) == 5
    np.testing.assert_array_equal(alphabet.integers("hole!"), [2, 4, 3, 1, 0])
    assert alphabet.text([2, 4, 3, 1]) == "hole" and alphabet.text([0]) == characters.OTHER


def test_the_alphabet_is_of_the_training_text(tmp_path):
    (tmp_path / "text.txt").write_text("abcab" * 180 + "xyz" * 40)
    book = characters.load(str(tmp_path / "text.txt"), 4, 8)
    assert "x" in book.alphabet.characters and "z" in book.validation_text
    (tmp_path / "text.txt").write_text("abcab" * 190 + "xyz" * 30)
    book = characters.load(str(tmp_path / "text.txt"), 4, 8)
    assert book.alphabet.characters == "abc" and 0 in book.test.inputs
    assert len(book.train.integers) == 936


def test_sentences_need_no_download():
    book = characters.load("sentences", 4, 8)
    assert book.train.batches_per_epoch > 100 and set("good film\n") <= set(book.alphabet.characters)


def test_bad_texts(tmp_path):
    (tmp_path / "short.txt").write_text("abc" * 10)
    for name, rows, kind, message in (
            (str(tmp_path / "short.txt"), 4, ValueError, "27 characters, and a batch of 4 rows of 8 steps"),
            (str(tmp_path / "none.txt"), 4, FileNotFoundError, "there is no file"),
            ("shakespeare", 4, ValueError, "or the path of a text file. Received: shakespeare"),
            ("sentences", 0, ValueError, "at least one row")):
        with pytest.raises(kind, match=message):
            characters.load(name, rows, 8)


def test_reader():
    reader = Reader(Alphabet.of("hello").preprocessing())
    np.testing.assert_array_equal(reader.read("hey", "x"), [2, 1, 0])
    with pytest.raises(ValueError, match="x has no character that the model knows.*'ehlo'"):
        reader.read("Это", "x")
    with pytest.raises(ValueError, match="x is empty"):
        reader.read("", "x")
