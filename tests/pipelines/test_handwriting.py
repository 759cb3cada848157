import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines import digits, handwriting


@pytest.fixture(scope="module")
def lines():
    return handwriting.load("digits", 4, count=30, seed=2)


def test_a_line_is_its_digits_side_by_side(lines):
    whole = digits.load(size=28)
    images, labels = lines.training.arrays()
    assert images.shape == (30, 36, 160, 1) and labels.shape == (30, 5)
    for plan, image, string in zip(lines.training.inputs, images, labels, strict=True):
        expected, before = np.zeros((36, 160)), None
        for index, down, right in plan.T:
            assert 0 <= down <= 8 and (0 <= right <= 8 if before is None else -9 <= right - before - 28 <= 3)
            place = expected[down:down + 28, right:right + 28]
            np.maximum(place, whole.training.inputs[index, ..., 0] / 255, out=place)
            before = right
        np.testing.assert_allclose(image[..., 0], expected, atol=1e-6)
        np.testing.assert_array_equal(string, whole.training.labels[plan[0]] + 1)


def test_lines_of_validation_and_test_use_each_digit_once_and_are_the_same_for_every_seed(lines):
    other = handwriting.load("digits", 4, count=30, seed=3)
    for part, count in (("validation", 180), ("test", 360)):
        used = getattr(lines, part).inputs[:, 0]
        assert used.size == count and len(np.unique(used)) == count
        np.testing.assert_array_equal(getattr(lines, part).inputs, getattr(other, part).inputs)
    assert not np.array_equal(lines.training.inputs, other.training.inputs)


def test_a_batch_of_lines_is_a_function_of_seed_and_number(lines):
    images, labels = handwriting.load("digits", 4, count=30, seed=2).train.batch(9)
    again = tf.function(lines.train.batch)(tf.constant(9, tf.int64))
    np.testing.assert_allclose(images, again[0], atol=1e-7)        # a graph divides by 255 another way
    np.testing.assert_array_equal(labels, again[1])
    half = lines.train.batch(9, shard=(1, 2))
    np.testing.assert_array_equal(half[0], images[2:])


def test_another_fold_reads_other_digits_for_validation():
    one, other = (handwriting.load("digits", 4, count=10, fold=(k, 2)) for k in (1, 2))
    assert len(one.validation) == (718 + 1) // 5 and not np.array_equal(
        one.validation[:3].arrays()[0], other.validation[:3].arrays()[0])


@pytest.mark.parametrize("options", [{"digits": 0}, {"gaps": (3, 1)}, {"gaps": (-28, 1)}, {"lift": -1}])
def test_lines_that_cannot_be_drawn_are_refused(options):
    with pytest.raises(ValueError, match="a line has at least one digit"):
        handwriting.load("digits", 4, **options)


TEXTS = {"a01-000u-00": "A|MOVE|to", "a01-000u-01": "stop|Mr.", "a01-003-00": "Gaitskell",
         "b02-010-00": "from|it", "c03-000a-00": "x"}


@pytest.fixture
def iam(tmp_path):
    """Five lines on four forms, in the layout and the format of the IAM database."""
    (tmp_path / "ascii").mkdir()
    rows = ["#--- lines.txt ---", "# a comment"]
    for k, (name, text) in enumerate(TEXTS.items()):
        rows.append(f"{name} {'err' if k == 1 else 'ok'} 154 19 408 746 1661 89 {text}")
        form = name.rsplit("-", 1)[0]
        folder = tmp_path / "lines" / form.split("-")[0] / form
        folder.mkdir(parents=True, exist_ok=True)
        ink = np.full((40, 60 + 20 * k), 255, np.uint8)
        ink[10:30, 10:10 + 5 * (k + 1)] = 0
        Image.fromarray(ink).save(folder / f"{name}.png")
    (tmp_path / "ascii" / "lines.txt").write_text("\n".join(rows))
    return tmp_path


def texts(part, names):
    return ["".join(names[label - 1] for label in row if label) for row in part.labels]


def test_iam_is_read_by_form(iam):
    data = handwriting.load(str(iam), 2)
    names = data.class_names
    assert names == tuple(sorted(set("".join(TEXTS.values()).replace("|", " "))))
    # Forms in order: a01-000u tests, a01-003 validates.
    assert texts(data.test, names) == ["A MOVE to", "stop Mr."]
    assert texts(data.validation, names) == ["Gaitskell"] and texts(data.training, names) == ["from it", "x"]
    assert data.test.inputs.shape == (2, 36, 128, 1)          # 140 pixels wide, 40 high, made a multiple of 4
    images = data.test.arrays()[0][..., 0]
    assert images[0, 18, 11] == 1 and images[0, 2, 11] == 0 and images[0, 18, 30] == 0       # ink is white
    assert not images[0, :, 54:].any()


def test_iam_goes_by_the_lists_of_its_task(iam):
    for name, rows in (("trainset", "a01-000u-00\na01-000u-01"), ("validationset1", "c03-000a-00\n"),
                       ("testset", "b02-010-00")):
        (iam / f"{name}.txt").write_text(rows)
    data = handwriting.iam(iam, 1)
    assert texts(data.training, data.class_names) == ["A MOVE to", "stop Mr."]
    assert texts(data.validation, data.class_names) == ["x"]
    assert texts(data.test, data.class_names) == ["from it"]


def test_words_of_iam_are_read_too(iam):
    names = {"a01-000u-00-00": "A", "a01-003-00-00": "Gaitskell", "b02-010-00-00": "from"}
    (iam / "ascii" / "words.txt").write_text("".join(f"{name} ok 154 408 768 27 51 AT {text}\n"
                                                     for name, text in names.items()))
    for name in names:
        form = "-".join(name.split("-")[:2])
        folder = iam / "words" / form.split("-")[0] / form
        folder.mkdir(parents=True)
        Image.new("L", (50, 36), 200).save(folder / f"{name}.png")
    data = handwriting.iam(iam, 1, kind="words")
    assert texts(data.training, data.class_names) == ["from"] and data.test.inputs.shape == (1, 36, 52, 1)


def test_damaged_images_are_left_out_and_counted(iam, capsys):
    (iam / "lines/a01/a01-000u/a01-000u-01.png").write_bytes(b"")
    data = handwriting.iam(iam, 1)
    assert texts(data.test, data.class_names) == ["A MOVE to"]
    said = capsys.readouterr().out
    assert "1 of 5 images are left out" in said and "a01-000u-01.png is damaged or truncated" in said
    (iam / "lines/a01/a01-000u/a01-000u-00.png").unlink()
    with pytest.raises(ValueError, match="no readable image for the test part. The first: there is no image"):
        handwriting.iam(iam, 1)


def test_what_is_not_iam_is_said(iam, tmp_path):
    with pytest.raises(ValueError, match="has a validation part of its own: take no --fold"):
        handwriting.load(str(iam), 2, fold=(1, 2))
    with pytest.raises(FileNotFoundError, match="there is no folder nowhere: name one with the layout of"):
        handwriting.load("nowhere", 2)
    with pytest.raises(FileNotFoundError, match="does not have the layout of IAM"):
        handwriting.iam(iam / "lines", 2)
    (iam / "ascii" / "lines.txt").write_text("a01-000u-00 ok 154\n")
    with pytest.raises(ValueError, match=r"lines\.txt, line 1 is not of IAM's form"):
        handwriting.iam(iam, 2)
