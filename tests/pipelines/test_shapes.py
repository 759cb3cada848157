"""The world of coloured shapes: what is said is what was drawn, and parts share no sentence."""
import numpy as np
import pytest

from pipelines import shapes

SMALL = {"training": 300, "validation": 40, "test": 40}


@pytest.fixture(scope="module")
def world():
    return shapes.worlds(**SMALL)


def test_always_the_same_and_other_by_another_seed(world):
    again, other = shapes.worlds(**SMALL), shapes.worlds(**SMALL, seed=1)
    for part, count in SMALL.items():
        assert world[part].images.shape == (count, 48, 48, 3) and world[part].images.dtype == np.uint8
        np.testing.assert_array_equal(world[part].images, again[part].images)
        assert world[part].sentences == again[part].sentences != other[part].sentences


def test_no_sentence_is_right_in_two_parts(world):
    said = [{one for some in part.sentences for one in some} for part in world.values()]
    assert not said[0] & said[1] and not said[0] & said[2] and not said[1] & said[2]
    words = [{word for one in sentences for word in one.split()} for sentences in said]
    assert words[1] <= words[0] and words[2] <= words[0]            # new sentences of known words


def test_every_number_of_shapes_and_every_relation_comes(world):
    sentences = world["training"].sentences
    counts = [one[0].count("a large") + one[0].count("a small") for one in sentences]
    assert set(counts) == {1, 2, 3} and min(map(counts.count, (1, 2, 3))) > 20
    assert {len(some) for count, some in zip(counts, sentences, strict=True) if count == 2} == {2}
    text = " ".join(one for some in sentences for one in some)
    for word in (*shapes.COLOURS, *shapes.KINDS, *shapes.SIZES, *shapes.RELATIONS.values()):
        assert f" {word} " in text


def test_sentences_by_hand():
    names, places = ["A", "B", "C"], np.array([[0.2, 0.2, 0.1], [0.8, 0.2, 0.1], [0.2, 0.9, 0.1]])
    plain = np.ones((3, 3), bool)
    assert shapes.said(names[:1], places[:1], plain) == ("A",)
    assert shapes.said(names[:2], places[:2], plain) == ("A left of B", "B right of A")
    plain[1, 2] = plain[2, 1] = False                               # B and C lie diagonally: A is first
    assert shapes.said(names, places, plain) == ("A above C and left of B", "A left of B and above C")
    plain[:] = True
    assert len(shapes.said(names, places, plain)) == 6


def test_what_is_said_is_what_was_drawn():
    """A second look, at pixels alone: where the colours of a two-shape sentence are."""
    worlds = shapes.worlds(300, 10, 10, most=2, seed=3)["training"]
    looked = 0
    for image, sentences in zip(worlds.images, worlds.sentences, strict=True):
        words = sentences[0].replace("left of", "left").replace("right of", "right").split()
        if len(words) != 9 or words[2] == words[7]:
            continue
        values = np.array(list(shapes.COLOURS.values()))
        nearest = np.linalg.norm(image[:, :, None].astype(float) - values, axis=-1)
        masks = [nearest[..., list(shapes.COLOURS).index(word)] < 45 for word in (words[2], words[7])]
        centres = np.array([np.argwhere(mask).mean(axis=0) for mask in masks])      # down, right
        down, right = centres[0] - centres[1]
        seen = (("above" if down < 0 else "below") if abs(down) > abs(right)
                else ("left" if right < 0 else "right"))
        assert seen == words[4], sentences
        for mask, size in zip(masks, (words[1], words[6]), strict=True):
            extent = np.ptp(np.argwhere(mask), axis=0).max()
            assert (extent > 12.5) == (size == "large"), sentences
        looked += 1
    assert looked > 100


def test_impossible_worlds_are_told():
    for arguments in ({"most": 4}, {"training": 0}, {"side": 8}):
        with pytest.raises(ValueError, match="1 to 3 shapes in an image, and a side of at least 16 pixels"):
            shapes.worlds(**arguments)
