"""lstm_imdb: order matters, a verdict word by word, raw text through predict."""
import dataclasses

import numpy as np
import pytest

from pipelines import imdb
from recipes.__main__ import main as command
from recipes.sequences.lstm_imdb import NAMED, SMOKE, Config, compiled_model, main, network, readings
from training import Run


@pytest.fixture(scope="module")
def data():
    return imdb.load("sentences", 8, words=200, length=40)


def test_smoke(smoke_run, drawn):
    folder, metrics = smoke_run("lstm_imdb")
    drawn(folder, "reading")
    assert metrics["test_accuracy"] > 0.97


def test_counting_words_does_not_tell_who_denies_what(smoke_run, tmp_path):
    config = dataclasses.replace(SMOKE, network="bag_of_words", epochs=4)
    counted = main(config, Run(tmp_path / "run", config=config))
    assert 0.6 < counted["test_accuracy"] < 0.9 < smoke_run("lstm_imdb")[1]["test_accuracy"]


def test_the_published_example_s_network():
    example = imdb.load("sentences", 8, words=20)
    model = network(NAMED["keras-io"], example)
    size = len(example.vocabulary)
    assert model.count_params() == 2_757_761 - (20_000 - size) * 128


def test_readings_are_of_each_prefix(data):
    model = compiled_model(SMOKE, data)
    integers = data.test.inputs[0, :6]
    alone = 1 / (1 + np.exp(-model.predict(integers[None, :4], verbose=0)[0, 0]))
    assert readings(model, integers).shape == (6,)
    assert readings(model, integers)[3] == pytest.approx(alone, abs=1e-6)


def test_a_longer_review_is_read_from_its_end():
    assert Config().length == 400 and NAMED["keras-io"].length == 200


def test_predict_takes_raw_text(smoke_run, tmp_path, capsys):
    folder, _ = smoke_run("lstm_imdb")
    review = tmp_path / "review.txt"
    review.write_text("the plot was not bad")
    (tmp_path / "empty.txt").write_text("")
    status = command(["predict", str(folder), str(review), str(tmp_path / "empty.txt"), "--text",
                      "The music was great, but the film was dull", "--text", "Это кино"])
    out, err = capsys.readouterr()
    assert status == 2
    assert [line.split("  (")[0].split()[-1] for line in out.splitlines()] == ["positive", "negative"]
    assert len(err.splitlines()) == 2 and "is empty" in err and "or script" in err


def test_predict_needs_something_to_read(smoke_run, capsys):
    folder, _ = smoke_run("lstm_imdb")
    with pytest.raises(SystemExit) as end:
        command(["predict", str(folder)])
    assert end.value.code == 2 and "at least one file after RUN_DIR, or --text" in capsys.readouterr().err
