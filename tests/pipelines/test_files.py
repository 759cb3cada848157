"""Images on disk: every kind of file, every kind of damage, and streams that are functions of (seed, i)."""
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines import image_folder, photographs
from pipelines.files import (
    CentreCrop,
    FileExamples,
    FileStream,
    RandomResizedCrop,
    Reader,
    by_pillow,
    decoded,
    scan,
)

PHOTOGRAPH = Image.fromarray(np.uint8(photographs.load("china")[:240, :320] * 255))


def whole(path):
    special, problems = scan([str(path)])
    assert not problems
    image = decoded(tf.constant(str(path)), tf.constant(special[0]), lambda h, w: tf.stack([0, 0, h, w]))
    return image.numpy().astype(np.float32), bool(special[0])


def write_photographs(folder, classes=("cat", "dog", "emu"), each=8, size=(60, 48)):
    """A directory per class with JPEGs of different colours, so that classes can be told apart."""
    generator = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            pixels = generator.integers(0, 60, (size[1], size[0], 3), np.uint8)
            pixels[..., number % 3] += 150
            Image.fromarray(pixels).save(folder / name / f"{index:02d}.jpg", quality=95)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_photographs(tmp_path / "animals")


def test_all_kinds_of_files_become_rgb(tmp_path):
    transparent = PHOTOGRAPH.convert("RGBA")
    transparent.putalpha(Image.fromarray(np.tile(np.arange(320) // 2, (240, 1)).astype(np.uint8)))
    white = Image.new("RGBA", (320, 240), "white")
    on_white = np.asarray(Image.alpha_composite(white, transparent).convert("RGB"))
    grey = np.asarray(PHOTOGRAPH.convert("L"))
    kinds = {                            # the image to be written, what is to be read, by Pillow alone
        "plain.jpg": (PHOTOGRAPH, np.asarray(PHOTOGRAPH), False),
        "plain.png": (PHOTOGRAPH, np.asarray(PHOTOGRAPH), False),
        "grey.jpg": (PHOTOGRAPH.convert("L"), np.repeat(grey[..., None], 3, 2), False),
        "grey.png": (PHOTOGRAPH.convert("L"), np.repeat(grey[..., None], 3, 2), False),
        "cmyk.jpg": (PHOTOGRAPH.convert("CMYK"), np.asarray(PHOTOGRAPH), True),
        "rgba.png": (transparent, on_white, True),
        "sixteen.png": (Image.fromarray(grey.astype(np.uint16) * 257), np.repeat(grey[..., None], 3, 2),
                        True),
        "palette.png": (PHOTOGRAPH.quantize(64), np.asarray(PHOTOGRAPH.quantize(64).convert("RGB")), True),
        "picture.webp": (PHOTOGRAPH, np.asarray(PHOTOGRAPH), True),
        "picture.tif": (PHOTOGRAPH, np.asarray(PHOTOGRAPH), True),
        "picture.bmp": (PHOTOGRAPH, np.asarray(PHOTOGRAPH), False),
    }
    for name, (image, expected, by_pillow_alone) in kinds.items():
        image.save(tmp_path / name, quality=95)
        found, special = whole(tmp_path / name)
        assert special == by_pillow_alone, name
        assert found.shape == (240, 320, 3) and np.abs(found - expected).mean() < 3, name
    turned = Image.Exif()
    turned[0x0112] = 6                                            # to be turned by 90 degrees
    PHOTOGRAPH.save(tmp_path / "turned.jpg", exif=turned, quality=95)
    found, special = whole(tmp_path / "turned.jpg")
    assert special and np.abs(found - np.rot90(np.asarray(PHOTOGRAPH), -1)).mean() < 3


def test_every_damage_is_found_in_one_pass(tmp_path):
    good = tmp_path / "good.jpg"
    PHOTOGRAPH.save(good)
    data = good.read_bytes()
    (tmp_path / "truncated.jpg").write_bytes(data[:len(data) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not an image")
    PHOTOGRAPH.save(tmp_path / "good.png")
    png = (tmp_path / "good.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(png[:len(png) // 2])
    (tmp_path / "followed.jpg").write_bytes(data + b"a camera's remarks" * 10)
    body = bytearray(png)
    body[len(png) // 2:len(png) // 2 + 40] = bytes(40)            # the header and the end are fine
    (tmp_path / "body.png").write_bytes(body)
    names = ["good.jpg", "truncated.jpg", "empty.jpg", "text.jpg", "good.png", "truncated.png",
             "followed.jpg", "missing.jpg", "body.png"]
    paths = [str(tmp_path / name) for name in names]
    found = {path.rsplit("/", 1)[1]: wrong for path, wrong in scan(paths)[1]}
    assert set(found) == {"truncated.jpg", "empty.jpg", "text.jpg", "truncated.png", "missing.jpg"}
    assert found["empty.jpg"] == "is empty" and found["missing.jpg"] == "does not exist"
    assert {path.rsplit("/", 1)[1] for path, _ in scan(paths, "decode")[1]} == {*found, "body.png"}
    with pytest.raises(ValueError, match="Received: 'all'"):
        scan(paths, "all")


def test_a_folder_is_cut_class_by_class_the_same_for_every_seed(folder):
    data = image_folder.load(folder, 4, size=32, validation=0.25, test=0.25)
    assert data.class_names == ("cat", "dog", "emu") and data.input_shape == (32, 32, 3)
    for part, count in ((data.training, 4), (data.validation, 2), (data.test, 2)):
        assert np.bincount(part.labels).tolist() == [count] * 3
    assert [path.rsplit("/", 1)[1] for path in data.test.paths[:2]] == ["06.jpg", "07.jpg"]
    other = image_folder.load(folder, 4, size=32, validation=0.25, test=0.25, seed=9)
    np.testing.assert_array_equal(data.training.paths, other.training.paths)
    every = np.concatenate([part.paths for part in (data.training, data.validation, data.test)])
    assert len(set(every)) == 24
    folds = [image_folder.load(folder, 4, size=32, test=0.25, fold=(k, 3)).validation for k in (1, 2, 3)]
    assert sorted(np.concatenate([fold.paths for fold in folds])) == sorted(set(every) - set(data.test.paths))


def test_a_csv_file_and_a_test_folder_of_its_own(folder, tmp_path):
    rows = [f"animals/{name}/{index:02d}.jpg,{name}" for name in ("cat", "dog") for index in range(8)]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(rows))
    tests = write_photographs(tmp_path / "tests", ("cat", "dog"), each=3)
    data = image_folder.load(tmp_path / "list.csv", 4, size=32, test_source=tests)
    assert data.class_names == ("cat", "dog") and len(data.test) == 6
    assert len(data.training) + len(data.validation) == 16
    with pytest.raises(ValueError, match="classes that .* has not: emu"):
        image_folder.load(tmp_path / "list.csv", 4, test_source=folder)
    (tmp_path / "link.jpg").symlink_to(folder / "cat" / "03.jpg")
    (tmp_path / "tests.csv").write_text("path,label\nlink.jpg,cat\ntests/cat/00.jpg,cat\n"
                                        "tests/../animals/dog/02.jpg,dog\n")
    with pytest.raises(ValueError, match="2 images of .*tests.csv are images of .*list.csv too.* .*link"):
        image_folder.load(tmp_path / "list.csv", 4, test_source=tmp_path / "tests.csv")
    (tmp_path / "bad.csv").write_text("file,class\na,b")
    with pytest.raises(ValueError, match="columns path and label. Received: file, class"):
        image_folder.load(tmp_path / "bad.csv")
    (tmp_path / "bad.csv").write_text("path,label\na.jpg,cat\na.jpg,cat\nb.jpg,dog\na.jpg,dog\n")
    with pytest.raises(ValueError, match="a.jpg the label dog in line 5 and cat before"):
        image_folder.load(tmp_path / "bad.csv")
    (tmp_path / "bad.csv").write_text("path,label\nlink.jpg,cat\nanimals/../animals/cat/03.jpg,dog\n")
    with pytest.raises(ValueError, match="03.jpg the label dog in line 3 and cat before"):
        image_folder.load(tmp_path / "bad.csv")
    (tmp_path / "twice.csv").write_text("path,label\n" + "\n".join([*rows, "link.jpg,cat", "./" + rows[9]]))
    assert {name: len(files) for name, files in image_folder.listed(tmp_path / "twice.csv").items()} == {
        "cat": 8, "dog": 8}
    (tmp_path / "bad.csv").write_bytes("path,label\na.jpg,Bär\n".encode("latin-1"))
    with pytest.raises(ValueError, match="bad.csv is no CSV file in UTF-8 .*can't decode byte 0xe4"):
        image_folder.load(tmp_path / "bad.csv")
    (tmp_path / "bad.csv").write_text(f'path,label\n"{"a" * 200_000}",cat\n')
    with pytest.raises(ValueError, match="bad.csv is no CSV file in UTF-8 .field larger"):
        image_folder.load(tmp_path / "bad.csv")


def test_files_without_inode_numbers_are_told_apart_by_their_paths(monkeypatch):
    status = SimpleNamespace(st_dev=1, st_ino=0)
    monkeypatch.setattr(image_folder, "os", SimpleNamespace(stat=lambda path: status))
    assert image_folder.identity("a.jpg") != image_folder.identity("b.jpg")


def test_folders_that_cannot_be_used_are_told_in_a_sentence(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder or CSV file .*nowhere"):
        image_folder.load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="one directory per class"):
        image_folder.load(tmp_path / "empty")
    with pytest.raises(ValueError, match="one class only .cat.*at least two"):
        image_folder.load(write_photographs(tmp_path / "single", ("cat",)))
    with pytest.raises(ValueError, match="8 images lie outside of any"):
        image_folder.load(folder / "cat")
    with pytest.raises(ValueError, match="class cat has too few images that can be read: 2"):
        image_folder.load(write_photographs(tmp_path / "few", each=2))
    (folder / "fox").mkdir()
    with pytest.raises(ValueError, match="directories without images: fox"):
        image_folder.load(folder)


def test_unreadable_files_are_listed_and_left_out_only_if_asked(folder, capsys):
    for name in ("cat/01.jpg", "dog/02.jpg"):
        (folder / name).write_bytes((folder / name).read_bytes()[:200])
    with pytest.raises(ValueError, match="2 of 24 image files cannot be read: .*cat/01.jpg .*dog/02.jpg"):
        image_folder.load(folder, 4, size=32)
    data = image_folder.load(folder, 4, size=32, skip_unreadable=True)
    assert sum(len(part) for part in (data.training, data.validation, data.test)) == 22
    assert "left out" in capsys.readouterr().out


def test_random_resized_crop_is_uniform_within_its_bounds():
    crop = RandomResizedCrop(8, area=(0.1, 0.6))
    seeds = tf.stack([tf.zeros(2000, tf.int64), tf.range(2000, dtype=tf.int64)], axis=1)
    height, width = tf.constant(300), tf.constant(400)
    in_a_graph = tf.function(lambda numbers: tf.map_fn(
        lambda row: crop.window(height, width, row), numbers, fn_output_signature=tf.int32))
    windows = in_a_graph(crop.numbers(seeds)[:, :40]).numpy()
    top, left, height, width = windows.T
    area, ratio = height * width / 120_000, width / height
    assert (windows >= 0).all() and (top + height <= 300).all() and (left + width <= 400).all()
    assert 0.098 < area.min() < 0.12 and 0.55 < area.max() < 0.603
    assert 0.73 < ratio.min() < 0.77 and 1.3 < ratio.max() < 1.36
    assert abs(np.log(ratio).mean()) < 0.02 and abs(area.mean() - 0.35) < 0.02
    assert abs((left / (400 - width)).mean() - 0.5) < 0.02
    square = RandomResizedCrop(8, area=(1.0, 1.0), ratio=(1.0, 1.0))                # never fits: the middle
    numbers = square.numbers(seeds[:1])[0, :40]
    assert square.window(tf.constant(30), tf.constant(50), numbers).numpy().tolist() == [0, 10, 30, 30]


def test_streams_of_files_are_functions_of_seed_and_i(folder):
    data = image_folder.load(folder, 6, size=24, seed=3)
    x, y = data.train.batch(5)
    assert x.shape == (6, 24, 24, 3) and x.dtype == tf.float32
    again = image_folder.load(folder, 6, size=24, seed=3).train
    ahead = tf.data.Dataset.range(4, 7).map(again.batch, num_parallel_calls=2)
    np.testing.assert_array_equal(list(ahead)[1][0], x)
    parts = [again.batch(5, shard=(k, 2)) for k in range(2)]
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), x)
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), y)
    assert (image_folder.load(folder, 6, size=24, seed=4).train.batch(5)[0] != x).numpy().any()
    epoch = np.concatenate([data.train.batch(i)[1] for i in range(data.train.batches_per_epoch)])
    assert np.bincount(epoch).tolist() == np.bincount(data.training.labels).tolist()


def test_evaluation_sees_the_middle_as_pillow_resizes_it(tmp_path):
    PHOTOGRAPH.save(tmp_path / "a.png")
    paths = np.array([str(tmp_path / "a.png")] * 3)
    examples = FileExamples(paths, np.arange(3), np.zeros(3, bool), CentreCrop(112))
    middle = PHOTOGRAPH.crop((55, 15, 265, 225)).resize((112, 112), Image.Resampling.BILINEAR)  # .875 x 240
    expected = np.asarray(middle, np.float32)
    assert np.abs(examples.inputs[1].astype(np.float32) - expected).mean() < 1
    assert examples.inputs.shape == (3, 112, 112, 3)
    assert examples.inputs[np.array([0, 2])].shape == (2, 112, 112, 3)
    images, labels = next(iter(examples.dataset(2)))
    np.testing.assert_allclose(images[0] * 255, examples.inputs[0], atol=1e-3)
    assert labels.numpy().tolist() == [0, 1] and [len(batch[1]) for batch in examples.dataset(2)] == [2, 1]
    np.testing.assert_array_equal(by_pillow(tmp_path / "a.png"), np.asarray(PHOTOGRAPH))


def test_a_reader_sees_a_file_as_the_test_does(folder, tmp_path):
    """Splits.preprocessing says all: the crop, the scaling, blue first."""
    data = image_folder.load(folder, 6, size=24, mean=(0.4, 0.5, 0.6), std=0.25, bgr=True)
    reader = Reader(json.loads(json.dumps(data.preprocessing)))
    pictures = [reader.read(reader.load(path), path) for path in data.test.paths]
    expected = next(iter(data.test.dataset()))[0].numpy()
    np.testing.assert_allclose(reader.batch(pictures), expected, atol=1e-6)
    red = data.test.inputs[0][..., 0].mean() / 255
    assert expected[0, ..., 2].mean() == pytest.approx((red - 0.4) / 0.25, abs=1e-3)
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"text.jpg is no image that can be read"):
        reader.load(tmp_path / "text.jpg")


def test_a_stream_may_show_the_same_crop_each_time(folder):
    data = image_folder.load(folder, 6, size=24)
    stream = FileStream(data.training, 6, crop=CentreCrop(24), order="fixed")
    np.testing.assert_allclose(stream.batch(0)[0], next(iter(data.training.dataset(6)))[0], atol=1e-6)
