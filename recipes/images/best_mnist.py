"""The best single network and the best ensemble that a few hours give, and what each ingredient is worth.

Source     Ours. Ingredients: batch normalisation (Ioffe and Szegedy 2015), dropout (Srivastava et al. 2014),
           elastic distortion (Simard et al. 2003), averaged weights (Polyak and Juditsky 1992), several
           views of a test image, several networks (Cirešan et al. 2012).
Run        python -m recipes run best_mnist          (--config ensemble: five networks; --smoke: seconds)
           python -m recipes run best_mnist --config 'short,without-*'      (what each ingredient is worth)
Published  99.65 % test accuracy by a single large deep network and 99.77 % by the multi-column one of
           35 networks (Cirešan et al. 2011 and 2012), on 60,000 training images.
Departs    No paper's network: two 3x3 convolutions per stage. single trains on 50,000 images; the settings
           were chosen on the other 10,000. The ensembles and light train on all 60,000; the light ones
           have three quarters of the filters and 24 epochs, for two cores. The without-*
           configurations leave out one ingredient each and train as long as short, which has them all,
           half the filters and 8 epochs.
"""
import dataclasses

import keras
import numpy as np
import tensorflow as tf

from models import normalised_convnet
from pipelines import mnist
from pipelines.distort import Distortion
from pipelines.stream import untuned
from training import launch
from training.schedules import one_cycle


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "mnist"          # or fashion_mnist, kmnist, emnist; digits needs no download
    validation: int = 10_000     # images that no network trains on; 0 trains on them, too
    members: int = 1             # networks whose probabilities are averaged, with seeds seed, seed + 1, ...
    filters: tuple[int, ...] = (32, 64, 128)     # of the two 3x3 convolutions of each stage
    normalised: bool = True      # batch normalisation; otherwise biases
    dropout: float = 0.3         # probability, before the output layer
    rotation: float = 12.0       # degrees at most, either way
    shear: float = 8.0           # degrees
    scale: float = 0.12          # part of the size, along each axis by itself
    shift: float = 1.5           # pixels
    sigma: float = 5.0           # of the elastic field's Gaussian, pixels
    alpha: float = 30.0          # of the elastic field, 0 for none
    average: float = 0.995       # of the running mean of the weights that is kept per update; 0: no mean
    views: int = 8               # of each test image: itself and others, a little moved; 1: itself alone
    learning_rate: float = 0.003 # at the top of the cycle
    warm_up: float = 0.2         # fraction of the updates in which the rate rises, from a 25th of its top
    epochs: int = 40
    batch_size: int = 100        # over all devices


SHORT = Config(filters=(16, 32, 64), epochs=8, average=0.99)
LIGHT = Config(validation=0, filters=(24, 48, 96), epochs=24)
NAMED = {
    "single": Config(),
    "light": LIGHT,
    "ensemble": Config(validation=0, members=5),
    "ensemble-light": dataclasses.replace(LIGHT, members=5),
    "short": SHORT,
    "without-elastic": dataclasses.replace(SHORT, alpha=0.0),
    "without-affine": dataclasses.replace(SHORT, rotation=0.0, shear=0.0, scale=0.0, shift=0.0),
    "without-distortion": dataclasses.replace(SHORT, alpha=0.0, rotation=0.0, shear=0.0, scale=0.0,
                                              shift=0.0),
    "without-normalisation": dataclasses.replace(SHORT, normalised=False, learning_rate=0.001),
    "without-dropout": dataclasses.replace(SHORT, dropout=0.0),
    "without-average": dataclasses.replace(SHORT, average=0.0),
    "without-views": dataclasses.replace(SHORT, views=1),
}
PUBLISHED = {"single": 99.65, "light": 99.65, "ensemble": 99.77, "ensemble-light": 99.77}
SMOKE = Config(data="digits", filters=(8, 16), dropout=0.1, epochs=8, batch_size=20, views=3, average=0.9)
VIEW = Distortion(rotation=4, scale=0.04, shift=1)       # how far the views of a test image are moved


def compiled_model(config, data):
    model = normalised_convnet(data.input_shape, data.num_classes, filters=config.filters,
                               dropout=config.dropout, normalised=config.normalised)
    updates = config.epochs * data.train.batches_per_epoch
    rate = one_cycle(config.learning_rate, updates, round(config.warm_up * updates))
    optimizer = keras.optimizers.Adam(rate, beta_2=0.99, use_ema=config.average > 0,
                                      ema_momentum=config.average or 0.99)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    return model


