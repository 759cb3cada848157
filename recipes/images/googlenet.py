"""GoogLeNet: convolutions of several sizes side by side, and classifiers half-way that help to train them.

Source     Szegedy et al. 2015, arXiv:1409.4842, sections 4 to 6; batch normalisation after each convolution:
           Ioffe and Szegedy 2015, arXiv:1502.03167, section 4.2, in the variant that torchvision ships.
Run        python -m recipes run googlenet --config normalized     (auxiliary; --config paper --data FOLDER:
           ImageNet, FOLDER/train/CLASS/*.JPEG and FOLDER/val; --smoke: a minute, no download)
Published  92.1 % top-5 accuracy of one network on ImageNet's test set, which is no longer to be had;
           none for the configurations here.
Departs    CIFAR-10 by default: the first convolution has stride 1 in place of 2, so that 32x32 pixels
           leave maps of 8x8, 4x4 and 2x2; all else, the number of weights too, is the network for
           ImageNet. Batch normalisation, with which torchvision has 3x3 where the paper has 5x5.
           10 epochs, the rate rising and falling in one cycle: two hours of one core with AVX2.
           paper: the network as published, with both auxiliary classifiers; the rate falls by 4 % every 8
           epochs, but rate, batch size, decay and number of epochs, which the paper does not give, are
           ours; one crop at the test; weights are not averaged.
"""
import dataclasses

import keras

from models import googlenet
from models.googlenet import LOSS_WEIGHTS
from pipelines import cifar_or_imagenet
from training import launch
from training.schedules import one_cycle


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "cifar10"        # or cifar100; digits needs no download; else the folder of ImageNet
    batch_norm: bool = True      # False: the network as published, with 5x5 convolutions
    auxiliary: bool = False      # two more classifiers for training; without batch_norm: stem_strides 1 1 2
    stem_strides: tuple[int, int, int] = (1, 2, 2)     # first convolution and two poolings, pixels
    dropout: float = 0.2         # probability, before the output layer; the paper has .4
    augment: str = "crop-flip"   # or none, flip, crop: pipelines/cifar.py; of the small images alone
    size: int = 224              # side of the crops of larger ones, pixels
    learning_rate: float = 0.1   # at its top
    warm_up: float = 0.2         # fraction of the updates in which the rate rises to its top
    steps: bool = False          # the paper's schedule in place of the cycle: 4 % less every 8 epochs
    weight_decay: float = 0.002  # goes through no momentum: .0002 / (1 - .9) of the coupled kind
    epochs: int = 10
    batch_size: int = 128        # over all devices


PAPER = Config(data="imagenet", batch_norm=False, auxiliary=True, stem_strides=(2, 2, 2), dropout=0.4,
               learning_rate=0.01, steps=True, epochs=120, batch_size=256)
NAMED = {"normalized": Config(), "auxiliary": Config(auxiliary=True), "paper": PAPER}
SMOKE = Config(data="digits", auxiliary=True, stem_strides=(2, 2, 2), augment="none", learning_rate=0.02,
               epochs=1, batch_size=20)


def weighted_loss(labels, stacked):
    """Labels (B,), logits of all outputs in LOSS_WEIGHTS' order (B, outputs, classes) -> (B,): section 5."""
    return sum(weight * keras.losses.sparse_categorical_crossentropy(labels, stacked[:, i], from_logits=True)
               for i, weight in enumerate(LOSS_WEIGHTS.values()))


def accuracy(labels, stacked):
    """(B,) of the main output, for the same arguments: the others are not asked after training."""
    return keras.metrics.sparse_categorical_accuracy(labels, stacked[:, 0])


def compiled_model(config, data):
    """The network to be trained; with auxiliary classifiers its only output holds the logits of all three."""
    model = googlenet(data.input_shape, data.num_classes, batch_norm=config.batch_norm,
                      auxiliary=config.auxiliary, stem_strides=config.stem_strides, dropout=config.dropout)
    loss, metric = keras.losses.SparseCategoricalCrossentropy(from_logits=True), "accuracy"
    if config.auxiliary:
        stacked = keras.ops.stack([model.output[name] for name in LOSS_WEIGHTS], axis=1)
        model = keras.Model(model.input, stacked, name=model.name)
        loss, metric = weighted_loss, accuracy
    epoch = data.train.batches_per_epoch
    updates = config.epochs * epoch
    rate = (keras.optimizers.schedules.ExponentialDecay(config.learning_rate, 8 * epoch, 0.96, staircase=True)
            if config.steps else one_cycle(config.learning_rate, updates, round(config.warm_up * updates)))
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer, loss, metrics=[metric])
    return model


def without_auxiliary(model):
    """The network for use, of the same weights: what is left when the auxiliary classifiers are dropped."""
    network = keras.Model(model.input, model.get_layer("logits").output, name=model.name)
    network.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return network


def main(config, run):
    data = cifar_or_imagenet.load(config.data, config.batch_size, seed=run.seed, fold=run.fold,
                                  augment=config.augment, size=config.size)
    with run.scope():
        model = compiled_model(config, data)
        network = without_auxiliary(model)
    history = run.fit(model, data.train, data.validation, epochs=config.epochs, saved=network)
    run.save(network, data.class_names, **data.preprocessing)
    return {"val_accuracy": history[-1]["val_accuracy"],
            **run.evaluate(network, data.test)}          # once, at the very end


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
