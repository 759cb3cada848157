"""A classifier of one's own photographs: features learned elsewhere, a new output layer, then fine-tuning.

Source     Yosinski et al. 2014, How transferable are features in deep neural networks?, arXiv:1411.1792;
           Kornblith et al. 2019, arXiv:1805.08974.
Run        python -m recipes run transfer_learning --data FOLDER --weights imagenet
           (FOLDER has a directory per class, or is a CSV file of path,label; offline: --weights FILE, such
           as another run's model.keras; --smoke: seconds, no download)
Published  No figure: it is measured on one's own images.
Departs    From both papers in its schedule. Two trainings: the output layer alone, over frozen features,
           until it stops getting better; then all layers at a rate a hundred times smaller, batch
           normalisation frozen as it was learned. Each ends by itself and keeps its best epoch, and
           the second is undone where the first was better on the validation images.
"""
import csv
import dataclasses
import zipfile
from typing import Literal

import keras
import numpy as np

import models
from models.weights import IMAGENET, pixel_scaling
from pipelines import digit_files, image_folder
from pipelines.files import RandomResizedCrop
from training import launch, predict
from training.objectives import Accuracy, CrossEntropy

# By the name of a network, what it is besides its builder's default; see models.weighted.
VARIANTS = {"_v1_5": {"version": "v1.5"}, "_v2": {"version": "v2"}, "_bn": {"batch_norm": True}}


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "digits"         # a folder with a directory per class, or a CSV file; digits: generated files
    test_data: str = ""          # a folder or CSV file of its own for the test; else cut from data
    network: str = "resnet50"    # a builder of models; or resnet50_v2, resnet50_v1_5, vgg16_bn, googlenet_bn
    weights: str = ""            # imagenet, or a .keras, .weights.h5 or .safetensors file; none: at random
    scaling: Literal["", "imagenet", "torchvision"] = ""   # of pixels, where the file does not tell
    size: int = 224              # pixels, height and width
    validation: float = 0.15     # of each class
    test: float = 0.15           # of each class, without test_data
    skip_unreadable: bool = False                # leave out files that cannot be read, instead of ending
    smallest_crop: float = 0.35  # least area of a training image's random part; 1 for no variation of size
    flip: bool = True            # mirror half of the training images
    frozen_epochs: int = 20      # at most, of the output layer alone
    tuned_epochs: int = 20       # at most, of all layers; 0: the features stay as they are
    patience: int = 4            # epochs without a better validation accuracy that end a training
    frozen_rate: float = 1e-3    # of Adam
    tuned_rate: float = 1e-5     # of Adam
    label_smoothing: float = 0.1
    frozen_normalisation: bool = True            # keep the statistics of the features' own training
    batch_size: int = 32         # over all devices


SMOKE = Config(network="resnet_cifar", size=32, frozen_epochs=2, tuned_epochs=10, tuned_rate=3e-3, flip=False,
               smallest_crop=0.8, frozen_normalisation=False, batch_size=20, patience=8)


def network(config, classes):
    """The network of that name for so many classes, its weights given but for the output layer's."""
    known = {each.builder for each in models.catalog() if each.input_shape[2:] == (3,)}
    suffix = next((end for end in VARIANTS if config.network.endswith(end)), "")
    name = config.network.removesuffix(suffix)
    if name not in known:
        raise ValueError(f"network must be one of {', '.join(sorted(known))}. Received: {config.network}")
    builder, options = getattr(models, name), VARIANTS.get(suffix, {})
    try:
        model = builder((config.size, config.size, 3), classes, **options)
    except TypeError:
        raise ValueError(f"{name} has no variant {suffix[1:]}. Received: {config.network}") from None
    return models.weighted(model, config.weights or None, but=("logits",))


def scaling(config):
    """What the weights were trained on: {"mean", "std", "bgr"}, where it is known, for image_folder.load."""
    source = config.scaling
    if not source and config.weights.endswith(".keras") and zipfile.is_zipfile(config.weights):
        known = predict.about(config.weights)
        if "mean" in known:
            return {name: known[name] for name in ("mean", "std", "bgr") if name in known}
    if not source and config.weights.endswith(".safetensors"):
        source = "torchvision"
    elif not source and config.weights and config.network in IMAGENET:
        source = "imagenet"
    return pixel_scaling(config.network, source) if source else {}


