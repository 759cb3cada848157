"""Depth and width: the same number of weights in one layer or in many, and what overfitting is cured by.

Source     Goodfellow, Bengio and Courville 2016, Deep Learning, sections 5.2, 6.4.1 and 7.1 to 7.12;
           dropout: Srivastava et al. 2014.
Run        python -m recipes run depth_and_width           (two minutes; --smoke: seconds; --data mnist)
Published  No figure: the counts of weights follow from the widths.
Departs    Few training images, and a fifth of their labels wrong on purpose: a network that learns them
           by heart pays for it. The strength of dropout and decay was chosen on validation images;
           each network is measured once on the test set, with its last weights.

A network of depth d and width w on n inputs and c classes has (n + 1) w + (d - 1) (w + 1) w + (w + 1) c
weights and biases; of each depth, the width that comes nearest to the same number is taken.
"""
import dataclasses

import keras
import numpy as np

from models import mlp
from pipelines import mnist
from pipelines.stream import Stream
from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "digits"         # no download; or mnist, fashion_mnist, kmnist, emnist
    training_size: int = 400     # the first so many training images; "more data" takes more_data
    more_data: int = 1_257       # all that digits has
    wrong_labels: float = 0.2    # share of the training labels that are turned into another digit
    parameters: int = 100_000    # of each network, as near as a whole width allows
    depths: tuple[int, ...] = (1, 2, 4, 8)           # hidden layers
    cured_depth: int = 2         # the depth on which the remedies are tried
    dropout: float = 0.5         # of the hidden units
    weight_decay: float = 0.02   # L2: lambda / n, for plain SGD the same
    learning_rate: float = 0.05
    updates: int = 2_000         # of every network, whatever the size of its training set
    batch_size: int = 20


PUBLISHED = {}
HEADLINE = "more_data_test_accuracy"
SMOKE = Config(depths=(1, 3), parameters=20_000, cured_depth=1, training_size=200, updates=120)


def count_parameters(inputs, classes, depth, width):
    """Weights and biases of a network of depth hidden layers, each of width units."""
    return (inputs + 1) * width + (depth - 1) * (width + 1) * width + (width + 1) * classes


def equal_width(inputs, classes, depth, parameters):
    """The width of so many hidden layers that comes nearest to the number of parameters.

    Raises ValueError where even layers of one unit have more than twice of them, or for a depth below 1.
    """
    if depth < 1 or count_parameters(inputs, classes, depth, 1) > 2 * parameters:
        raise ValueError("the depth must be at least 1, and the parameters enough for a unit in each layer. "
                         f"Received: depth={depth}, parameters={parameters}")
    width = 1
    while count_parameters(inputs, classes, depth, width + 1) <= parameters:
        width += 1
    gaps = [abs(count_parameters(inputs, classes, depth, w) - parameters) for w in (width, width + 1)]
    return width if gaps[0] <= gaps[1] else width + 1


def with_wrong_labels(examples, share, classes):
    """The examples, about that share of them with the label of another class: the same ones always."""
    generator = np.random.default_rng(0)
    wrong = generator.random(len(examples)) < share
    other = (examples.labels + generator.integers(1, classes, len(examples))) % classes
    return dataclasses.replace(examples, labels=np.where(wrong, other, examples.labels))


def variants(config):
    """{name: what it changes in depth, training set, dropout and decay}, the depths first."""
    cured = {"depth": config.cured_depth}
    return {**{f"depth_{depth}": {"depth": depth} for depth in config.depths},
            "dropout": {**cured, "dropout": config.dropout},
            "L2": {**cured, "weight_decay": config.weight_decay},
            "more_data": {**cured, "training_size": config.more_data}}


def compiled_model(config, data, depth, dropout=0.0, weight_decay=0.0):
    width = equal_width(int(np.prod(data.input_shape)), data.num_classes, depth, config.parameters)
    model = mlp(data.input_shape, data.num_classes, hidden=(width,) * depth, activation="relu",
                initialisation="he_normal", dropout=dropout)
    optimizer = keras.optimizers.SGD(config.learning_rate, weight_decay=weight_decay or None)
    if weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    return model


