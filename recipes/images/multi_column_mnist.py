"""Columns of small convnets, each used to digits of one width, whose answers are averaged.

Source     Cirešan, Meier and Schmidhuber 2012, Multi-column deep neural networks for image classification,
           arXiv:1202.2745, section 3.1.
Run        python -m recipes run multi_column_mnist      (--config paper: its 35 columns; --smoke: seconds)
Published  99.77 % test accuracy by 35 columns: five for each of six widths and for the digits as they are.
Departs    One column per width in place of five. Mini-batches and Adam with a rate falling along a cosine
           for some tens of epochs, where the paper learns image by image for 800; paper has its
           number of columns. 50,000 training images: 10,000 choose each column's epoch. Sigma,
           alpha and the bounds of rotation and scale are those of the 2010 paper, without shear.
           How a digit is resampled to a width is ours.
"""
import dataclasses

import keras
import numpy as np

from models import mcdnn_column, on_images
from pipelines import mnist
from pipelines.distort import Distortion
from pipelines.stream import Stream
from pipelines.width import of_width
from training import launch

ORIGINAL = 0                     # of the widths: the digits as they are


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "mnist"          # or fashion_mnist, kmnist; digits needs no download
    widths: tuple[int, ...] = (0, 10, 12, 14, 16, 18, 20)        # pixels, in 28; 0: as they are
    columns: int = 1             # of each width, with seeds of their own
    rotation: float = 15.0       # degrees at most, either way
    shear: float = 0.0           # degrees
    scale: float = 0.15          # part of the size, along each axis by itself
    shift: float = 1.0           # pixels
    sigma: float = 5.5           # of the elastic field's Gaussian, pixels
    alpha: float = 37.0          # of the elastic field, 0 for none
    learning_rate: float = 0.002
    epochs: int = 30
    batch_size: int = 100        # over all devices


NAMED = {"seven": Config(), "paper": Config(columns=5)}
PUBLISHED = {"paper": 99.77}
SMOKE = Config(data="digits", widths=(0, 16), epochs=8, batch_size=20, alpha=10.0)


def compiled_model(config, data):
    model = on_images(mcdnn_column(num_classes=data.num_classes), data.input_shape, black=-1.0, white=1.0)
    rate = keras.optimizers.schedules.CosineDecay(
        config.learning_rate, config.epochs * data.train.batches_per_epoch)
    model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    return model


def normalised(data, width, config, seed):
    """The Splits with all digits of one width, and the column's own training stream."""
    def resized(examples):
        return examples if width == ORIGINAL else dataclasses.replace(
            examples, inputs=of_width(examples.inputs, width))
    distortion = Distortion(config.rotation, config.shear, config.scale, config.shift, config.sigma,
                            config.alpha)
    training = resized(data.training)
    return dataclasses.replace(
        data, training=training, validation=resized(data.validation), test=resized(data.test),
        train=Stream(training, config.batch_size, seed=seed,
                     augment=None if distortion == Distortion(sigma=config.sigma) else distortion))


def column(config, run, data):
    """One network, trained and saved in its run folder, or the one that is there already."""
    if run.metrics is not None:
        return keras.models.load_model(run.folder / "model.keras", compile=False)
    with run.scope():
        model = compiled_model(config, data)
    run.fit(model, data.train, data.validation, epochs=config.epochs, keep_best="val_accuracy")
    run.save(model, data.class_names)
    return model


def probabilities(model, examples):
    """p(class) of each image: float (N, classes)."""
    logits = model.predict(examples.dataset(), verbose=0).astype(np.float32)
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


def accuracy(scores, labels):
    """The part, from 0 to 1, of scores (N, classes) that are largest at their labels (N,)."""
    return float(np.mean(scores.argmax(axis=-1) == labels))


def main(config, run):
    if not config.widths or len(set(config.widths)) < len(config.widths) or config.columns < 1:
        raise ValueError("widths must be at least one, each of them once, and columns at least 1. "
                         f"Received: widths={config.widths}, columns={config.columns}")
    data = mnist.load(config.data, config.batch_size)
    metrics, validation, test = {}, [], []
    for number, width in enumerate(config.widths):
        for repeat in range(config.columns):
            name = f"width{width}_column{repeat + 1}" if width != ORIGINAL else f"original_column{repeat + 1}"
            seed = run.seed + number * config.columns + repeat
            print(f"-- {name}", flush=True)
            member = run.child(name, dataclasses.replace(config, widths=(width,), columns=1), seed=seed)
            own = normalised(data, width, config, seed)
            model = column(config, member, own)
            validation.append(probabilities(model, own.validation))
            test.append(probabilities(model, own.test))
            metrics[f"{name}_accuracy"] = accuracy(test[-1], data.test.labels)
            member.keep_predictions(np.log(test[-1] + 1e-12), own.test)
            member.finish({"val_accuracy": accuracy(validation[-1], data.validation.labels),
                           "test_accuracy": metrics[f"{name}_accuracy"]})
    mean = np.mean(test, axis=0)
    run.keep_predictions(np.log(mean + 1e-12), data.test)
    draw_widths(run, data, config.widths)
    return {"val_accuracy": accuracy(np.mean(validation, axis=0), data.validation.labels),
            "test_accuracy": accuracy(mean, data.test.labels),
            "errors": int(np.sum(mean.argmax(axis=-1) != data.test.labels)),
            "mean_column_accuracy": float(np.mean(list(metrics.values()))), **metrics}


def draw_widths(run, data, widths, columns=10):
    """The first test images at every width."""
    import matplotlib.pyplot as plt
    images = data.test.inputs[:columns]
    figure, grid = plt.subplots(len(widths), len(images), figsize=(len(images), len(widths) + 1.4),
                                squeeze=False, layout="constrained")
    for line, width in zip(grid, widths, strict=True):
        for axes, image in zip(line, images if width == ORIGINAL else of_width(images, width), strict=True):
            axes.imshow(image.squeeze(), cmap="gray_r")
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel("as it is" if width == ORIGINAL else f"{width} pixels")
    figure.savefig(run.figure("widths"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
