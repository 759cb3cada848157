"""Omniglot: what is cut, sampled and read. Images here carry their character and drawing as numbers."""
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from pipelines import omniglot, tfds_source
from pipelines.distort import Distortion
from pipelines.omniglot import Characters, Episodes, Pairs

SIZES = (7, 3, 5)


@pytest.fixture
def numbered():
    """15 characters of three alphabets, 6 drawings; pixel (0, 0) is the character, (0, 1) the drawing."""
    images = np.zeros((sum(SIZES), 6, 4, 4, 1), np.uint8)
    images[..., 0, 0, 0], images[..., 0, 1, 0] = np.arange(15)[:, None], np.arange(6)
    return Characters(images, np.repeat(np.arange(3), SIZES), ("a", "b", "c"))


def numbers(images):
    """(character, drawing) of float images (..., 4, 4, 1)."""
    images = np.rint(255 * np.asarray(images)).astype(int)
    return images[..., 0, 0, 0], images[..., 0, 1, 0]


def walk(stream, batches):
    function = tf.function(stream.batch)
    return [function(tf.constant(i, tf.int64)) for i in range(batches)]


@pytest.mark.parametrize("alphabets", [0, 2])
def test_an_episode_asks_for_other_drawings_of_the_characters_it_shows(numbered, alphabets):
    seen = set()
    stream = Episodes(numbered, 6, 2, 3, batch_size=2, alphabets=alphabets)
    for (support, queries), labels in walk(stream, 30):
        assert support.shape == (2, 6, 2, 4, 4, 1) and queries.shape == (2, 18, 4, 4, 1)
        for episode in range(2):
            characters, shown = numbers(support[episode])
            asked, drawings = numbers(queries[episode])
            assert len(set(characters[:, 0])) == 6 and (characters[:, 0] == characters[:, 1]).all()
            np.testing.assert_array_equal(asked, characters[labels[episode].numpy(), 0])
            for k in range(6):
                assert len({*shown[k], *drawings[3 * k:3 * k + 3]}) == 5
            if alphabets:
                of = numbered.alphabets[characters[:, 0]].reshape(2, 3)
                assert (of == of[:, :1]).all() and of[0, 0] != of[1, 0]
            seen.update(characters[:, 0])
    assert seen == set(range(15))


@pytest.mark.parametrize("make", [
    lambda characters, seed: Episodes(characters, 4, 1, 2, batch_size=4, seed=seed, turned=True,
                                      augment=Distortion(shift=1)),
    lambda characters, seed: Pairs(characters, 12, seed=seed, augment=Distortion(shift=1))])
