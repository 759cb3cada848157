"""VGG: nothing but 3x3 convolutions, and more of them.

Source     Simonyan and Zisserman 2015, arXiv:1409.1556, Table 1 and section 3.
Run        python -m recipes run vgg --config 11      (13, 16, 19; --config paper --data FOLDER: ImageNet,
           FOLDER/train/CLASS/*.JPEG and FOLDER/val; --smoke: seconds, no download)
Published  74.4 % top-1 accuracy of VGG-16 on ImageNet's validation set at one scale (--config paper); 70.4 of
           VGG-11, 74.5 of VGG-19. None on CIFAR-10.
Departs    CIFAR-10 by default: of 32x32 pixels five poolings leave one place of 512 features, on which one
           dense layer of 512 stands in place of two of 4,096. The convolutions are the paper's, with batch
           normalisation between them and relu, which is younger than the paper: without
           it (--no-batch-norm) the deeper networks start from He's weights. 10 epochs (of VGG-11, on one
           core, 1.2 s an update with AVX-512: 75 minutes; 2.2 s with AVX2), the rate rising and falling in
           one cycle. Weight decay is decoupled and leaves biases and
           normalisation out.
           paper: 74 epochs of ImageNet, a tenth of the rate when the validation accuracy stands still;
           crops of random area of 224 pixels in place of scales of 256 to 512; one crop at the test;
           from Glorot's weights, as the authors recommend, not those of a shallower network.
"""
import dataclasses
from typing import Literal

import keras

from models import vgg
from pipelines import cifar_or_imagenet
from training import launch
from training.schedules import one_cycle


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "cifar10"        # or cifar100; digits needs no download; else the folder of ImageNet
    depth: Literal[11, 13, 16, 19] = 11        # layers with weights, of the published networks
    batch_norm: bool = True
    hidden: tuple[int, ...] = (512,)           # widths of the dense layers
    dropout: float = 0.5         # probability, of the outputs of those layers
    initializer: Literal["he_normal", "glorot_uniform"] = "he_normal"     # the second is the paper's
    augment: str = "crop-flip"   # or none, flip, crop: pipelines/cifar.py; of the small images alone
    size: int = 224              # side of the crops of larger ones, pixels
    learning_rate: float = 0.05  # at its top
    warm_up: float = 0.2         # fraction of the updates in which the rate rises to its top
    patience: int = 0            # epochs without improvement before a tenth of the rate; 0: a cycle
    weight_decay: float = 0.005  # goes through no momentum: .0005 / (1 - .9) of the paper's kind
    epochs: int = 10
    batch_size: int = 128        # over all devices


PAPER = Config(data="imagenet", depth=16, batch_norm=False, hidden=(4096, 4096), initializer="glorot_uniform",
               learning_rate=0.01, patience=5, epochs=74, batch_size=256)
NAMED = {"11": Config(), "13": Config(depth=13), "16": Config(depth=16), "19": Config(depth=19),
         "paper": PAPER}
PUBLISHED = {"paper": 74.4}
SMOKE = Config(data="digits", hidden=(64,), dropout=0.1, augment="none", learning_rate=0.02, epochs=1,
               batch_size=20)


def compiled_model(config, data):
    model = vgg(data.input_shape, data.num_classes, depth=config.depth, batch_norm=config.batch_norm,
                hidden=config.hidden, dropout=config.dropout, kernel_initializer=config.initializer)
    updates = config.epochs * data.train.batches_per_epoch
    rate = (config.learning_rate if config.patience
            else one_cycle(config.learning_rate, updates, round(config.warm_up * updates)))
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    return model


def main(config, run):
    data = cifar_or_imagenet.load(config.data, config.batch_size, seed=run.seed, fold=run.fold,
                                  augment=config.augment, size=config.size)
    with run.scope():
        model = compiled_model(config, data)
    callbacks = []
    if config.patience:
        callbacks = [keras.callbacks.ReduceLROnPlateau("val_accuracy", 0.1, config.patience,
                                                       min_lr=config.learning_rate / 1000)]
    history = run.fit(model, data.train, data.validation, epochs=config.epochs, callbacks=callbacks)
    run.save(model, data.class_names, **data.preprocessing)
    return {"val_accuracy": history[-1]["val_accuracy"],
            **run.evaluate(model, data.test)}          # once, at the very end


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