def trained(config, run, data, name, depth, training_size=None, **regularisation):
    """One variant in a run of its own -> (history, metrics)."""
    training = with_wrong_labels(data.training, config.wrong_labels, data.num_classes)
    training = training[:training_size or config.training_size]
    child = run.child(name, config)
    with child.scope():
        model = compiled_model(config, data, depth, **regularisation)
    history = child.fit(model, Stream(training, config.batch_size, seed=run.seed), data.validation,
                        updates=config.updates)
    child.save(model, data.class_names)
    fitted = model.evaluate(training.dataset(), return_dict=True, verbose=0)
    metrics = {"train_loss": fitted["loss"], "train_accuracy": fitted["accuracy"],
               **child.evaluate(model, data.test), "parameters": model.count_params()}
    child.finish(metrics)
    return history, metrics


def main(config, run):
    if min(config.training_size, config.more_data) < config.batch_size:
        raise ValueError("training_size and more_data must be at least batch_size. Received: "
                         f"{config.training_size}, {config.more_data} and {config.batch_size}")
    if not 0 <= config.wrong_labels < 1:
        raise ValueError(f"wrong_labels must be a share in [0, 1). Received: {config.wrong_labels}")
    data = mnist.load(config.data, seed=run.seed)
    results = {name: trained(config, run, data, name, **changes)
               for name, changes in variants(config).items()}
    draw_errors(run, config, results)
    draw_curves(run, config, results)
    return {f"{name}_{metric}": value for name, (_, metrics) in results.items()
            for metric, value in metrics.items()}


def draw_errors(run, config, results):
    """Training and test error of each network."""
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(figsize=(9.5, 4.6), layout="constrained")
    places = np.arange(len(results))
    for offset, split, colour in ((-0.2, "train", "tab:orange"), (0.2, "test", "tab:blue")):
        errors = [100 - 100 * metrics[f"{split}_accuracy"] for _, metrics in results.values()]
        bars = axes.bar(places + offset, errors, 0.4, color=colour,
                        label={"train": "training", "test": "test"}[split])
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.axvline(len(config.depths) - 0.5, color="0.5", linestyle=":")
    axes.set_xticks(places, [f"{name.replace('_', ' ')}\n{metrics['parameters']:,}"
                             for name, (_, metrics) in results.items()])
    axes.axhline(100 * config.wrong_labels, color="tab:orange", linestyle="--", linewidth=1,
                 label="share of the training labels that is wrong")
    axes.set(ylabel="error (%)",
             title=f"{config.training_size} training images of {config.data}, equal numbers of parameters; "
                   f"right: remedies at depth {config.cured_depth}, seed {run.seed}")
    axes.legend()
    figure.savefig(run.figure("errors"), dpi=120)
    plt.close(figure)


def draw_curves(run, config, results):
    """Loss on training and validation images by update: overfitting, and each remedy."""
    import matplotlib.pyplot as plt
    plain = f"depth_{config.cured_depth}"
    names = [*([plain] if plain in results else []), "dropout", "L2", "more_data"]
    figure, row = plt.subplots(1, len(names), figsize=(3.4 * len(names), 4), sharey=True,
                               layout="constrained")
    for axes, name in zip(row, names, strict=True):
        history = results[name][0]
        for column, label, colour in (("loss", "training", "tab:orange"),
                                      ("val_loss", "validation", "tab:blue")):
            axes.semilogy([row["updates"] for row in history], [max(row[column], 1e-4) for row in history],
                          color=colour, label=label)
        axes.set(xlabel="update", title={plain: "no remedy"}.get(name, name.replace("_", " ")))
        axes.grid(alpha=0.3)
    row[0].set_ylabel("loss")
    row[0].legend()
    figure.savefig(run.figure("curves"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, smoke=SMOKE)
