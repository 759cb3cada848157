"""Images with sentences: the layouts on disk in miniature, the streams, and what is said of bad data."""
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from pipelines import captions

TEXTS = {"a": ("A dog runs .", "The brown dog runs on grass ."), "b": ("Two dogs !", "A dog and a dog"),
         "c": ("A cat sits",), "d": ("A zebra sits on grass", "A cat")}
SHADES = {"a": 20, "b": 60, "c": 120, "d": 200}


def put_images(folder, names, side=24):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (side + 6, side), (SHADES[name[0]],) * 3).save(folder / name, quality=95)


@pytest.fixture
def flickr(tmp_path):
    """Four photographs in the layout of Flickr8k: two for training."""
    folder = tmp_path / "flickr"
    put_images(folder / "Flicker8k_Dataset", [f"{name}.jpg" for name in TEXTS])
    lines = [f"{name}.jpg#{number}\t{text}" for name, texts in TEXTS.items()
             for number, text in enumerate(texts)]
    (folder / "Flickr8k.token.txt").write_text("\n".join([*lines, "other.jpg.1#0\tIn no list"]) + "\n")
    for name, images in (("train", "a.jpg\nb.jpg\n"), ("dev", "c.jpg\n"), ("test", "d.jpg\n")):
        (folder / f"Flickr_8k.{name}Images.txt").write_text(images)
    return folder


def coco_file(names, first):
    """One of COCO's files: images in no order, sentences apart from them."""
    numbers = {name: first - number for number, name in enumerate(names)}
    return json.dumps({
        "images": [{"id": number, "file_name": f"{name}.jpg"} for name, number in numbers.items()],
        "annotations": [{"image_id": numbers[name], "caption": text, "id": 0}
                        for name in names for text in TEXTS[name[0]]]})


def load(folder, **options):
    return captions.load(str(folder), size=16, **{"batch_size": 2, "least": 1, **options})


def read(data, part):
    return [some for some in getattr(data, part).sentences]


def test_flickr8k(flickr):
    data = load(flickr)
    assert read(data, "training") == [("a dog runs", "the brown dog runs on grass"),
                                      ("two dogs !", "a dog and a dog")]
    assert read(data, "validation") == [("a cat sits",)] and data.input_shape == (16, 16, 3)
    assert data.vocabulary.words[:2] == ("dog", "a") and "cat" not in data.vocabulary.words
    # The largest middle square, and the sentence whose number is the row's: rows 0 and 1.
    (inputs, labels), = data.training.dataset().as_numpy_iterator()
    np.testing.assert_allclose(inputs["image"][:, 8, 8, 0] * 0.229 + 0.485, [20 / 255, 60 / 255], atol=0.01)
    assert data.vocabulary.text(labels[0][:3]) == "a dog runs" and labels[0][3] == captions.END
    assert data.vocabulary.text(labels[1][:5]) == "a dog and a dog"
    assert inputs["words"][0, 0] == captions.START
    np.testing.assert_array_equal(inputs["words"][:, 1:4], labels[:, :3])
    # Words that the training sentences have not are unknown.
    (_, labels), = data.test.dataset().as_numpy_iterator()
    assert labels[0].tolist()[:4] == [data.vocabulary.places["a"], captions.UNKNOWN, captions.UNKNOWN,
                                      data.vocabulary.places["on"]]


def test_rare_words_are_unknown(flickr):
    assert load(flickr, least=2).vocabulary.words == ("dog", "a", "runs")
    with pytest.raises(ValueError, match="no word occurs 5 times in the 4 sentences for training"):
        load(flickr, least=5)


def test_flickr8k_from_its_archive(flickr):
    whole = load(flickr)
    with zipfile.ZipFile(flickr / "Flickr8k_text.zip", "w") as archive:
        for path in flickr.glob("*.txt"):
            archive.write(path, path.name)
            path.unlink()
    assert read(load(flickr), "test") == read(whole, "test")
    contents = (flickr / "Flickr8k_text.zip").read_bytes()
    (flickr / "Flickr8k_text.zip").write_bytes(contents[:300])
    with pytest.raises(ValueError, match=r"Flickr8k_text\.zip is truncated or damaged"):
        load(flickr)


