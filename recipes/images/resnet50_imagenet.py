"""ResNet-50 on ImageNet, or a folder of its shape, by today's schedule: no new layer, another training.

Source     He et al. 2016, arXiv:1512.03385 (network); Vryniotis 2021, How to Train State-Of-The-Art Models
           Using TorchVision's Latest Primitives (schedule); Wightman et al. 2021, arXiv:2110.00476.
Run        python -m recipes run resnet50_imagenet --data FOLDER     (FOLDER/train/CLASS/*.JPEG and
           FOLDER/val; imagenet2012: from TFDS; several GPUs: --strategy mirrored; several machines:
           docs/cluster.md; --smoke: a minute, no download)
Published  76.13 % top-1, one crop (--config he, torchvision's first weights). None for the other schedules.
Departs    Weight decay is decoupled: ten times torchvision's number, as momentum .9 multiplies a coupled one.
           No TrivialAugment, random erasing or average of the weights. The default has 100 epochs for
           torchvision's 600. Mixing pairs neighbours in the batch. The last ten training images of each
           class validate; the published validation images are the test set, looked at once.
"""
import dataclasses
import functools

import keras
import numpy as np
import tensorflow as tf

from models import resnet18, resnet50, resnet_cifar
from pipelines import digit_files, imagenet
from pipelines.files import CentreCrop, RandomResizedCrop
from pipelines.mixing import Cutmix, Mixup, OneOf
from training import launch
from training.objectives import Accuracy, CrossEntropy

NETWORKS = {"resnet18": functools.partial(resnet18, version="v1.5"),
            "resnet50": functools.partial(resnet50, version="v1.5"),
            "small": functools.partial(resnet_cifar, depth=8)}


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "imagenet"       # the folder of train and val; imagenet2012: of TFDS; digits: generated files
    network: str = "resnet50"    # with its strides in the 3x3 convolutions (v1.5); or resnet18, or small
    train_size: int = 176        # pixels of a training crop, where objects look larger than in the test
    smallest_crop: float = 0.08  # least part of an image's area in a training crop
    size: int = 224              # pixels of an evaluation crop
    share: float = 224 / 232     # of the shorter side that an evaluation crop spans
    crops: int = 1               # of a test image; 10: corners and middle, also mirrored, averaged
    epochs: int = 100
    batch_size: int = 1024       # over all devices
    learning_rate: float = 0.5   # at its top
    schedule: str = "cosine"     # or "steps": a tenth after each third of the epochs
    warm_up: int = 5             # epochs in which the rate rises to its top
    weight_decay: float = 5e-4   # decoupled; on kernels alone if decay_kernels_alone
    decay_kernels_alone: bool = True
    label_smoothing: float = 0.1
    mixup: float = 0.2           # alpha of half of the examples; 0 with cutmix 0: nothing is mixed
    cutmix: float = 1.0          # alpha of the other half
    jitter: float = 0.0          # brightness, contrast and saturation, as a part of themselves
    pca: float = 0.0             # standard deviation of AlexNet's change of colour; theirs was .1


NAMED = {
    "he": Config(train_size=224, share=224 / 256, epochs=90, batch_size=256, learning_rate=0.1,
                 schedule="steps", warm_up=0, weight_decay=1e-3, decay_kernels_alone=False,
                 label_smoothing=0.0, mixup=0.0, cutmix=0.0),
    "torchvision": Config(epochs=600, weight_decay=2e-4),
}
PUBLISHED = {"he": 76.13}
SMOKE = Config(data="digits", network="small", train_size=32, smallest_crop=0.7, size=32, share=1.0,
               epochs=16, batch_size=20, learning_rate=0.1, warm_up=1, label_smoothing=0.0, cutmix=0.0,
               crops=10)


def compiled_model(config, data):
    if config.network not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}. Received: {config.network}")
    model = NETWORKS[config.network]((None, None, 3), data.num_classes)
    optimizer = keras.optimizers.SGD(rate(config, data.train.batches_per_epoch), momentum=0.9, nesterov=True,
                                     weight_decay=config.weight_decay)
    if config.decay_kernels_alone:
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    model.compile(optimizer, CrossEntropy(config.label_smoothing), metrics=[Accuracy()])
    return model


def rate(config, epoch_updates):
    """The schedule of the learning rate, in updates."""
    total, rise = config.epochs * epoch_updates, config.warm_up * epoch_updates
    if config.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            0.01 * config.learning_rate, max(1, total - rise), warmup_target=config.learning_rate,
            warmup_steps=rise)
    if config.schedule != "steps":
        raise ValueError(f'schedule must be "cosine" or "steps". Received: {config.schedule!r}')
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [total // 3, 2 * total // 3], [config.learning_rate / drop for drop in (1, 10, 100)])


def mixing(config, classes):
    """What the stream mixes, by the two alphas: half of the examples each way, or all one way, or nothing."""
    kinds = [kind(classes, alpha)
             for kind, alpha in ((Mixup, config.mixup), (Cutmix, config.cutmix)) if alpha]
    return OneOf(*kinds) if len(kinds) == 2 else kinds[0] if kinds else None


def main(config, run):
    if config.crops not in (1, 10):
        raise ValueError(f"crops must be 1 or 10. Received: {config.crops}")
    if min(config.train_size, config.size) < 32:          # else the last stages would see less than a pixel
        raise ValueError("train_size and size must be at least 32 pixels. "
                         f"Received: {config.train_size} and {config.size}")
    source = config.data
    if source == "digits":
        source = digit_files.write(run.output / "images", train=24, val=5)
    data = imagenet.load(
        source, config.batch_size, size=config.size, seed=run.seed, fold=run.fold, jitter=config.jitter,
        pca=config.pca, crop=RandomResizedCrop(config.train_size, (config.smallest_crop, 1.0)),
        mix=functools.partial(mixing, config), evaluation_crop=CentreCrop(config.size, config.share))
    with run.scope():
        model = compiled_model(config, data)
    history = run.fit(model, data.train, data.validation, epochs=config.epochs)
    run.save(model, data.class_names, **data.preprocessing)
    metrics = {"val_accuracy": history[-1]["val_accuracy"]}
    if run.searching:
        return metrics
    metrics |= run.evaluate(model, data.test)          # once, at the very end
    with np.load(run.output / "predictions.npz") as stored:
        best = np.argsort(-stored["logits"], axis=1)[:, :5]
        metrics["test_top5_accuracy"] = float(np.mean((best == stored["labels"][:, None]).any(axis=1)))
    if config.crops == 10:
        metrics["ten_crop_accuracy"] = ten_crop_accuracy(model, data.test, config.size)
    return metrics


def ten_crop_accuracy(model, examples, size):
    """Accuracy of the mean probability over ten crops of images whose shorter side is 8/7 of size."""
    larger = dataclasses.replace(examples, crop=CentreCrop(round(size * 8 / 7), share=1.0))
    right = 0
    for images, labels in larger.dataset(32):
        crops = imagenet.ten_crops(images, size)
        logits = model.predict_on_batch(tf.reshape(crops, (-1, size, size, 3))).astype(np.float32)
        chances = keras.ops.convert_to_numpy(keras.ops.softmax(logits)).reshape(10, len(labels), -1)
        right += int(np.sum(chances.mean(axis=0).argmax(axis=1) == labels.numpy()))
    return right / len(examples)


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
