"""AlexNet: relu, response normalisation, overlapping pooling, dropout and two towers, each to be left out.

Source     Krizhevsky, Sutskever and Hinton 2012, ImageNet classification with deep convolutional
           neural networks, sections 3 to 5.
Run        python -m recipes run alexnet --config whole    (without-*: one ingredient less; --config paper
           --data FOLDER: ImageNet, FOLDER/train/CLASS/*.JPEG and FOLDER/val; --smoke: seconds, no download)
Published  81.8 % top-5 accuracy of one network on ImageNet's validation set; by section 3, normalisation is
           worth 1.4 points of top-1 and overlapping pooling .4. None for the configurations on CIFAR-10.
Departs    CIFAR-10 by default: the first convolution is 5x5 with stride 1 in place of 11x11 with stride 4,
           and the dense layers have 1,024 units in place of 4,096, 4.4 million parameters. Filters,
           groups, normalisation and pooling are the paper's. 12 epochs, 140 minutes of one core with
           AVX2, the rate falling along a cosine from half of the paper's; crops with a margin of 4
           pixels, and flips. First weights are LeCun's, but for the first and the last layer: from the
           paper's, the loss stays at ln 10 for hundreds of updates. Weight decay is decoupled and
           leaves biases out.
           paper: a tenth of the rate when the validation accuracy stands still; crops of random area
           in place of 224 pixels of 256; one crop at the test.
"""
import dataclasses
from typing import Literal

import keras

from models import alexnet
from models.alexnet import NORMAL
from pipelines import cifar_or_imagenet
from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "cifar10"        # or cifar100; digits needs no download; else the folder of ImageNet
    groups: int = 2              # towers of half the filters each; 1: each filter reads all maps
    stem_kernel: int = 5         # side of the first convolution's filters, pixels
    stem_stride: int = 1         # pixels
    activation: Literal["relu", "tanh"] = "relu"
    response_normalization: bool = True
    pool_size: int = 3           # side of a pooling window, pixels; windows lie 2 apart
    hidden: tuple[int, ...] = (1024, 1024)     # widths of the dense layers
    dropout: float = 0.5         # probability, of the outputs of those layers
    first_weights: Literal["lecun", "paper"] = "lecun"   # the second leaves the loss at ln 10 for long
    augment: str = "crop-flip"   # or none, flip, crop: pipelines/cifar.py; of the small images alone
    size: int = 227              # side of the crops of larger ones, pixels
    pca: float = 0.1             # standard deviation of their change of colour
    learning_rate: float = 0.005
    patience: int = 0            # epochs without improvement before a tenth of the rate; 0: a cosine
    weight_decay: float = 0.005  # the paper's .0005 goes through momentum .9: 1 / (1 - .9) times as much
    epochs: int = 12
    batch_size: int = 128        # over all devices


PAPER = Config(data="imagenet", stem_kernel=11, stem_stride=4, hidden=(4096, 4096), first_weights="paper",
               learning_rate=0.01, patience=5, epochs=90)
NAMED = {
    "whole": Config(),
    "without-relu": Config(activation="tanh"),
    "without-normalization": Config(response_normalization=False),
    "without-overlap": Config(pool_size=2),
    "without-dropout": Config(dropout=0.0),
    "without-towers": Config(groups=1),
    "paper": PAPER,
}
SMOKE = Config(data="digits", stem_stride=2, pool_size=2, hidden=(128,), dropout=0.2, augment="none",
               learning_rate=0.003, epochs=3, batch_size=20)


def compiled_model(config, data):
    model = alexnet(data.input_shape, data.num_classes, groups=config.groups, stem_kernel=config.stem_kernel,
                    stem_stride=config.stem_stride, activation=config.activation,
                    response_normalization=config.response_normalization, pool_size=config.pool_size,
                    hidden=config.hidden, dropout=config.dropout,
                    kernel_initializer="lecun_normal" if config.first_weights == "lecun" else NORMAL)
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
    data = cifar_or_imagenet.load(config.data, config.batch_size, seed=run.seed, fold=run.fold, std=1 / 255,
                                  augment=config.augment, size=config.size, pca=config.pca)
    with run.scope():
        model = compiled_model(config, data)
    callbacks = []
    if config.patience:
        callbacks = [keras.callbacks.ReduceLROnPlateau("val_accuracy", 0.1, config.patience,
                                                       min_lr=config.learning_rate / 1000)]
    history = run.fit(model, data.train, data.validation, epochs=config.epochs, callbacks=callbacks)
    run.save(model, data.class_names, **data.preprocessing)
    return {"train_accuracy": history[-1]["accuracy"], "val_accuracy": history[-1]["val_accuracy"],
            **run.evaluate(model, data.test)}          # once, at the very end


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
