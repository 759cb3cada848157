import dataclasses
import shutil

import keras
import keras_tuner
import numpy as np
import pytest
from PIL import Image

from pipelines import captions
from recipes.__main__ import main as command
from recipes.sequences.captioning import (
    NAMED,
    SMOKE,
    Config,
    compiled,
    main,
    nearest,
    networks,
    scores,
    words_said,
)
from training import Run
from tuning import spaces


def network(config, data):
    encoder, model = networks(config, data)
    encoder.trainable = not config.frozen
    compiled(model, config, data)
    return model


def test_smoke_learns_and_predict_describes_a_file(smoke_run, drawn, tmp_path, capsys):
    folder, metrics = smoke_run("captioning")
    # Without a look at the image, 8.4 nats for 9.1 words and ends: the choice of sizes, colours and kinds.
    assert max(metrics["val_loss"], metrics["test_loss"]) < 0.65
    assert min(metrics["val_bleu1"], metrics["test_greedy_bleu1"]) > 0.5
    assert all(metrics[f"test_{search}bleu{order}"] >= metrics[f"test_{search}bleu{order + 1}"]
               for search in ("", "greedy_") for order in (1, 2, 3))
    drawn(folder, "sentences")
    data = captions.load("shapes", SMOKE.batch_size, size=SMOKE.size, most=SMOKE.most, images=SMOKE.images)
    for row in range(2):
        Image.fromarray(data.validation.picture(row)).resize((60, 60)).save(tmp_path / f"{row}.png")
    shutil.copy(__file__, tmp_path / "note.png")
    files = [str(tmp_path / name) for name in ("0.png", "1.png", "note.png")]
    assert command(["predict", str(folder), *files, "--top", "2"]) == 2
    out, err = capsys.readouterr()
    assert "note.png is no image that can be read" in err
    lines = out.splitlines()[-4:]
    assert [line.split()[0] for line in lines] == [files[0], files[0], files[1], files[1]]
    for line in lines:
        sentence, score = line.split("  (log p ")
        assert float(score.rstrip(")")) < 0 and set(sentence.split()[1:]) <= set(data.vocabulary.words)
    for arguments, message in ((["--text", "a dog"], "takes images, and --text is for networks that read"),
                               ([files[0], "--top", "9"], "must be in [1, 3], the sentences that the")):
        with pytest.raises(SystemExit, match="2"):
            command(["predict", str(folder), *arguments])
        assert message in capsys.readouterr().err


@pytest.fixture
def photographs(tmp_path):
    """Twelve files in the layout of Flickr8k: red ones and blue ones, sentences to match."""
    folder, lines = tmp_path / "photographs", []
    folder.mkdir()
    for number in range(12):
        colour, noun = (("red", "rose"), ("blue", "sea"))[number % 2]
        Image.new("RGB", (40 + number, 30), colour).save(folder / f"{number}.jpg")
        lines += [f"{number}.jpg#0\tA {colour} {noun} .", f"{number}.jpg#1\tThe {noun} is {colour}"]
    (folder / "Flickr8k.token.txt").write_text("\n".join(lines))
    for name, numbers in (("train", range(8)), ("dev", (8, 9)), ("test", (10, 11))):
        (folder / f"Flickr_8k.{name}Images.txt").write_text("\n".join(f"{n}.jpg" for n in numbers))
    return folder


@pytest.mark.slow
def test_photographs_on_disk_are_learned(photographs, tmp_path):
    config = dataclasses.replace(SMOKE, data=str(photographs), size=16, least=2, grids=(1,), hidden=16,
                                 epochs=30, batch_size=4, learning_rate=0.01)
    metrics = main(config, Run(tmp_path / "run", config=config))
    assert metrics["val_exact"] == metrics["test_exact"] == metrics["test_greedy_exact"] == 1
    assert metrics["test_bleu3"] == pytest.approx(1)
    run = Run(tmp_path / "named", config=dataclasses.replace(config, data="flickr8k"))
    with pytest.raises(ValueError, match="flickr8k needs its folder, as --data-dir FOLDER; or name it"):
        main(run.config, run)