def test_missing_images_are_told_and_may_be_left_out(flickr, capsys):
    (flickr / "Flicker8k_Dataset" / "a.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 of the 4 images .* has captions for are missing: a\.jpg\. Put"):
        load(flickr)
    data = load(flickr, batch_size=1, skip_unreadable=True)
    assert read(data, "training") == [("two dogs !", "a dog and a dog")]
    assert "brown" not in data.vocabulary.words
    assert "a.jpg. They are left out" in capsys.readouterr().out
    (flickr / "Flickr_8k.trainImages.txt").write_text("\n".join(f"{n}.jpg" for n in range(50)))
    lines = (flickr / "Flickr8k.token.txt").read_text()
    (flickr / "Flickr8k.token.txt").write_text(lines + "".join(f"{n}.jpg#0\tA dog\n" for n in range(50)))
    with pytest.raises(ValueError, match=r"50 of the 52 .* missing: 0\.jpg, 1\.jpg.*9\.jpg and 40 more"):
        load(flickr)
    with pytest.raises(ValueError, match="no image that can be read for the training part"):
        load(flickr, skip_unreadable=True)


def test_damaged_images_are_told_and_may_be_left_out(flickr):
    path = flickr / "Flicker8k_Dataset" / "b.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"1 of 4 image files cannot be read: .*b\.jpg is damaged"):
        load(flickr)
    assert len(load(flickr, batch_size=1, skip_unreadable=True).training) == 1


