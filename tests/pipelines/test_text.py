"""Texts as integers: words, vocabulary, pairs, bad texts; and batches of similar length."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines import imdb, sentences
from pipelines.buckets import Buckets
from pipelines.stream import Examples
from pipelines.text import Reader, Vocabulary, contents, padded, words


def test_words():
    assert words("It's GREAT!<br />10/10, Amélie & Шрек…") == [
        "it's", "great", "!", "10", "10", "amélie", "шрек"]
    assert words("call 0800-123", shapes=True) == ["call", "0000", "000"]
    assert words(" :-) ") == []


TEXTS = ["a good film", "a bad film", "not a good film", "a good film a"]


def test_vocabulary_is_the_most_frequent_words_that_occur_twice():
    vocabulary = Vocabulary.of(TEXTS, 10)
    assert vocabulary.words == ("a", "film", "good") and len(vocabulary) == 5
    assert Vocabulary.of(TEXTS, 2).words == ("a", "film")
    np.testing.assert_array_equal(vocabulary.integers("a bad good film"), [2, 1, 4, 3])
    np.testing.assert_array_equal(vocabulary.array(["film", "", "a a a"]), [[3, 0, 0], [1, 0, 0], [2, 2, 2]])


def test_of_a_long_text_the_last_words_are_read():
    vocabulary = Vocabulary.of(TEXTS, 10, length=2)
    np.testing.assert_array_equal(vocabulary.integers("good good a film"), [2, 3])


def test_pairs_are_those_of_neighbours_that_are_known():
    vocabulary = Vocabulary.of(TEXTS, 10, pairs=10)
    a, film, good = 2, 3, 4
    assert vocabulary.pairs == (a * 5 + good, good * 5 + film)         # "film a" occurs once
    np.testing.assert_array_equal(vocabulary.integers("a good film"), [a, good, film, 5, 6])
    np.testing.assert_array_equal(vocabulary.integers("a bad good film a"), [a, 1, good, film, a, 6])
    assert Vocabulary.of(TEXTS, 10, pairs=1).pairs == (a * 5 + good,) and len(vocabulary) == 7


def test_distinct_integers_come_once():
    vocabulary = Vocabulary.of(TEXTS, 10, pairs=10, distinct=True)
    np.testing.assert_array_equal(vocabulary.integers("a good film a good film"), [2, 3, 4, 5, 6])
    assert Reader(vocabulary.preprocessing()).vocabulary == vocabulary


def test_nothing_of_validation_or_test_is_in_the_vocabulary():
    data = imdb.load("sentences", 8)
    known = {word for text in sentences.reviews()[0].inputs for word in words(text)}
    assert set(data.vocabulary.words) <= known
    kept = [set(part.inputs) for part in sentences.reviews()]
    assert not (kept[0] & kept[1] or kept[0] & kept[2] or kept[1] & kept[2])


def test_the_grammar_labels_by_the_last_clause_and_its_denial():
    test = sentences.reviews()[2]
    for text, label in zip(test.inputs, test.labels, strict=True):
        last = text.split(" but ")[-1].split()
        value = last[-1] in sentences.GOOD
        assert label == (value != ("not" in last)), text


def test_folds_cover_training_and_validation_once():
    everything = [imdb.load("sentences", 8, fold=(part, 4)).validation.labels for part in (1, 2, 3, 4)]
    whole = imdb.load("sentences", 8)
    np.testing.assert_array_equal(np.concatenate(everything),
                                  np.concatenate([whole.training.labels, whole.validation.labels]))


def test_reader_takes_what_was_saved_and_refuses_what_says_nothing():
    vocabulary = Vocabulary.of(TEXTS, 10, pairs=10)
    reader = Reader(vocabulary.preprocessing())
    np.testing.assert_array_equal(reader.read("a good film", "x"), vocabulary.integers("a good film"))
    with pytest.raises(ValueError, match="x has no word: it is empty"):
        reader.read(" ... ", "x")
    with pytest.raises(ValueError, match="another language, or script.*a, film, good"):
        reader.read("Это кино", "x")


def test_contents_names_what_is_wrong_with_a_file(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes("Amélie".encode("latin-1"))
    (tmp_path / "good.txt").write_bytes("\ufeffAmélie".encode())
    assert contents(tmp_path / "good.txt") == "Amélie"
    for name, kind, message in (("empty.txt", ValueError, "is empty"),
                                ("none.txt", FileNotFoundError, "no file"),
                                ("latin.txt", ValueError, "not text in UTF-8, from byte 2"),
                                ("", ValueError, "is a folder")):
        with pytest.raises(kind, match=message):
            contents(tmp_path / name)


@pytest.mark.parametrize("change", [{"size": 0}, {"pairs": -1}, {"length": 0}])
def test_bad_vocabularies(change):
    with pytest.raises(ValueError, match="at least one word"):
        Vocabulary.of(TEXTS, **{"size": 5, **change})


def test_no_word_twice_and_unknown_data():
    with pytest.raises(ValueError, match="no word occurs twice"):
        Vocabulary.of(["one two"], 5)
    with pytest.raises(ValueError, match="one of imdb, sentences. Received: imbd"):
        imdb.load("imbd")


def drawn(count=60, seed=0):
    lengths = np.random.default_rng(seed).integers(1, 40, count)
    return Examples(padded([np.full(length, index + 1) for index, length in enumerate(lengths)]),
                    np.arange(count)), lengths


def test_buckets_draw_every_example_once_an_epoch_cut_to_the_longest():
    examples, lengths = drawn()
    stream = Buckets(examples, 6, seed=3, pool=5, multiple=4)
    for epoch in range(2):
        seen = []
        for i in range(10 * epoch, 10 * epoch + 10):
            inputs, labels = stream.batch(i)
            longest = lengths[labels].max()
            assert inputs.shape == (6, min(-(-longest // 4) * 4, lengths.max()))
            np.testing.assert_array_equal(np.sum(inputs.numpy() > 0, axis=1), lengths[labels])
            np.testing.assert_array_equal(inputs[:, 0], labels + 1)
            seen.extend(labels.numpy())
        assert sorted(seen) == list(range(60))


def test_buckets_waste_less_than_chance():
    examples, lengths = drawn(640)
    stream = Buckets(examples, 16, pool=20, multiple=1)
    steps = sum(stream.batch(i)[0].shape[1] for i in range(40)) * 16
    assert lengths.sum() / steps > 0.85                                # without buckets about 20 of 38


def test_buckets_are_a_function_of_seed_and_number():
    examples, _ = drawn()
    one, other, third = (Buckets(examples, 6, seed=seed, pool=5) for seed in (1, 1, 2))
    in_graph = tf.function(lambda i: other.batch(i), autograph=False)
    for i in (13, 2, 7):
        for ours, theirs in zip(one.batch(i), in_graph(tf.constant(i, tf.int64)), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert any((one.batch(i)[1].numpy() != third.batch(i)[1].numpy()).any() for i in range(3))


def test_shards_of_a_bucket_are_its_parts():
    examples, _ = drawn()
    stream = Buckets(examples, 6, pool=5)
    whole = stream.batch(4)
    parts = [stream.batch(4, shard=(part, 2)) for part in (0, 1)]
    for index in (0, 1):
        np.testing.assert_array_equal(np.concatenate([part[index] for part in parts]), whole[index])


def test_buckets_refuse_no_pool():
    with pytest.raises(ValueError, match="pool and multiple must be at least 1"):
        Buckets(drawn()[0], 6, pool=0)
