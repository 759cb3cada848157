import dataclasses
import json
import zipfile

import keras
import matplotlib.image
import numpy as np
import pytest
import scipy.io.wavfile

from pipelines import speech
from recipes.__main__ import main as command
from recipes.sequences.spoken_digits import NAMED, SMOKE, Config, compiled_model, main, written
from training import Run


def picture(run):
    pixels = matplotlib.image.imread(run.figure("heard"))[..., :3]
    return pixels.shape[0] > 400 and pixels.std() > 0.1


def test_smoke_learns_words(tmp_path, capsys):
    run = Run(tmp_path / "run", config=SMOKE)
    metrics = main(SMOKE, run)
    assert metrics["test_accuracy"] > 0.7                                          # chance: .1
    assert metrics["test_label_error_rate"] == pytest.approx(1 - metrics["test_accuracy"])
    assert picture(run)
    # The command: whole sentences for what is no sound, and the word of what is one.
    sounds, labels = speech.load("formants", 8).test[:4].arrays()
    files = [tmp_path / f"{index}.wav" for index in range(4)]
    for file, sound in zip(files, sounds, strict=True):
        scipy.io.wavfile.write(file, speech.DIGIT_RATE, (32767 * np.trim_zeros(sound, "b")).astype(np.int16))
    (tmp_path / "note.wav").write_text("no sound")
    status = command(["predict", str(run.folder), *map(str, files), str(tmp_path / "note.wav")])
    out, err = capsys.readouterr()
    heard = [line.split("  (")[0].split()[-1] for line in out.splitlines()[-4:]]
    right = [word == speech.DIGITS[label] for word, label in zip(heard, labels, strict=True)]
    assert status == 2 and sum(right) >= 2 and "note.wav is not a wav file" in err


@pytest.mark.slow
def test_smoke_learns_strings_and_what_is_saved_reads_a_file(tmp_path):
    config = dataclasses.replace(SMOKE, task="strings", dropout=0.0, shift=0.0)
    run = Run(tmp_path / "run", config=config)
    metrics = main(config, run)
    assert max(metrics["val_label_error_rate"], metrics["test_label_error_rate"]) < 0.3        # silence: 1
    assert metrics["test_beam_search_error_rate"] <= metrics["test_label_error_rate"] + 0.05
    assert picture(run)
    with zipfile.ZipFile(run.folder / "model.keras") as archive:
        about = json.loads(archive.read("about.json"))
    assert about["kind"] == speech.KIND and about["samples"] is None
    reader, model = speech.Reader(about), keras.saving.load_model(run.folder / "model.keras", compile=False)
    test = speech.strings("formants", 8, count=8, count_test=SMOKE.test_strings).test
    sounds, labels = test[:20].arrays()
    said = [" ".join(speech.DIGITS[label - 1] for label in row if label) for row in labels]
    heard = reader.strings(model(reader.batch(list(sounds))))
    assert sum(one == other for one, other in zip(said, heard, strict=True)) >= 10
    assert all(set(string.split()) <= set(speech.DIGITS) for string in heard)


def test_the_tasks_have_their_networks():
    data = speech.load("formants", 8)
    assert compiled_model(Config(), data).output_shape == (None, 10)
    strings = compiled_model(NAMED["strings"], data)
    # Two directions of 128 cells on four frames of 40 bins, then ten digits and the blank.
    assert strings.count_params() == 2 * 4 * 128 * (160 + 128 + 1) + 11 * 257


def test_labels_are_written_as_digits():
    assert written([4, 8, 2, 0, 0]) == "3 7 1" and written([1, 10]) == "0 9" and written([0]) == ""