def probabilities(model, examples, views):
    """p(class) of each image, and of views - 1 versions of it a little moved: float (views, N, classes)."""
    def moved(view):
        def prepare(images, numbers):
            seeds = tf.stack([tf.fill(tf.shape(numbers), tf.constant(view, tf.int64)), numbers], axis=1)
            images = examples.prepare(images)
            return images if view == 0 else VIEW(images, seeds)
        return prepare
    numbered = tf.data.Dataset.from_tensor_slices((examples.inputs, np.arange(len(examples)))).batch(500)
    logits = [model.predict(untuned(numbered.map(moved(view))), verbose=0) for view in range(views)]
    return keras.ops.convert_to_numpy(keras.ops.softmax(np.stack(logits).astype(np.float32)))


def accuracy(scores, labels):
    """The part, from 0 to 1, of scores (N, classes) that are largest at their labels (N,)."""
    return float(np.mean(scores.argmax(axis=-1) == labels))


def trained(config, run, data):
    """One network, trained and saved in its run folder, or the one that is there already."""
    if run.metrics is not None:
        return keras.models.load_model(run.folder / "model.keras", compile=False)
    with run.scope():
        model = compiled_model(config, data)
    # The averaged weights replace the last ones at the end; no epoch is chosen.
    run.fit(model, data.train, data.validation, epochs=config.epochs)
    run.save(model, data.class_names)
    return model


def main(config, run):
    if config.members < 1 or config.views < 1:
        raise ValueError("members and views must be at least 1. "
                         f"Received: members={config.members}, views={config.views}")
    distortion = Distortion(config.rotation, config.shear, config.scale, config.shift, config.sigma,
                            config.alpha)
    augment = None if distortion == Distortion(sigma=config.sigma) else distortion
    size = run.validation_size(config.validation, mnist.VALIDATION)
    metrics, validation, test = {}, [], []
    for index in range(config.members):
        member = run if config.members == 1 else run.child(
            f"member{index + 1}", dataclasses.replace(config, members=1), seed=run.seed + index)
        data = mnist.load(config.data, config.batch_size, seed=member.seed, fold=run.fold,
                          validation=size, augment=augment)
        if member is not run:
            print(f"-- member {index + 1} of {config.members}", flush=True)
        model = trained(config, member, data)
        found = {}
        if data.validation is not None:
            validation.append(probabilities(model, data.validation, config.views).mean(axis=0))
            found["val_accuracy"] = accuracy(validation[-1], data.validation.labels)
        views = probabilities(model, data.test, config.views)          # once, at the very end
        test.append(views.mean(axis=0))
        member.keep_predictions(np.log(test[-1] + 1e-12), data.test)
        found |= {"test_accuracy": accuracy(test[-1], data.test.labels),
                  "single_view_accuracy": accuracy(views[0], data.test.labels)}
        if member is run:
            return found
        member.finish(found)
        metrics |= {f"member{index + 1}_{name}": value for name, value in found.items()}
    if validation:
        metrics["val_accuracy"] = accuracy(np.mean(validation, axis=0), data.validation.labels)
    mean = np.mean(test, axis=0)
    run.keep_predictions(np.log(mean + 1e-12), data.test)
    return {"test_accuracy": accuracy(mean, data.test.labels),
            "errors": int(np.sum(mean.argmax(axis=-1) != data.test.labels)), **metrics}


def draw_ingredients(run, results):
    """Validation and test error without each ingredient, in the order of what it is worth."""
    import matplotlib.pyplot as plt
    names = sorted((name for name in results if name == "short" or name.startswith("without")),
                   key=lambda name: results[name]["val_accuracy"])
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for split, offset in (("val", -0.18), ("test", 0.18)):
        errors = [100 - 100 * results[name][f"{split}_accuracy"] for name in names]
        axes.barh(np.arange(len(names)) + offset, errors, 0.34, label=split)
    axes.set_yticks(np.arange(len(names)), names)
    axes.set(xlabel="error (%)", title=f"{SHORT.epochs} epochs, one ingredient left out, seed {run.seed}")
    axes.legend()
    figure.savefig(run.figure("ingredients"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE, compare=draw_ingredients)
