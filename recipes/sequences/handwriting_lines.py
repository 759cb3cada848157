"""Lines of handwritten digits, read as a whole by an LSTM that runs over the image in four directions.

Source     Graves and Schmidhuber 2008, Offline handwriting recognition with multidimensional recurrent
           neural networks, figure 2; CTC: Graves et al. 2006.
Run        python -m recipes run handwriting_lines      (--smoke: seconds, no download)
Published  Nothing on these lines; on Arabic names of the ICDAR 2007 competition 91.4 % of words.
Departs    Lines of five digits of MNIST in place of Arabic names, a folder of IAM's lines with --data;
           blocks and windows are narrower, because five digits are 160 pixels wide, and first layers
           wider; Adam in place of gradient descent with momentum; no peepholes. --config blstm reads
           columns of pixels by an ordinary bidirectional LSTM.
"""
import dataclasses
from typing import Literal

import keras
import numpy as np

from models import columns_blstm, greedy, multidimensional_lstm
from pipelines import handwriting
from training import launch
from training.label_errors import LabelErrorRate


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "mnist"          # or fashion_mnist, kmnist, emnist; a folder of IAM; digits needs no download
    network: Literal["mdlstm", "blstm"] = "mdlstm"
    block: tuple[int, int] = (4, 2)      # rows, columns of pixels that a place of the first layer sees
    cells: tuple[int, ...] = (4, 16, 64)     # LSTM cells of each direction, by layer
    features: tuple[int, ...] = (16, 64)     # tanh units between two layers of the mdlstm
    columns: int = 4             # of pixels in a step of the output, of either network
    digits: int = 5              # of a line
    lines: int = 20_000          # made from the training digits
    learning_rate: float = 0.005     # falls to zero along a cosine
    epochs: int = 8              # over all lines
    batch_size: int = 32         # over all devices


NAMED = {"mdlstm": Config(), "blstm": Config(network="blstm", cells=(64, 64))}
HEADLINE = "test_label_error_rate"
SMOKE = Config(data="digits", block=(4, 4), cells=(4, 12, 48), features=(16, 48), columns=8, digits=3,
               lines=800, epochs=8, batch_size=16)


def windows(config):
    """Rows and columns of places that come together behind each layer: 9x80 -> 3x40 -> 1x40 by default."""
    if config.columns % config.block[1]:
        raise ValueError(f"the columns of a step must be a multiple of those of a block. Received: "
                         f"columns={config.columns}, block={config.block}")
    return ((3, config.columns // config.block[1]), *[(3, 1)] * (len(config.features) - 1))


def compiled_model(config, data):
    shape = data.test[:1].arrays()[0].shape[1:]
    if config.network == "mdlstm":
        model = multidimensional_lstm(shape, data.num_classes, block=config.block, cells=config.cells,
                                      features=config.features, windows=windows(config))
    else:
        model = columns_blstm(shape, data.num_classes, columns=config.columns, units=config.cells)
    schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate,
                                                      config.epochs * data.train.batches_per_epoch)
    model.compile(keras.optimizers.Adam(schedule, global_clipnorm=1.0), keras.losses.CTC(),
                  metrics=[LabelErrorRate(greedy)])
    return model


def main(config, run):
    data = handwriting.load(config.data, config.batch_size, digits=config.digits, count=config.lines,
                            seed=run.seed, fold=run.fold)
    with run.scope():
        model = compiled_model(config, data)
    history = run.fit(model, data.train, data.validation, epochs=config.epochs,
                      keep_best="val_label_error_rate", mode="min")
    run.save(model, data.class_names)
    if not run.searching:
        draw(run, model, data)
    best = min(history, key=lambda row: row["val_label_error_rate"])
    return {"val_label_error_rate": best["val_label_error_rate"], "best_epoch": best["epoch"],
            **run.evaluate(model, data.test)}          # once, at the very end


def draw(run, model, data, count=6):
    """Lines of the validation set with their reading, and where in the line each character was read."""
    import matplotlib.pyplot as plt
    images, labels = data.validation[:count].arrays()
    outputs = np.asarray(model(images))
    figure, axes = plt.subplots(count, 1, figsize=(9, 1.9 * count), layout="constrained")
    read = np.asarray(greedy(outputs))
    for panel, image, label, row, best in zip(axes, images, labels, read, outputs.argmax(-1), strict=True):
        height, width = image.shape[:2]
        panel.imshow(image[..., 0], cmap="gray", aspect="auto")
        for step in np.flatnonzero(best * (best != np.append(0, best[:-1]))):       # where a character begins
            panel.text((step + 0.5) * width / len(best), height - 1, data.class_names[best[step] - 1],
                       color="orange", ha="center")
        wrong = "" if np.array_equal(row[row > 0], label[label > 0]) else ", wrong"
        panel.set_title(f"written {text(label, data.class_names)}, read {text(row, data.class_names)}{wrong}",
                        fontsize=10)
        panel.set_axis_off()
    figure.savefig(run.figure("lines"), dpi=120)
    plt.close(figure)


def text(labels, class_names):
    """[4, 8, 2, 0, 0] -> "371", for class names 0 to 9."""
    return "".join(class_names[label - 1] for label in labels if label)


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