def compiled(model, config, *, frozen):
    """Compiles for one of the two trainings: of the output layer alone, or of everything."""
    for layer in model.layers:
        statistics = isinstance(layer, keras.layers.BatchNormalization) and config.frozen_normalisation
        layer.trainable = layer.name == "logits" if frozen else not statistics
    rate = config.frozen_rate if frozen else config.tuned_rate
    model.compile(keras.optimizers.Adam(rate), CrossEntropy(config.label_smoothing), metrics=[Accuracy()])


def main(config, run):
    source = config.data
    if source == "digits":
        source = digit_files.write(run.output / "images") / "train"
    data = image_folder.load(
        source, config.batch_size, size=config.size, seed=run.seed, fold=run.fold,
        validation=config.validation, test=config.test, test_source=config.test_data,
        skip_unreadable=config.skip_unreadable,
        crop=RandomResizedCrop(config.size, (config.smallest_crop, 1.0), flip=config.flip), **scaling(config))
    with run.scope():
        model = network(config, data.num_classes)
        compiled(model, config, frozen=True)

    def fit(run, epochs):
        stop = keras.callbacks.EarlyStopping("val_accuracy", mode="max", patience=config.patience)
        history = run.fit(model, data.train, data.validation, epochs=epochs, callbacks=[stop],
                          keep_best="val_accuracy")
        return max(row["val_accuracy"] for row in history)
    if not config.weights:
        print("without weights the features are random: --weights imagenet, or a file, gives learned ones")
    print("-- the output layer, over frozen features", flush=True)
    first = run.child("frozen", config)
    frozen_accuracy = fit(first, config.frozen_epochs)
    first.save(model, data.class_names, **data.preprocessing)
    first.finish({"val_accuracy": frozen_accuracy})
    metrics = {"frozen_val_accuracy": frozen_accuracy, "val_accuracy": frozen_accuracy}
    if config.tuned_epochs:
        print("-- all layers", flush=True)
        with run.scope():
            compiled(model, config, frozen=False)
        before = model.get_weights()
        metrics["tuned_val_accuracy"] = fit(run, config.tuned_epochs)
        metrics["val_accuracy"] = max(metrics.values())
        if metrics["tuned_val_accuracy"] < frozen_accuracy:
            print("training all layers has made it no better: the network before that is kept")
            model.set_weights(before)
    run.save(model, data.class_names, **data.preprocessing)
    metrics |= run.evaluate(model, data.test)          # once, at the very end
    if "test_accuracy" in metrics:
        tell_confusions(run, data)
    return metrics


def most_confused(labels, predicted, classes):
    """[(true class, predicted class, how often, part of the true class)], the most frequent first."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    sizes = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    pairs = [(one, other, counts[one, other], counts[one, other] / sizes[one])
             for one, other in zip(*np.nonzero(counts), strict=True)]
    return sorted(pairs, key=lambda pair: (-pair[2], -pair[3], pair[:2]))


def tell_confusions(run, data, shown=6):
    """Prints the pairs of classes most confused, writes all of them to confusions.csv, and draws examples."""
    import matplotlib.pyplot as plt
    with np.load(run.output / "predictions.npz") as stored:
        labels, predicted = stored["labels"], stored["logits"].argmax(axis=1)
    names = data.class_names
    pairs = most_confused(labels, predicted, len(names))
    with open(run.output / "confusions.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["class", "taken for", "images", "part of the class"])
        rows.writerows([names[one], names[other], count, round(part, 4)]
                       for one, other, count, part in pairs)
    for one, other, count, part in pairs[:shown]:
        print(f"{names[one]} taken for {names[other]}: {count} images, {100 * part:.0f} % of the class")
    figure, grid = plt.subplots(max(1, min(shown, len(pairs))), 5, squeeze=False, layout="constrained",
                                figsize=(7.5, 1.7 * max(1, min(shown, len(pairs))) + 0.6))
    for axes in grid.flat:
        axes.axis("off")
    for line, (one, other, count, _) in zip(grid, pairs, strict=False):
        rows = np.flatnonzero((labels == one) & (predicted == other))[:len(line)]
        for axes, row in zip(line, rows, strict=False):
            axes.imshow(data.test.inputs[int(row)])
        line[0].set_title(f"{names[one]} taken for {names[other]}: {count}", fontsize=10, loc="left")
    errors = int(np.sum(labels != predicted))
    figure.suptitle(f"the classes most confused: {errors} errors in {len(labels)} images")
    figure.savefig(run.figure("confusions"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, smoke=SMOKE)
