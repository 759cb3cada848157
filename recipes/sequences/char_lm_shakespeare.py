"""A network that writes Shakespeare letter by letter: what comes next, given all that came before?

Source     Karpathy 2015, The unreasonable effectiveness of recurrent neural networks, and char-rnn; Zaremba,
           Sutskever and Vinyals 2014, Recurrent neural network regularization, arXiv:1409.2329.
Run        python -m recipes run char_lm_shakespeare --precision mixed_bfloat16      (40 minutes)
           python -m recipes run char_lm_shakespeare --data my.txt     (or sentences: no download)
Published  1.4697 nats per character (nanoGPT's transformer, on a GPU), 1.88 (nanoGPT's CPU setting), both
           on the last tenth of the text.
Departs    An LSTM; TFDS's split of the text, whose first nine tenths are for training, the next twentieth
           for validation. The figure is of validation, as published; the last twentieth is the test.

Batch i + 1 goes on where batch i ended, row by row, and so does the network's state. Gradients end at the
batch (truncated backpropagation through time), what is remembered does not. The loss is -ln p per character,
in nats; divided by ln 2 it is in bits.

An evaluation begins with nothing remembered, as training does but once, and in 64 rows at a time: in the
run of the README's table each row's first 62 characters of 868 cost 1.64 nats in validation and 2.23 in the
test, all after them 1.40 and 1.56 (computed by hand from its network). From epoch 13 on validation went up
and down by .1 there; whether from this alone was not looked into.
"""
import dataclasses
import math
from typing import Literal

import keras
import numpy as np

from models import continuation, recurrent_language_model, streaming
from pipelines import characters
from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "tiny_shakespeare"         # or sentences, which needs no download, or a text file
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "lstm"
    units: tuple[int, ...] = (512, 512)    # per layer
    dropout: float = 0.5         # probability, on the inputs of the second layer and of the output layer
    steps: int = 64              # characters through which gradients go back
    batch_size: int = 64         # rows of text that are read side by side
    learning_rate: float = 0.003           # of Adam, falling to zero along a cosine
    clip: float = 1.0            # largest norm of all gradients together
    epochs: int = 22
    hoisted: bool = True         # of lstm: HoistedLSTM, which is quicker on CPUs
    sampled: int = 400           # characters to write at the end


CHAR_RNN = Config(units=(128, 128), dropout=0.0, steps=50, batch_size=50, learning_rate=0.002, epochs=20)
NAMED = {"char-rnn": CHAR_RNN}
PUBLISHED = {"": 1.4697}
HEADLINE = "val_loss"
UNIT = "nats per character"
SMOKE = Config(data="sentences", units=(48,), dropout=0.0, steps=25, batch_size=16, learning_rate=0.02,
               epochs=2, hoisted=False, sampled=60)
TEMPERATURES = (0.5, 0.8, 1.0)


def compiled_model(config, data):
    model = recurrent_language_model(
        len(data.alphabet), cell=config.cell, units=config.units, batch_size=config.batch_size, stateful=True,
        dropout=config.dropout, hoisted=config.hoisted and config.cell == "lstm")
    rate = keras.optimizers.schedules.CosineDecay(
        config.learning_rate, config.epochs * data.train.batches_per_epoch)
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=config.clip),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def main(config, run):
    data = characters.load(config.data, config.batch_size, config.steps)
    with run.scope():
        model = compiled_model(config, data)
    history = run.fit(model, data.train, data.validation, epochs=config.epochs, keep_best="val_loss",
                      mode="min")
    writer = streaming(model)
    run.save(writer, **data.alphabet.preprocessing())
    best = min(history, key=lambda row: row["val_loss"])
    draw(run, writer, data, config)
    metrics = {"val_loss": best["val_loss"], "val_bits": best["val_loss"] / math.log(2),
               "best_epoch": best["epoch"], **run.evaluate(model, data.test)}       # once, at the very end
    if "test_loss" in metrics:
        metrics["test_bits"] = metrics["test_loss"] / math.log(2)
    return metrics


def surprises(model, integers):
    """-log2 p of each character but the first, given those before: (T,) -> (T - 1,), in bits."""
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_state()
    logits = np.float64(model.predict_on_batch(integers[None, :-1])[0])
    logits -= logits.max(axis=-1, keepdims=True)
    chances = np.take_along_axis(logits, integers[1:, None].astype(int), axis=-1)[:, 0]
    return (np.log(np.exp(logits).sum(axis=-1)) - chances) / math.log(2)


def draw(run, writer, data, config):
    """An excerpt of the validation text, each character as red as it was unforeseen; then three samples."""
    import matplotlib.pyplot as plt
    excerpt = data.validation_text[:420]
    bits = np.concatenate([[0.0], surprises(writer, data.alphabet.integers(excerpt))])
    columns, lines = 72, wrapped(excerpt, 72)
    samples = {temperature: data.alphabet.text(continuation(
        writer, data.alphabet.integers(excerpt[:50]), config.sampled, temperature=temperature, seed=run.seed))
        for temperature in TEMPERATURES}
    rows = len(lines) + 2 + sum(len(wrapped(sample, columns)) + 2 for sample in samples.values())
    figure, axes = plt.subplots(figsize=(9, 0.21 * rows), layout="constrained")
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.axis("off")

    def write(x, y, text, **style):
        axes.text(x, y + 0.5, text.replace("$", r"\$"), family="monospace", va="center", fontsize=9, **style)
    write(0, 0, f"validation text; red: bits of surprise, {bits[1:].mean():.2f} on average here",
          weight="bold")
    y = 1
    for start, line in lines:
        for x, character in enumerate(line):
            strength = min(bits[start + x] / 8, 1.0)                    # 8 bits: one guess in 256
            axes.add_patch(plt.Rectangle((x, y), 1, 1, color=(1, 1 - strength, 1 - strength)))
            write(x + 0.1, y, character)
        y += 1
    for temperature, sample in samples.items():
        y += 1
        write(0, y, f"written at temperature {temperature}", weight="bold")
        for _, line in wrapped(sample, columns):
            y += 1
            write(0, y, line)
        y += 1
    figure.savefig(run.figure("characters"), dpi=110)
    plt.close(figure)


def wrapped(text, columns):
    """[(where it starts, line)] of at most so many characters, also cut at line ends."""
    lines, start = [], 0
    for line in text.split("\n"):
        for cut in range(0, max(len(line), 1), columns):
            lines.append((start + cut, line[cut:cut + columns]))
        start += len(line) + 1
    return lines


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
