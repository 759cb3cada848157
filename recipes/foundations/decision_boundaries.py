"""Decision boundaries: a line, a kernel SVM, and networks that grow wider and deeper.

Source     Goodfellow, Bengio and Courville 2016, Deep Learning, section 6.1; the learners side by side
           as in scikit-learn's classifier comparison.
Run        python -m recipes run decision_boundaries       (a minute; --smoke: two networks on one set)
Published  No figure: half of the circles is all that a line gets right, and two units cannot
           close a boundary around the inner one.
Departs    The settings are the same for all networks. None of them is chosen on validation data.
"""
import dataclasses

import keras
import numpy as np

from models import mlp
from pipelines import toy
from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    data: tuple[str, ...] = ("moons", "circles", "spirals")
    networks: tuple[str, ...] = ("2", "3", "16", "16-16-16")     # widths of the hidden layers
    activation: str = "tanh"
    learning_rate: float = 0.01  # of Adam
    epochs: int = 60             # of 1,000 examples
    batch_size: int = 20
    svm_cost: float = 10.0       # C of the kernel SVM, whose kernel has scikit-learn's width


PUBLISHED = {}
HEADLINE = "spirals_16-16-16_accuracy"
SMOKE = Config(data=("circles",), networks=("2", "8"), epochs=15)


def hidden_widths(name):
    """"16-16-16" -> (16, 16, 16). Raises ValueError for what are no whole numbers of at least 1."""
    parts = name.split("-")
    if not all(part.isdigit() and int(part) for part in parts):
        raise ValueError("a network is named by the widths of its hidden layers, each at least 1, as in "
                         f"16 or 16-16. Received: {name}")
    return tuple(map(int, parts))


def compiled_model(config, data, hidden):
    model = mlp(data.input_shape, data.num_classes, hidden=hidden, activation=config.activation,
                initialisation="glorot_uniform")
    model.compile(keras.optimizers.Adam(config.learning_rate),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def trained_network(config, run, name, network):
    """One network in a run of its own -> score: points (N, 2) -> (N,), positive for class 1."""
    child = run.child(f"{name}-{network}", config)
    data = toy.load(name, config.batch_size, seed=run.seed)
    with child.scope():
        model = compiled_model(config, data, hidden_widths(network))
    child.fit(model, data.train, epochs=config.epochs)
    child.save(model, data.class_names)
    child.finish({**child.evaluate(model, data.test), "parameters": model.count_params()})

    def score(points):
        logits = model.predict(points.astype("float32"), batch_size=5_000, verbose=0)
        return logits[:, 1] - logits[:, 0]
    return score


def baselines(config, name):
    """Logistic regression and an SVM with a Gaussian kernel: {learner: score}."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC
    training = toy.load(name).training
    return {learner: model.fit(training.inputs, training.labels).decision_function
            for learner, model in (("linear", LogisticRegression()), ("SVM", SVC(C=config.svm_cost)))}


def main(config, run):
    for network in config.networks:
        hidden_widths(network)
    scores = {name: {**baselines(config, name),
                     **{network: trained_network(config, run, name, network) for network in config.networks}}
              for name in config.data}
    accuracies = {}
    for name, learners in scores.items():
        test = toy.load(name).test
        accuracies[name] = {learner: float(np.mean((score(test.inputs) > 0) == test.labels))
                            for learner, score in learners.items()}
    draw_boundaries(run, scores, accuracies)
    return {f"{name}_{learner}_accuracy": accuracy for name, learners in accuracies.items()
            for learner, accuracy in learners.items()}


def draw_boundaries(run, scores, accuracies):
    """A row per data set, a column per learner: what it would say of every point of the plane."""
    import matplotlib.pyplot as plt
    columns = max(map(len, scores.values()))
    figure, grid = plt.subplots(len(scores), columns, figsize=(2.4 * columns, 2.6 * len(scores) + 0.5),
                                squeeze=False, layout="constrained")
    across, up = np.meshgrid(np.linspace(-2, 2, 161), np.linspace(-2, 2, 161))
    plane = np.stack([across.ravel(), up.ravel()], axis=1)
    for row, (name, learners) in zip(grid, scores.items(), strict=True):
        test = toy.load(name).test
        for axes, (learner, score) in zip(row, learners.items(), strict=True):
            values = 1 / (1 + np.exp(-np.clip(score(plane), -30, 30))).reshape(across.shape)
            axes.contourf(across, up, values, levels=np.linspace(0, 1, 11), cmap="PuOr", alpha=0.7)
            axes.contour(across, up, values, levels=[0.5], colors="black", linewidths=1.5)
            for label, colour in ((0, "tab:orange"), (1, "tab:blue")):
                axes.plot(*test.inputs[test.labels == label][:150].T, ".", color=colour, markersize=3)
            units = {"linear": "line", "SVM": "kernel SVM"}.get(learner, f"network {learner}")
            axes.set_title(f"{units}: {100 * accuracies[name][learner]:.1f} %", fontsize=10)
            axes.set(xticks=[], yticks=[], xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
        row[0].set_ylabel(name, fontsize=12)
    figure.suptitle(f"Decision boundaries and test accuracies, seed {run.seed} "
                    "(points: 300 of the 1,000 test examples)")
    figure.savefig(run.figure("boundaries"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, smoke=SMOKE)