def test_a_batch_is_a_function_of_seed_and_number_and_its_shards_make_it_up(numbered, make):
    stream, again, other = make(numbered, 5), make(numbered, 5), make(numbered, 6)
    graph = tf.function(again.batch)
    for i in (7, 0, 1000):
        for a, b in zip(tf.nest.flatten(stream.batch(i)),
                        tf.nest.flatten(graph(tf.constant(i, tf.int64))), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    whole = tf.nest.flatten(stream.batch(3))
    parts = [tf.nest.flatten(stream.batch(3, shard=(k, 2))) for k in range(2)]
    for values, *halves in zip(whole, *parts, strict=True):
        np.testing.assert_allclose(np.concatenate(halves), values, atol=1e-6)
    images = tf.nest.flatten(other.batch(3))[0]
    assert (np.asarray(images) != whole[0].numpy()).any()
    assert (tf.nest.flatten(stream.batch(4))[0].numpy() != whole[0].numpy()).any()
    with pytest.raises(ValueError, match="multiple of the 5 devices"):
        stream.batch(0, shard=(0, 5))


def test_turned_characters_are_four_and_an_alphabet_is_turned_together(numbered):
    marked = np.zeros((15, 6, 3, 3, 1), np.uint8)
    marked[..., 0, 1, 0] = 255                          # a mark at the top, which goes left, down and right
    characters = Characters(marked, numbered.alphabets, numbered.names)
    places = []
    for (support, queries), labels in walk(Episodes(characters, 6, 1, 1, alphabets=2, turned=True), 40):
        marks = [tuple(np.argwhere(image[..., 0])[0]) for image in support[0, :, 0].numpy()]
        assert len(set(marks[:3])) == len(set(marks[3:])) == 1
        np.testing.assert_array_equal(support[0, :, 0], tf.gather(queries[0], np.argsort(labels[0])))
        places += marks
    assert set(places) == {(0, 1), (1, 0), (2, 1), (1, 2)}
    assert Episodes(characters, 60, turned=True).batch(0)[1].shape == (1, 60)            # 4 x 15 at once


def test_quarter_turns_are_numpys():
    images = np.random.default_rng(0).random((8, 5, 5, 2), np.float32)
    turns = np.arange(8) % 4
    expected = np.stack([np.rot90(image, turn) for image, turn in zip(images, turns, strict=True)])
    np.testing.assert_array_equal(omniglot.quarter_turned(images, tf.constant(turns)), expected)


def test_the_first_episodes_are_a_split(numbered):
    split = Episodes(numbered, 5, 1, 2, batch_size=2).first(6)
    labels = np.concatenate([labels for _, labels in split.dataset(500)])
    np.testing.assert_array_equal(labels, split.labels)
    assert len(split) == 6 and labels.shape == (6, 10)
    with pytest.raises(ValueError, match="multiple of 2.*Received: 5"):
        split.stream.first(5)


def test_pairs_are_half_the_same_and_never_one_drawing_twice(numbered):
    alphabets = np.zeros(3, int)
    for (first, second), same in walk(Pairs(numbered, 60), 30):
        (character, drawing), (other, another) = numbers(first), numbers(second)
        same = same.numpy()[:, 0] == 1
        assert same.sum() == 30
        np.testing.assert_array_equal(character == other, same)
        assert (drawing != another)[same].all()
        np.testing.assert_array_equal(numbered.alphabets[character], numbered.alphabets[other])
        alphabets += np.bincount(numbered.alphabets[character], minlength=3)
    np.testing.assert_allclose(alphabets / alphabets.sum(), 1 / 3, atol=0.05)
    split = Pairs(numbered, 6).first(3)
    (first, second), same = split.arrays()
    np.testing.assert_array_equal(same[6:12], Pairs(numbered, 6).batch(1)[1])
    np.testing.assert_allclose(first[6:12], Pairs(numbered, 6).batch(1)[0][0], atol=1e-6)


@pytest.mark.parametrize(("call", "message"), [
    (lambda c: Episodes(c, 16), "at most the number of characters, 15. Received: 16"),
    (lambda c: Episodes(c, 4, 3, 4), "at most 6.*shot=3, queries=4"),
    (lambda c: Episodes(c, 5, alphabets=2), "multiple of alphabets"),
    (lambda c: Episodes(c, 12, alphabets=2), "2 alphabets of at least 6 characters are wanted; 1 of the 3"),
    (lambda c: Episodes(c, 0), "Received: way=0"),
    (lambda c: Pairs(c, 7), "even.*Received: 7"),
    (lambda c: omniglot.load("cifar"), "omniglot or strokes. Received: cifar"),
    (lambda c: omniglot.load("strokes", "koch"), "lake, vinyals. Received: koch"),
    (lambda c: omniglot.load("strokes", side=200), r"\[8, 105\]. Received: 200"),
])
def test_bad_arguments_are_told(numbered, call, message):
    with pytest.raises(ValueError, match=message):
        call(numbered)


def test_a_smaller_image_has_the_mean_ink_of_each_area():
    ink = (np.random.default_rng(0).random((3, 105, 105)) < 0.2).astype(np.uint8)
    np.testing.assert_array_equal(omniglot.smaller(ink, 105), 255 * ink)
    blocks = ink.reshape(3, 35, 3, 35, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(omniglot.smaller(ink, 35) / 255, blocks, atol=0.5 / 255 + 1e-6)
    expected = tf.image.resize(ink[..., None], (28, 28), method="area")[..., 0]
    np.testing.assert_allclose(omniglot.smaller(ink, 28) / 255, expected, atol=0.5 / 255 + 1e-5)


def test_generated_characters_are_alike_within_and_not_across():
    cut = omniglot.load("strokes")
    assert [len(part) for part in (cut.training, cut.validation, cut.test)] == [80, 20, 20]
    assert not set(cut.training.alphabets) & set(cut.test.alphabets)
    images = cut.training.images.reshape(80, 8, -1) / 255.0
    images /= np.linalg.norm(images, axis=2, keepdims=True)
    likeness = np.einsum("cdp,bep->cbde", images, images).mean(axis=(2, 3))
    assert np.mean(likeness.argmax(axis=1) == np.arange(80)) > 0.9
    np.testing.assert_array_equal(omniglot.strokes().images, omniglot.strokes().images)


def test_kochs_distortion_leaves_some_images_as_they_are():
    images = omniglot.load("strokes").training.images[:, :2].reshape(-1, 28, 28, 1) / np.float32(255)
    images = np.concatenate([images] * 4)
    seeds = np.stack([np.zeros(len(images)), np.arange(len(images))], axis=1).astype(np.int64)
    distorted = omniglot.koch_distortion(28)(images, seeds).numpy()
    same = np.abs(distorted - images).max(axis=(1, 2, 3)) < 1e-4
    assert 0.005 < same.mean() < 0.04                            # one half to the power of six: .016
    always = Distortion(rotation=10, shift=1)
    np.testing.assert_array_equal(always(images, seeds), Distortion(rotation=10, shift=1, probability=1)(
        images, seeds))
    never = Distortion(rotation=10, shift=1, probability=0.0)(images, seeds)
    np.testing.assert_allclose(never, images, atol=1e-5)


@pytest.fixture
def all_runs(tmp_path):
    """A folder like all_runs, whose characters are bars of different places; queries are a bit thicker."""
    random = np.random.default_rng(0)
    for run in range(1, 21):
        folder = tmp_path / "all_runs" / f"run{run:02d}"
        (folder / "training").mkdir(parents=True)
        (folder / "test").mkdir()
        lines = []
        for item, label in enumerate(random.permutation(20)):
            for name, which, width in ((f"test/item{item + 1:02d}", label, 4),
                                       (f"training/class{item + 1:02d}", item, 3)):
                image = np.full((105, 105, 1), 255, np.uint8)
                image[:, 5 * which:5 * which + width] = 0
                (folder / f"{name}.png").write_bytes(tf.io.encode_png(image).numpy())
            lines.append(f"run{run:02d}/test/item{item + 1:02d}.png "
                         f"run{run:02d}/training/class{label + 1:02d}.png")
        (folder / "class_labels.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "all_runs"


def test_lakes_runs_are_read_from_a_folder_and_from_a_zip(all_runs, tmp_path):
    runs = omniglot.lake_runs(all_runs, side=35)
    (support, queries), labels = runs.arrays()
    assert support.shape == (20, 20, 1, 35, 35, 1) and queries.shape == (20, 20, 35, 35, 1)
    distances = ((queries[:, :, None] - support[:, None, :, 0]) ** 2).sum(axis=(3, 4, 5))
    np.testing.assert_array_equal(distances.argmin(axis=2), labels)
    assert len(np.unique(labels, axis=0)) == 20 and labels.min() == 0 and labels.max() == 19
    with zipfile.ZipFile(tmp_path / "runs.zip", "w") as archive:
        for path in sorted(all_runs.rglob("*.*")):
            archive.write(path, path.relative_to(all_runs))
    again = omniglot.lake_runs(tmp_path / "runs.zip", side=35)
    np.testing.assert_array_equal(again.inputs[1], runs.inputs[1])


def test_what_is_not_lakes_runs_is_told(all_runs, tmp_path):
    with pytest.raises(FileNotFoundError, match="--runs takes all_runs.zip"):
        omniglot.lake_runs(tmp_path / "nowhere.zip")
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(ValueError, match="cut.zip does not hold Lake's 20 runs, or is damaged"):
        omniglot.lake_runs(tmp_path / "cut.zip")
    (all_runs / "run07" / "test" / "item03.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="damaged"):
        omniglot.lake_runs(all_runs)
    (all_runs / "run02" / "class_labels.txt").write_text("a b\n")
    with pytest.raises(ValueError, match="run02/class_labels.txt names 2 images"):
        omniglot.lake_runs(all_runs)


@pytest.fixture
def real_omniglot():
    if not (tfds_source.data_folder() / "omniglot").exists():
        pytest.skip("Omniglot is not in TFDS's folder: set TFDS_DATA_DIR, or run one_shot_omniglot once")


def test_the_real_characters_are_cut_by_alphabet(real_omniglot):
    lake, vinyals = omniglot.load(protocol="lake"), omniglot.load(protocol="vinyals")
    assert [len(part) for part in (lake.training, lake.validation, lake.test)] == [792, 172, 659]
    assert [len(part) for part in (vinyals.training, vinyals.validation, vinyals.test)] == [1028, 172, 423]
    np.testing.assert_array_equal(lake.validation.images, vinyals.validation.images)
    np.testing.assert_array_equal(lake.test[-423:].images, vinyals.test.images)
    assert {lake.test.names[a] for a in lake.test.alphabets} == set(omniglot.EVALUATION)
    assert {lake.test.names[a] for a in lake.validation.alphabets} == set(omniglot.VALIDATION)
    assert 0.02 < lake.training.images.mean() / 255 < 0.1                            # white on black
