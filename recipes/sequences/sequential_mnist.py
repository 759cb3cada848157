"""Digits as sequences: 784 pixels one after the other, in any order, or 28 rows.

Source     Le, Jaitly and Hinton 2015, arXiv:1504.00941, section 4.2 (by pixel, and permuted).
Run        python -m recipes run sequential_mnist --config rows      (minutes; --smoke: seconds, no download)
           python -m recipes run sequential_mnist --config pixels --jit on    (45 minutes; or permuted)
Published  GRU 96.2 by pixel, 87.3 % permuted (LSTM 87.2, 85.7): Bai et al. 2018, arXiv:1803.01271, table 1.
           LSTM 98.9 and 90.2, IRNN 97.0 and 82.0, tanh 35 and 35 %: Cooijmans et al. 2017,
           arXiv:1603.09025, table 1.
Departs    50,000 training images: 10,000 choose the epoch. Adam, one cycle of its rate; gates that begin
           with the memory of all steps (Tallec and Ollivier 2018), which --no-chrono leaves out.

Between the first stroke of a digit and its label lie some 500 steps. In another order of the pixels there is
nothing local any more: what belongs together may be 700 steps apart.
"""
import dataclasses
from typing import Literal

import keras
import numpy as np

from models import ImageSequence, recurrent_classifier
from pipelines import mnist
from training import launch
from training.schedules import one_cycle


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "mnist"          # or fashion_mnist, kmnist, emnist; digits needs no download
    order: Literal["pixels", "permuted", "rows"] = "pixels"
    permutation: int = 0         # which one, of permuted: a seed
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "gru"
    units: tuple[int, ...] = (96,)         # per layer
    dropout: float = 0.0         # probability, on the inputs of each layer and of the output layer
    chrono: bool = True          # first biases of lstm and gru: remember 1 to T steps
    hoisted: bool = False        # of lstm: HoistedLSTM, quicker on CPUs unless --jit on
    learning_rate: float = 0.01  # of Adam, at the top of the cycle
    warm_up: float = 0.1         # part of the updates in which the rate rises, from a 25th of its top
    clip: float = 1.0            # largest norm of all gradients together
    epochs: int = 20
    batch_size: int = 64         # over all devices


ROWS = Config(order="rows", cell="lstm", units=(128,), dropout=0.2, chrono=False, hoisted=True,
              learning_rate=0.003)
NAMED = {
    "rows": ROWS,
    "pixels": Config(),
    "permuted": Config(order="permuted"),
    "pixels-lstm": Config(cell="lstm"),
    "permuted-lstm": Config(order="permuted", cell="lstm"),
    "pixels-irnn": Config(cell="irnn", units=(100,), learning_rate=0.0003),
    "permuted-irnn": Config(order="permuted", cell="irnn", units=(100,), learning_rate=0.0003),
}
PUBLISHED = {"pixels": 96.2, "permuted": 87.3, "pixels-lstm": 98.9, "permuted-lstm": 90.2,
             "pixels-irnn": 97.0, "permuted-irnn": 82.0}
SMOKE = Config(data="digits", order="rows", units=(32,), learning_rate=0.02, epochs=8, batch_size=32)


def network(config, input_shape, num_classes):
    """Images in [0, 1] (B, H, W, C) -> logits. The order of the pixels is a layer: it is saved, too."""
    sequence = ImageSequence(config.order, config.permutation, name="sequence")
    shape = sequence.compute_output_shape((None, *input_shape))[1:]                    # (T, features)
    gated = config.cell in ("lstm", "gru")
    classifier = recurrent_classifier(
        shape, num_classes, cell=config.cell, units=config.units, dropout=config.dropout,
        memory=shape[0] if config.chrono and gated else None,
        hoisted=config.hoisted and config.cell == "lstm")
    image = keras.Input(input_shape, name="image")
    x = sequence(image)
    for layer in classifier.layers[1:]:
        x = layer(x)
    return keras.Model(image, x, name=classifier.name)


def compiled_model(config, data):
    updates = config.epochs * data.train.batches_per_epoch
    rate = one_cycle(config.learning_rate, updates, round(config.warm_up * updates))
    model = network(config, data.input_shape, data.num_classes)
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=config.clip),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def main(config, run):
    data = mnist.load(config.data, config.batch_size, seed=run.seed, fold=run.fold)
    with run.scope():
        model = compiled_model(config, data)
    history = run.fit(model, data.train, data.validation, epochs=config.epochs, keep_best="val_accuracy")
    run.save(model, data.class_names)
    if not run.searching:
        draw(run, model, data)
    best = max(history, key=lambda row: row["val_accuracy"])
    return {"val_accuracy": best["val_accuracy"], "best_epoch": best["epoch"],
            **run.evaluate(model, data.test)}          # once, at the very end


def opinions(model, images):
    """p(class) after each step of a sequence: float (B, T, classes), by the states of the last layer."""
    x = images
    for layer in model.layers[1:]:
        if layer.name == "features":
            layer = type(layer).from_config({**layer.get_config(), "return_sequences": True})
            layer.build(x.shape)
            layer.set_weights(model.get_layer("features").get_weights())
        x = layer(x)
    return np.asarray(keras.ops.softmax(x))


def draw(run, model, data, count=6):
    """How sure the network is of each class while it reads: validation images, and p(class) below."""
    import matplotlib.pyplot as plt
    examples = data.validation[np.unique(data.validation.labels, return_index=True)[1][:count]]
    probabilities = opinions(model, examples.arrays()[0])
    figure, grid = plt.subplots(2, len(examples), figsize=(2.3 * len(examples), 4.6), layout="constrained",
                                height_ratios=(1, 1.2), squeeze=False)
    for (picture, axes), image, label, row in zip(grid.T, examples.inputs, examples.labels, probabilities,
                                                  strict=True):
        picture.imshow(image.squeeze(), cmap="gray")
        picture.set(xticks=[], yticks=[], title=data.class_names[label])
        shown = np.argsort(-row[-1], kind="stable")[:3]
        for k in range(row.shape[1]):
            name = data.class_names[k] if k in shown else None
            axes.plot(np.arange(1, len(row) + 1), row[:, k], color=f"C{k % 10}" if k in shown else "0.85",
                      zorder=2 if k in shown else 1, linewidth=1, label=name)
        axes.set(ylim=(0, 1.02), xlabel="steps", ylabel="p(class)" if axes is grid[1, 0] else "")
        axes.legend(fontsize=7, loc="upper left")
    figure.savefig(run.figure("opinions"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
