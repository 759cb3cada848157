"""Spoken digits: a small convnet for one of them, a bidirectional LSTM with CTC for a string of them.

Source     Graves, Mohamed and Hinton 2013, arXiv:1303.5778, section 3 (CTC: Graves et al. 2006); data:
           Jackson et al., Free Spoken Digit Dataset, six speakers.
Run        python -m recipes run spoken_digits --config strings      (--smoke: seconds, no download)
Published  Nothing on these splits; a convnet of 2018 reached 3 % error on 150 words of an older set.
Departs    Digits in place of TIMIT's phonemes; strings are made of single recordings of one speaker,
           with silence between them. 40 ms a step, four frames side by side (Sak et al. 2015), and one
           layer of 128 units each way where the paper has three of 250; Adam, no weight noise, no peepholes.
           The word network is ours.
"""
import dataclasses
from typing import Literal

import keras
import numpy as np

from models import beam_search, blstm_ctc, greedy, word_convnet
from pipelines import speech
from training import launch
from training.label_errors import LabelErrorRate, errors


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "spoken_digit"   # or a folder or zip of its recordings; formants needs no download
    task: Literal["words", "strings"] = "words"
    units: tuple[int, ...] = (128,)      # of strings: LSTM cells each way, by layer
    filters: tuple[int, ...] = (24, 48, 96)     # of words: 3x3 filters per convolution
    dropout: float = 0.3         # probability
    shift: float = 0.2           # seconds at most that a word begins later
    noise: float = 0.01          # standard deviation at most, as a part of the loudest sample
    strings: int = 10_000        # made from the training recordings
    test_strings: int = 1_000    # made from those of the test, and as many for validation
    learning_rate: float = 0.003     # falls to zero along a cosine
    epochs: int = 30             # over all recordings, or strings
    batch_size: int = 32         # over all devices


NAMED = {"words": Config(), "strings": Config(task="strings", dropout=0.0, shift=0.0, epochs=4)}
HEADLINE = "test_label_error_rate"       # of a word: whether it is another
SMOKE = Config(data="formants", strings=400, test_strings=100, epochs=8, batch_size=16)


def compiled_model(config, data):
    rate = speech.DIGIT_RATE
    updates = config.epochs * data.train.batches_per_epoch
    schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, updates)
    if config.task == "words":
        model = word_convnet(data.input_shape, data.num_classes, filters=config.filters,
                             dropout=config.dropout, rate=rate)
        model.compile(keras.optimizers.Adam(schedule),
                      keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    else:
        model = blstm_ctc((None,), data.num_classes, units=config.units, dropout=config.dropout, rate=rate,
                          frames_per_step=4)
        model.compile(keras.optimizers.Adam(schedule, global_clipnorm=1.0), keras.losses.CTC(),
                      metrics=[LabelErrorRate(greedy)])
    return model


def main(config, run):
    words = config.task == "words"
    options = {"seed": run.seed, "fold": run.fold, "augment": speech.Disturbed(config.shift, config.noise)}
    if words:
        data = speech.load(config.data, config.batch_size, **options)
    else:
        data = speech.strings(config.data, config.batch_size, count=config.strings,
                              count_test=config.test_strings, **options)
    with run.scope():
        model = compiled_model(config, data)
    # Several epochs may make no mistake on validation data; their loss tells them apart.
    history = run.fit(model, data.train, data.validation, epochs=config.epochs, keep_best="val_loss",
                      mode="min")
    run.save(model, data.class_names, **speech.preprocessing(
        speech.DIGIT_RATE, data.input_shape[0] if words else None))
    best = min(history, key=lambda row: row["val_loss"])
    chosen = "val_accuracy" if words else "val_label_error_rate"
    metrics = {chosen: best[chosen], "best_epoch": best["epoch"], **run.evaluate(model, data.test)}
    if not run.searching:
        if words:
            metrics["test_label_error_rate"] = 1 - metrics["test_accuracy"]
        else:
            metrics["test_beam_search_error_rate"] = beam_search_error_rate(model, data.test)
        draw(run, model, data.test, words)
    return metrics


def beam_search_error_rate(model, examples, width=20):
    """Of the likeliest string, all of its alignments counted, where greedy decoding takes the likeliest."""
    wrong = sum(float(np.sum(errors(beam_search(model(sounds), width)[0], strings)))
                for sounds, strings in examples.dataset(100))
    return wrong / np.count_nonzero(examples.labels)


def draw(run, model, examples, words, count=4):
    """Spectrograms with what the network hears at each step: the first strings, or one word of each digit."""
    import matplotlib.pyplot as plt
    ears, filters = model.get_layer("log_mel"), model.get_layer("log_mel").bins
    if words:
        examples = examples[np.unique(examples.labels, return_index=True)[1]]
        figure, axes = plt.subplots(2, 5, figsize=(11, 5), layout="constrained")
    else:
        figure, axes = plt.subplots(count, 2, figsize=(11, 2.2 * count), layout="constrained")
        examples = examples[:count]
    sounds, labels = examples.arrays()
    seconds = sounds.shape[1] / ears.rate
    for k, features in enumerate(np.asarray(ears(sounds))):
        picture = (axes.flat[k] if words else axes[k, 0])
        picture.imshow(features.reshape(-1, filters).T, origin="lower", aspect="auto", cmap="magma",
                       extent=(0, seconds, 0, filters), vmin=-1, vmax=1)
        picture.set(yticks=[], xlabel="seconds" if words or k == count - 1 else "", ylabel="mel, low to high")
    outputs = np.asarray(model(sounds))
    probabilities = np.asarray(keras.ops.softmax(outputs))
    if words:
        for panel, label, row in zip(axes.flat, labels, probabilities, strict=True):
            panel.set_title(f"{speech.DIGITS[label]}: heard {speech.DIGITS[row.argmax()]}, {row.max():.0%}",
                            fontsize=9)
    else:
        strings = np.asarray(greedy(outputs))
        for (picture, panel), label, row, read in zip(axes, labels, probabilities, strings, strict=True):
            picture.set_title(f"said {written(label)}, read {written(read)}", fontsize=10)
            place = (np.arange(len(row)) + 0.5) * seconds / len(row)
            panel.plot(place, row[:, 0], color="0.8")                             # the blank
            best = row.argmax(-1)
            for digit in sorted(set(best[best > 0])):
                panel.plot(place, row[:, digit])
            for step in np.flatnonzero(best * (best != np.append(0, best[:-1]))):       # where a digit begins
                panel.text(place[step], 1.03, str(best[step] - 1), ha="center")
            panel.set(ylim=(0, 1.2), ylabel="probability", xlabel="seconds" if panel is axes[-1, 1] else "")
    figure.savefig(run.figure("heard"), dpi=120)
    plt.close(figure)


def written(labels):
    """[4, 8, 2, 0, 0] -> "3 7 1"."""
    return " ".join(str(label - 1) for label in labels if label)


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
