"""Finished classifiers decide together, by vote or mean: how right, how much in agreement, how sure.

Source     Hansen and Salamon 1990, Neural network ensembles; Lakshminarayanan et al. 2017, arXiv:1612.01474,
           for the mean of probabilities; Guo et al. 2017, arXiv:1706.04599, for the calibration error.
Run        python -m recipes run ensemble --runs RUN_DIR RUN_DIR ...      (without --runs three small
           networks are trained on digits first; --smoke: seconds, no download)
Published  No figure: it is that of the members.
Departs    In nothing that has a number. The members are finished runs of any recipes whose test images are
           the same: their stored outputs are read, and no network is run again.
"""
import dataclasses
import itertools
import types
from pathlib import Path

import keras
import numpy as np

from models import mlp
from pipelines import digits
from training import launch
from training.files import read_json
from training.predictions import calibration, is_classification, probabilities, vote


@dataclasses.dataclass(frozen=True)
class Config:
    runs: tuple[str, ...] = ()   # folders of finished runs; none: small networks on digits, trained here
    decision: str = "mean"       # of the probabilities; or "vote", a plurality
    members: int = 3             # how many to train, with seeds seed, seed + 1, ... (without runs)
    hidden: int = 12             # units of each of those
    epochs: int = 30             # of each of those


HEADLINE = "test_accuracy"
SMOKE = Config(epochs=12)


def train_member(config, run):
    """A small dense network on digits, in a run folder of its own."""
    data = digits.load(20, seed=run.seed)
    with run.scope():
        model = mlp(data.input_shape, data.num_classes, hidden=(config.hidden,), activation="relu")
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                      metrics=["accuracy"])
    run.fit(model, data.train, data.validation, epochs=config.epochs)
    run.save(model, data.class_names)
    run.finish(run.evaluate(model, data.test))


def trained_members(config, run):
    """The folders of the members, trained where they are not finished yet."""
    children = [run.child(f"member{index + 1}", config, seed=run.seed + index)
                for index in range(config.members)]
    for child in children:
        if child.metrics is None:
            train_member(config, child)
    return tuple(str(child.folder) for child in children)


def stored_outputs(folder):
    """(probabilities float64 (N, K), labels int64 (N,)) of a finished run, or ValueError that names it."""
    folder = Path(folder)
    if not (folder / "metrics.json").exists():
        raise ValueError(f"{folder} is not a finished run: it has no metrics.json. Name run folders of "
                         "networks that were trained to the end.")
    if not (folder / "predictions.npz").exists():
        raise ValueError(f"{folder} kept no outputs of its network: it has no predictions.npz")
    with np.load(folder / "predictions.npz") as stored:
        outputs, labels = stored["logits"], stored["labels"]
    if not is_classification(outputs, labels):
        raise ValueError(f"the outputs in {folder} are not those of a classifier")
    return probabilities(outputs), labels


def members_together(folders):
    """(probabilities (members, N, K), labels (N,)), or ValueError where the test sets are not the same."""
    found = [stored_outputs(folder) for folder in folders]
    shape, labels = found[0][0].shape, found[0][1]
    for folder, (outputs, other) in zip(folders, found, strict=True):
        if outputs.shape != shape or (labels != other).any():
            about = [read_json(Path(one) / "config.json") for one in (folders[0], folder)]
            told = [f"{one.get('recipe', '')} {one.get('config', {}).get('data', '')}" for one in about]
            raise ValueError(
                f"{folder} ({told[1].strip()}) was tested on other examples than {folders[0]} "
                f"({told[0].strip()}): {len(outputs)} of {outputs.shape[1]} classes, here {shape[0]} of "
                f"{shape[1]}, or other labels. Name runs on the same data.")
    return np.stack([outputs for outputs, _ in found]), labels


def main(config, run):
    if config.decision not in ("mean", "vote"):
        raise ValueError(f'decision must be "mean" or "vote". Received: {config.decision!r}')
    count = len({Path(folder).resolve() for folder in config.runs}) if config.runs else config.members
    if count < 2 or count < len(config.runs):
        raise ValueError("an ensemble needs at least 2 members, each of them once. "
                         f"Received: {', '.join(config.runs) if config.runs else f'members={count}'}")
    folders = config.runs or trained_members(config, run)
    outputs, labels = members_together(folders)
    ballots, mean = outputs.argmax(axis=-1), outputs.mean(axis=0)
    chosen, ties = vote(outputs)
    right = {"vote": float(np.mean(chosen == labels)),
             "mean": float(np.mean(mean.argmax(axis=-1) == labels))}
    members = [float(np.mean(ballot == labels)) for ballot in ballots]
    agreement = np.array([[np.mean(one == other) for other in ballots] for one in ballots])
    errors = [calibration(each, labels).error for each in outputs]
    # For the report: the mean, or how the members voted, as if they were the outputs of one network.
    shares = mean if config.decision == "mean" else np.stack(
        [np.mean(ballots == label, axis=0) + 1e-3 * mean[:, label] for label in range(mean.shape[1])], axis=1)
    run.keep_predictions(np.log(shares / shares.sum(axis=1, keepdims=True) + 1e-12),
                         types.SimpleNamespace(labels=labels, inputs=np.empty((len(labels), 0))))
    draw(run, folders, members, right, agreement, outputs, labels)
    return {"test_accuracy": right[config.decision], "vote_accuracy": right["vote"],
            "mean_probability_accuracy": right["mean"],
            **{f"member{index}_accuracy": value for index, value in enumerate(members, 1)},
            "agreement_mean": float(np.mean([agreement[pair] for pair in itertools.combinations(
                range(len(folders)), 2)])),
            "calibration_error": calibration(mean, labels).error,
            "member_calibration_error_mean": float(np.mean(errors)), "ties": ties}


def draw(run, folders, members, right, agreement, outputs, labels):
    """Accuracy of members and ensemble; how often each two agree; accuracy against confidence."""
    import matplotlib.pyplot as plt
    figure, (bars, matrix, curve) = plt.subplots(1, 3, figsize=(13, 4.4), layout="constrained")
    names = [str(index) for index in range(1, len(folders) + 1)]
    bars.bar([*names, "vote", "mean"], [100 * value for value in (*members, *right.values())],
             color=["tab:gray"] * len(members) + ["tab:blue", "tab:orange"])
    lowest = 100 * min(*members, *right.values())
    bars.set(ylabel="test accuracy (%)", xlabel="member", title="alone and together", ylim=(lowest - 2, None))
    image = matrix.imshow(100 * agreement, cmap="viridis", vmax=100)
    matrix.set_xticks(range(len(names)), names)
    matrix.set_yticks(range(len(names)), names)
    matrix.set(title="same answer (% of examples)", xlabel="member", ylabel="member")
    figure.colorbar(image, ax=matrix, shrink=0.8)
    curve.plot([0, 1], [0, 1], color="black", linewidth=0.8, label="as sure as right")
    for each in outputs:
        found = calibration(each, labels)
        curve.plot(found.confidence, found.accuracy, color="tab:gray", alpha=0.5)
    found = calibration(outputs.mean(axis=0), labels)
    curve.plot(found.confidence, found.accuracy, "o-", color="tab:orange",
               label=f"mean: error {found.error:.3f}")
    curve.set(xlabel="confidence", ylabel="accuracy", title="calibration (grey: members)")
    curve.legend()
    figure.savefig(run.figure("ensemble"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, smoke=SMOKE)
