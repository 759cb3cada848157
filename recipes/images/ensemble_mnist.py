"""Five networks vote: what is left of the errors when the nets err on different digits.

Source     Nielsen 2015, Neural Networks and Deep Learning, chapter 6, "Using an ensemble of networks".
Run        python -m recipes run ensemble_mnist --runs RUN_DIR RUN_DIR ...  (finished convnet_mnist runs;
           without --runs it trains five dropout nets itself, hours each; --smoke: seconds)
Published  99.67 % test accuracy: plurality vote of five nets of rung 7, 33 errors.
Departs    The book does not say how it breaks ties; here the highest mean probability among the
           classes in the tie wins. The mean of probabilities stands beside the vote. The members
           differ in their seed alone: initial weights, order and dropout.
"""
import dataclasses
import itertools
import sys
from pathlib import Path

import keras
import numpy as np

from models import nielsen_convnet
from pipelines import mnist
from pipelines.augment import ONE_PIXEL, one_pixel_shift
from training import launch
from training.files import read_json
from training.predictions import vote
from training.schedules import one_cycle


@dataclasses.dataclass(frozen=True)
class Config:
    runs: tuple[str, ...] = ()   # folders of finished runs; none: train the members
    data: str = "mnist"          # what the runs were trained on; digits needs no download
    members: int = 5             # how many to train, with seeds seed, seed + 1, ... (without runs)
    # The rest is rung 7 of convnet_mnist, for the members that are trained here.
    filters: tuple[int, ...] = (20, 40)    # 5x5 filters per convolution, each pooled 2x2
    hidden: tuple[int, ...] = (1000, 1000)           # widths of the dense layers
    dropout: float = 0.5         # probability, on the input of each dense layer
    bias_stddev: float = 1.0     # of the first biases; the book's 1 silences filters for good, 0 none
    expanded: bool = True        # five versions of each image: itself and four one-pixel shifts
    learning_rate: float = 0.03
    cosine: bool = False         # the rate falls to 0 along half a cosine; the book's is constant
    epochs: int = 40             # over all versions of the training images
    batch_size: int = 10         # over all devices


PUBLISHED = {"": 99.67}          # test accuracy in % of the vote
HEADLINE = "vote_accuracy"       # the metric that stands beside it
SMOKE = Config(data="digits", members=3, filters=(8,), hidden=(30,), dropout=0.1, expanded=False,
               learning_rate=0.1, epochs=3)