def test_captions_that_are_not_of_the_form_are_told(flickr, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder nowhere: data must be shapes, or"):
        load("nowhere")
    with pytest.raises(ValueError, match="has no captions: it needs Flickr8k.token.txt or"):
        load(flickr / "Flicker8k_Dataset")
    (flickr / "Flickr_8k.devImages.txt").write_text("e.jpg\n")
    with pytest.raises(ValueError, match=r"1 images of .* have no sentence with a word in it: e\.jpg"):
        load(flickr)
    (flickr / "Flickr_8k.devImages.txt").write_text("")
    with pytest.raises(ValueError, match="lists no image for the validation part"):
        load(flickr)
    (flickr / "Flickr8k.token.txt").write_text("a.jpg#0\tA dog\na.jpg A dog\n")
    with pytest.raises(ValueError, match="line 2 of Flickr8k.token.txt is not of the form"):
        load(flickr)
    (flickr / "Flickr_8k.testImages.txt").unlink()
    (flickr / "Flickr8k.token.txt").write_text("a.jpg#0\tA dog\n")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*Flickr_8k\.testImages\.txt"):
        load(flickr)


def test_coco(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "captions_train2014.json").write_text(coco_file(["a1", "b1"], 9))
    val = ["c1", "d1", "a2", "b2"]                                   # numbered downwards: b2 is the first
    (tmp_path / "annotations" / "captions_val2014.json").write_text(coco_file(val, 99))
    put_images(tmp_path / "train2014", ["a1.jpg", "b1.jpg"])
    put_images(tmp_path / "val2014", [f"{name}.jpg" for name in val])
    data = load(tmp_path)
    assert read(data, "validation") == [("two dogs !", "a dog and a dog")]
    assert read(data, "test") == [("a dog runs", "the brown dog runs on grass")]
    assert [len(some) for some in read(data, "training")] == [2, 2, 2, 1]      # train downwards, then d1, c1
    (tmp_path / "annotations" / "captions_val2014.json").write_text('{"images": []')
    with pytest.raises(ValueError, match=r"captions_val2014\.json is truncated or damaged"):
        load(tmp_path)
    (tmp_path / "annotations" / "captions_val2014.json").write_text('{"images": []}')
    with pytest.raises(ValueError, match=r"is not of COCO's form: .*KeyError: 'annotations'"):
        load(tmp_path)
    (tmp_path / "annotations" / "captions_val2014.json").unlink()
    with pytest.raises(ValueError, match="needs both captions_train2014.json and captions_val2014.json"):
        load(tmp_path)


def test_karpathy_s_split_goes_first(flickr):
    splits = {"a": "train", "b": "val", "c": "restval", "d": "test"}
    content = {"images": [{"filename": f"{name}.jpg", "split": splits[name],
                           "sentences": [{"raw": text, "tokens": []} for text in texts]}
                          for name, texts in TEXTS.items()], "dataset": "flickr8k"}
    (flickr / "dataset_flickr8k.json").write_text(json.dumps(content))
    data = load(flickr)
    assert read(data, "training") == [("a dog runs", "the brown dog runs on grass"), ("a cat sits",)]
    content["images"][0]["split"] = "training"
    (flickr / "dataset_flickr8k.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="is not of Karpathy's form: .*KeyError: 'training'"):
        load(flickr)


@pytest.mark.parametrize("source", ["shapes", "flickr"])
def test_a_stream_draws_every_sentence_of_its_images(source, request):
    if source == "shapes":
        data = captions.load("shapes", 8, size=16, images=40, least=1)
    else:
        data = load(request.getfixturevalue("flickr"))
    drawn = {}
    for i in range(40):
        (one, labels), (again, _) = data.train.batch(i), data.train.batch(i)
        np.testing.assert_array_equal(one["image"], again["image"])
        np.testing.assert_array_equal(one["words"], again["words"])
        np.testing.assert_array_equal(one["words"][:, 1:], labels[:, :-1])
        for row in labels.numpy():
            drawn.setdefault(data.vocabulary.text(row[:np.argmax(row == captions.END)]), 0)
    known = {sentence for some in data.training.sentences for sentence in some}
    assert set(drawn) <= known and len(drawn) > 0.9 * len(known)
    parts = [data.train.batch(3, shard=(k, 2))[1].numpy() for k in range(2)]       # a batch in two halves
    whole = data.train.batch(3)[1].numpy()
    for rows, part in zip(np.split(whole, 2), parts, strict=True):
        np.testing.assert_array_equal(rows[:, :part.shape[1]], part)


def test_batches_are_cut_to_their_longest_sentence():
    words = np.zeros((3, 1, 40), np.int32)
    for row, length in zip(words[:, 0], (4, 11, 40), strict=True):
        row[:length] = 5
    for rows, steps in ((words[:1, 0], 8), (words[:2, 0], 16), (words[:, 0], 39)):
        inputs, labels = captions.taught(np.zeros(len(rows)), rows)
        assert inputs["words"].shape == labels.shape == (len(rows), steps)


def test_a_sentence_goes_there_and_back():
    vocabulary = captions.Vocabulary.of(["a red dog", "a dog"], least=1)
    assert vocabulary.words == ("a", "dog", "red") and len(vocabulary) == 7
    assert vocabulary.integers("a blue dog") == [captions.START, 4, captions.UNKNOWN, 5, captions.END]
    assert vocabulary.text([4, 1, 5, 0, 0]) == "a (unknown) dog" and vocabulary.text([0, 0]) == ""


def test_a_reader_sees_what_validation_saw(flickr, tmp_path):
    data = load(flickr)
    reader = captions.Reader(json.loads(json.dumps(data.preprocessing())), 16)
    seen = reader.batch([reader.read(flickr / "Flicker8k_Dataset" / "c.jpg")])
    np.testing.assert_array_equal(seen, next(iter(data.validation.images())))
    assert reader.vocabulary == data.vocabulary
    (tmp_path / "note.png").write_text("no image")
    for name, message in (("note.png", "is no image that can be read"), ("absent.png", "does not exist"),
                          ("", "is a folder")):
        with pytest.raises(ValueError, match=message):
            reader.read(tmp_path / name)
