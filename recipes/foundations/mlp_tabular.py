"""Tables of numbers: a class or a quantity, each with its output activation and its loss.

Source     Street, Wolberg and Mangasarian 1993, Nuclear feature extraction for breast tumor diagnosis
           (data and figure: UCI, wdbc.names); Efron et al. 2004, Least angle regression (diabetes).
Run        python -m recipes run mlp_tabular               (a minute; --smoke: two folds, seconds)
Published  97.5 % of the tumours, by a separating plane in three of the features that were found by
           search, in repeated ten-fold cross-validation.
Departs    A network with all thirty features, in five folds; each example is tested once, by a network
           that has not seen it. The settings are the same for all folds and were fixed without the
           test folds. Beside it stand logistic and linear regression on the same folds.

A class        p = sigmoid(z),  loss -y ln p - (1 - y) ln(1 - p);   its gradient in z is p - y
A quantity     z itself,        loss (z - y)^2 / 2;                 its gradient in z is z - y
"""
import dataclasses

import keras
import numpy as np
from keras import ops

from models import mlp
from pipelines import tabular
from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    folds: int = 5               # of five; fewer for a quick look
    hidden: tuple[int, ...] = (16,)        # relu
    learning_rate: float = 0.003           # of Adam
    weight_decay: float = 0.1    # decoupled: w falls by this times the learning rate per update
    epochs: int = 60
    batch_size: int = 16


PUBLISHED = {"": 97.5}
HEADLINE = "breast_cancer_accuracy"
SMOKE = Config(folds=2, epochs=8)


def half_squared_error(targets, outputs):
    """(z - y)^2 / 2 per example: (B,), (B, 1) -> (B,)."""
    return ops.square(outputs[:, 0] - ops.reshape(targets, (-1,))) / 2


def compiled_model(config, data):
    """One output z; the losses know whether it is a logit or the quantity itself."""
    model = mlp(data.input_shape, 1, hidden=config.hidden, activation="relu", initialisation="he_normal")
    if data.class_names:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        metrics = [keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)]       # z > 0 is p > 1/2
    else:
        loss, metrics = half_squared_error, []
    optimizer = keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, loss, metrics=metrics)
    return model


def baseline(data):
    """What logistic, or linear, regression says of the test fold: its z, (N,)."""
    from sklearn.linear_model import LinearRegression, LogisticRegression
    if data.class_names:
        model = LogisticRegression().fit(data.training.inputs, data.training.labels)
        return model.decision_function(data.test.inputs)
    return LinearRegression().fit(data.training.inputs, data.training.labels).predict(data.test.inputs)


def tested(config, run, name):
    """Every fold by a network that has not seen it: ([(its z, the baseline's z, labels)], [history])."""
    found, histories = [], []
    for fold in range(config.folds):
        child = run.child(f"{name}-{fold + 1}", config)
        data = tabular.load(name, config.batch_size, fold=fold, seed=run.seed)
        with child.scope():
            model = compiled_model(config, data)
        histories.append(child.fit(model, data.train, data.validation, epochs=config.epochs))
        child.save(model, data.class_names)
        child.finish(child.evaluate(model, data.test))
        outputs = model.predict(data.test.inputs, verbose=0)[:, 0]
        found.append((outputs, baseline(data), data.test.labels))
    return found, histories


def accuracy(z, labels):
    """The part, from 0 to 1, of logits (N,) on the side of zero that their labels 0 and 1 (N,) ask for."""
    return float(np.mean((z > 0) == labels))


def explained(z, targets):
    """R^2: the share of the variance that is explained, 1 - sum (y - z)^2 / sum (y - mean)^2."""
    return float(1 - np.sum((targets - z) ** 2) / np.sum((targets - targets.mean()) ** 2))


def main(config, run):
    if not 1 <= config.folds <= tabular.FOLDS:
        raise ValueError(f"folds must be in [1, {tabular.FOLDS}]. Received: {config.folds}")
    tumours, tumour_histories = tested(config, run, "breast_cancer")
    patients, patient_histories = tested(config, run, "diabetes")
    metrics = {}
    for name, folds, measure in (("breast_cancer_accuracy", tumours, accuracy),
                                 ("diabetes_r2", patients, explained)):
        network, other, labels = (np.concatenate(part) for part in zip(*folds, strict=True))
        by_fold = [measure(z, y) for z, _, y in folds]
        metrics |= {name: measure(network, labels), f"{name}_baseline": measure(other, labels),
                    f"{name}_of_folds_std": float(np.std(by_fold, ddof=1)) if len(by_fold) > 1 else 0.0,
                    f"{name}_examples": len(labels)}
    draw(run, tumours, patients, metrics)
    return {**metrics, "breast_cancer_val_accuracy": last_mean(tumour_histories, "val_accuracy"),
            "diabetes_val_loss": last_mean(patient_histories, "val_loss")}


def last_mean(histories, name):
    """The mean over folds of a column's last row."""
    return float(np.mean([rows[-1][name] for rows in histories]))


def draw(run, tumours, patients, metrics):
    """Probabilities of the tumours by class; predicted and true progression of the patients."""
    import matplotlib.pyplot as plt
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
    z, _, labels = (np.concatenate(part) for part in zip(*tumours, strict=True))
    for label, name, colour in ((0, "malignant", "tab:red"), (1, "benign", "tab:blue")):
        left.hist(1 / (1 + np.exp(-z[labels == label])), bins=np.linspace(0, 1, 26), color=colour, alpha=0.6,
                  label=name, log=True)
    left.axvline(0.5, color="black", linewidth=0.8)
    left.set(xlabel="probability of benign, sigmoid(z)", ylabel="tumours in the test folds",
             title=f"Breast cancer: {100 * metrics['breast_cancer_accuracy']:.1f} % "
                   f"(logistic regression {100 * metrics['breast_cancer_accuracy_baseline']:.1f} %)")
    left.legend(loc="upper center")
    network, linear, targets = (np.concatenate(part) for part in zip(*patients, strict=True))
    for axes, outputs, name, key in ((middle, network, "network", "diabetes_r2"),
                                     (right, linear, "linear regression", "diabetes_r2_baseline")):
        axes.plot(targets, outputs, ".", alpha=0.5, color="tab:blue")
        axes.plot([-2, 2.6], [-2, 2.6], "k--", linewidth=1)
        axes.set(xlabel="true progression (standard deviations)", ylabel="predicted",
                 xlim=(-2, 2.7), ylim=(-2, 2.7),
                 title=f"Diabetes, {name}: {100 * metrics[key]:.0f} % of the variance")
        axes.grid(alpha=0.3)
    figure.savefig(run.figure("tested"), dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    launch(main, Config, smoke=SMOKE)
