"""AlexNet: relu, response normalisation, overlapping pooling, dropout and two towers, each to be left out.

Source     Krizhevsky, Sutskever and Hinton 2012, ImageNet classification with deep convolutional
           neural networks, sections 3 to 5.
Run        python -m recipes run alexnet --config whole    (without-*: one ingredient less; --smoke: seconds)
Published  59.3 % top-1 accuracy of one network on ImageNet's validation set (--config paper); by section 3,
           normalisation is worth 1.4, overlapping pooling .4 and two towers of half the width 1.7 points.
Departs    CIFAR-10 by default, so that the first convolution is 5x5 with stride 1 in place of 11x11 with
           stride 4, and the dense layers have 1,024 units in place of 4,096: 6.1 million parameters, with the
           paper's filters, groups, normalisation, pooling and first weights. 12 epochs, the rate falling
           along a cosine. He et al.'s crops and flips. Weight decay is decoupled and leaves biases out.
           paper: 90 epochs of ImageNet, a tenth of the rate when the validation accuracy stands
           still; random-resized crops in place of fixed-size ones, no colour shift.
"""
import dataclasses
from typing import Literal

import keras

from models import alexnet
from models.alexnet import NORMAL
from pipelines import cifar
from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "cifar10"        # or cifar100; digits needs no download
    groups: int = 2              # towers of half the filters each; 1: each filter reads all maps
    stem_kernel: int = 5         # side of the first convolution's filters, pixels
    stem_stride: int = 1         # pixels
    activation: Literal["relu", "tanh"] = "relu"
    response_normalization: bool = True
    pool_size: int = 3           # side of a pooling window, pixels; windows lie 2 apart
    hidden: tuple[int, ...] = (1024, 1024)     # widths of the dense layers
    dropout: float = 0.5         # probability, of the outputs of those layers
    first_weights: Literal["he", "paper"] = "he"         # the second leaves the loss at ln 10 for long
    augment: str = "crop-flip"   # or none, flip, crop: pipelines/cifar.py
    learning_rate: float = 0.01
    patience: int = 0            # epochs without improvement before a tenth of the rate; 0: a cosine
    weight_decay: float = 0.005  # the paper's .0005 goes through momentum .9: 1 / (1 - .9) times as much
    epochs: int = 12
    batch_size: int = 128        # over all devices


PAPER = Config(data="imagenet", stem_kernel=11, stem_stride=4, hidden=(4096, 4096), first_weights="paper",
               patience=5, epochs=90)
NAMED = {
    "whole": Config(),
    "without-relu": Config(activation="tanh"),
    "without-normalization": Config(response_normalization=False),
    "without-overlap": Config(pool_size=2),
    "without-dropout": Config(dropout=0.0),
    "without-towers": Config(groups=1),
    "paper": PAPER,
}
PUBLISHED = {"paper": 59.3}
SMOKE = Config(data="digits", stem_stride=2, pool_size=2, hidden=(128,), dropout=0.2, augment="none",
               learning_rate=0.003, epochs=3, batch_size=20)


def compiled_model(config, data):
    model = alexnet(data.input_shape, data.num_classes, groups=config.groups, stem_kernel=config.stem_kernel,
                    stem_stride=config.stem_stride, activation=config.activation,
                    response_normalization=config.response_normalization, pool_size=config.pool_size,
                    hidden=config.hidden, dropout=config.dropout,
                    kernel_initializer="he_normal" if config.first_weights == "he" else NORMAL)
    updates = config.epochs * data.train.batches_per_epoch
    rate = (config.learning_rate if config.patience
            else keras.optimizers.schedules.CosineDecay(config.learning_rate, updates))
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    return model


def main(config, run):
    # The first weights and the constants of normalisation are made for pixels of 0 to 255.
    data = cifar.load(config.data, config.batch_size, seed=run.seed, fold=run.fold, augment=config.augment,
                      std=1 / 255)
    with run.scope():
        model = compiled_model(config, data)
    callbacks = []
    if config.patience:
        callbacks = [keras.callbacks.ReduceLROnPlateau("val_accuracy", 0.1, config.patience,
                                                       min_lr=config.learning_rate / 1000)]
    history = run.fit(model, data.train, data.validation, epochs=config.epochs, callbacks=callbacks)
    run.save(model, data.class_names, mean=data.mean, std=data.std)
    return {"train_accuracy": history[-1]["accuracy"], "val_accuracy": history[-1]["val_accuracy"],
            **run.evaluate(model, data.test)}          # once, at the very end


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