def test_scores_by_hand():
    written = ["a red dog", "the cat sits here"]
    references = [("a red dog", "one dog"), ("the cat sits there", "the cat is here", "cat")]
    found = scores(written, references)
    assert found["exact"] == 0.5
    # Of 7, 5, 3 and 1 n-grams 7, 4, 2 and none occur in one reference; as many words as the closest have.
    precisions = np.array([7 / 7, 4 / 5, 2 / 3])
    for order in (1, 2, 3):
        assert found[f"bleu{order}"] == pytest.approx(np.prod(precisions[:order]) ** (1 / order))
    assert found["bleu4"] == 0
    # Shorter than the closest reference: e^(1 - 5 / 2).
    assert scores(["a red"], [("a red dog is here",)])["bleu2"] == pytest.approx(np.exp(1 - 5 / 2))
    assert nearest("a cat", ["the dog", "a cat here"]) == "a cat here"


def test_words_said_by_hand():
    logits = np.array([[0.5, -1.0, 2.0, 0.0]], np.float32)
    found = words_said(np.array([[2, 3, 2]]), logits)         # 0 and 1 are not said
    p = 1 / (1 + np.exp(-logits[0]))
    assert found.shape == (1,)
    assert float(found[0]) == pytest.approx(-np.mean(np.log([1 - p[0], 1 - p[1], p[2], p[3]])), rel=1e-5)


def test_paper_is_the_paper_s(tmp_path):
    paper = NAMED["paper"]
    assert (paper.encoder, paper.embedding, paper.units, paper.grids, paper.pooling, paper.hidden) == (
        "googlenet", 512, 512, (1,), "mean", 0)
    assert (paper.memory, paper.word_epochs, paper.normalised, paper.frozen) == (0, 0, False, True)
    assert (paper.optimizer, paper.beam, paper.least) == ("sgd", 20, 5)
    data = captions.load("shapes", 4, size=32, images=20, least=1)
    with pytest.raises(ValueError, match="an encoder that stays as it is needs weights: a file of them"):
        network(paper, data)
    weights = network(dataclasses.replace(paper, frozen=False), data)
    assert weights.optimizer.momentum == 0 and weights.get_layer("lstm").count_params() == 2_099_200


def test_a_frozen_encoder_stays_as_its_weights_have_it(tmp_path):
    data = captions.load("shapes", 4, size=16, images=20, least=1)
    config = dataclasses.replace(Config(), size=16, grids=(2,), units=8, embedding=8, hidden=0)
    network(config, data).get_layer("resnet8_cifar").save_weights(tmp_path / "it.weights.h5")
    model = network(dataclasses.replace(config, frozen=True, weights=str(tmp_path / "it.weights.h5")), data)
    encoder = model.get_layer("resnet8_cifar")
    before = encoder.get_weights()
    model.train_on_batch(*data.train.batch(0))
    for one, other in zip(before, encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not keras.tree.flatten([layer.trainable_weights for layer in encoder.layers])


@pytest.mark.parametrize("end", [0, -1])
def test_the_ends_of_the_search_space_build(end):
    space, ends = spaces.load("captioning"), keras_tuner.HyperParameters()
    base = dataclasses.replace(Config(), size=16, grids=(1, 4))
    space.sample(ends, base)
    ends.values = {one.name: list(one.values)[end] if hasattr(one, "values")
                   else (one.min_value, one.max_value)[end] for one in ends.space}
    config = space.config(ends, base)
    data = captions.load("shapes", 4, size=16, images=20, least=1)
    inputs, labels = data.train.batch(0)
    logits = network(config, data)(inputs)
    assert logits.shape == (*labels.shape, len(data.vocabulary)) and np.isfinite(logits).all()