def compiled_model(config, data):
    model = nielsen_convnet(data.input_shape, data.num_classes, filters=config.filters, hidden=config.hidden,
                            dropout=config.dropout, bias_stddev=config.bias_stddev)
    rate = config.learning_rate
    if config.cosine:
        rate = one_cycle(rate, config.epochs * data.train.batches_per_epoch, rise=0)
    model.compile(keras.optimizers.SGD(rate),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def train_member(config, run):
    """One network of rung 7 in a run folder of its own, chosen on validation data."""
    versions = {"variants": len(ONE_PIXEL), "vary": one_pixel_shift}
    data = mnist.load(config.data, config.batch_size, seed=run.seed, order="shuffled",
                      **(versions if config.expanded else {}))
    with run.scope():
        model = compiled_model(config, data)
    history = run.fit(model, data.train, data.validation, epochs=config.epochs, keep_best="val_accuracy")
    run.save(model, data.class_names)
    run.finish({"val_accuracy": max(row["val_accuracy"] for row in history)})


def trained_members(config, run):
    """The folders of the members, trained where they are not finished yet."""
    children = []
    for index in range(config.members):
        print(f"-- member {index + 1} of {config.members}", flush=True)
        child = run.child(f"member{index + 1}", config, seed=run.seed + index)
        if child.metrics is None:
            train_member(config, child)
        children.append(str(child.folder))
    return children


def load_member(folder, config, data):
    """The network of a finished run. Raises ValueError, naming the folder, where it cannot take part."""
    folder = Path(folder)
    for name in ("config.json", "model.keras", "metrics.json"):
        if not (folder / name).exists():
            raise ValueError(f"{folder} is not a finished run: it has no {name}. "
                             "Name run folders of networks that were trained to the end.")
    trained_on = read_json(folder / "config.json").get("config", {}).get("data", config.data)
    if trained_on != config.data:
        raise ValueError(f"the network in {folder} was trained on {trained_on}, but the vote is on "
                         f"{config.data}. Leave it out, or give --data {trained_on}.")
    model = keras.models.load_model(folder / "model.keras", compile=False)
    shapes = tuple(model.input_shape[1:]), model.output_shape[-1]
    if shapes != (data.input_shape, data.num_classes):
        raise ValueError(f"the network in {folder} takes {shapes[0]} and gives {shapes[1]} classes; "
                         f"{config.data} has {data.input_shape} and {data.num_classes}.")
    return model


def trained_otherwise(folders, config, precision):
    """{field: value} of how the runs were trained, where all agree and this vote's flags say otherwise."""
    ours = {**dataclasses.asdict(config), "precision": precision}
    trained = []
    for folder in folders:
        saved = read_json(Path(folder) / "config.json")
        fields = {**saved.get("config", {}), "precision": saved.get("precision", precision)}
        trained.append({name: tuple(value) if isinstance(value, list) else value
                        for name, value in fields.items() if name not in ("runs", "members")})
    first = trained[0]
    return {name: first[name] for name, value in ours.items() if name in first and first[name] != value
            and all(other.get(name) == first[name] for other in trained)}


def main(config, run):
    count = len({Path(folder).resolve() for folder in config.runs}) if config.runs else config.members
    if count < 2 or count < len(config.runs):
        raise ValueError("a vote needs at least 2 members, each of them once. "
                         f"Received: {', '.join(config.runs) if config.runs else f'members={count}'}")
    data = mnist.load(config.data, config.batch_size)
    folders = config.runs or trained_members(config, run)
    models = [load_member(folder, config, data) for folder in folders]   # all fit before any is asked
    otherwise = trained_otherwise(folders, config, run.precision)
    if otherwise:
        fields = ", ".join(f"{name} {value}" for name, value in otherwise.items())
        print(f"note: the runs were trained with {fields}. Give the same as flags, so that what is recorded "
              "of this vote says so.", file=sys.stderr)
    images = data.test.dataset()
    probabilities = np.stack([keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(images, verbose=0)))
                              for model in models])                      # (members, N, classes)
    labels, ballots = data.test.labels, probabilities.argmax(axis=-1)
    chosen, ties = vote(probabilities)
    agreement = [float(np.mean(one == other)) for one, other in itertools.combinations(ballots, 2)]
    draw_errors(run, data, chosen, ballots)
    return {"vote_accuracy": float(np.mean(chosen == labels)),
            "mean_probability_accuracy": float(np.mean(probabilities.mean(axis=0).argmax(axis=-1) == labels)),
            **{f"member{index}_accuracy": float(np.mean(ballot == labels))
               for index, ballot in enumerate(ballots, 1)},
            **{f"agreement_{one}_{other}": value for (one, other), value
               in zip(itertools.combinations(range(1, len(models) + 1), 2), agreement, strict=True)},
            "agreement_mean": float(np.mean(agreement)), "vote_errors": int(np.sum(chosen != labels)),
            "ties": ties}


def draw_errors(run, data, chosen, ballots, columns=8, rows=6):
    """The first test images that the vote gets wrong, each with its label and the votes."""
    import matplotlib.pyplot as plt
    wrong = np.flatnonzero(chosen != data.test.labels)
    shown = wrong[:columns * rows]
    height = max(1, -(-len(shown) // columns))
    figure, grid = plt.subplots(height, columns, figsize=(1.4 * columns, 1.7 * height + 0.5), squeeze=False,
                                layout="constrained")
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, shown, strict=False):
        axes.imshow(data.test.inputs[index].squeeze(), cmap="gray_r")
        votes = " ".join(data.class_names[ballot] for ballot in ballots[:, index])
        axes.set_title(f"{data.class_names[data.test.labels[index]]}: {votes}", fontsize=9)
    some = f", the first {len(shown)}" if len(shown) < len(wrong) else ""
    figure.suptitle(f"{len(wrong)} errors of {len(data.test)}{some} (label: votes)", fontsize=11)
    figure.savefig(run.figure("errors"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, smoke=SMOKE)
