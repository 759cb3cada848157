"""What a model of the trials is worth: searches of equal length, with and without it, on trainings of .2 s.

Each search trains a scikit-learn MLP on its digits (900 to train on, 897 to validate) by eight
hyperparameters, 20 trials of 12 epochs. Compared are random search, keras-tuner's Bayesian search as it is,
the same after as few random trials as ours, this project's, and, where it is installed, Optuna's TPE; the
same first trial for all. The report is results/speed/search_model.json: validation error of the best trial
after 10, 15 and 20 trials, mean and standard deviation over the seeds, and seconds per choice.

Run:  python benchmarks/search_model.py --seeds 10 [--optuna-path optuna-packages]
      --quick: two searches of 10 trials each; it shows that all runs, and measures nothing.
"""
import argparse
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import TrialStatus
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from training.device import environment
from training.files import write_json
from tuning import oracles as ours

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "speed" / "search_model.json"
INITIAL = 9                        # one more than there are hyperparameters


def sample(hp):
    """The hyperparameters as keyword arguments of MLPClassifier."""
    widths = [hp.Int(f"width.{layer}", 16, 96, step=16, default=48) for layer in (1, 2)]
    return {"hidden_layer_sizes": widths[:hp.Int("layers", 1, 2, default=1)],
            "activation": hp.Choice("activation", ["relu", "logistic"], default="relu"),
            "learning_rate_init": hp.Float("learning_rate", 0.003, 0.3, sampling="log", default=0.03),
            "alpha": hp.Float("weight_decay", 1e-6, 1e-2, sampling="log", default=1e-4),
            "momentum": hp.Float("momentum", 0.0, 0.9, step=0.1, default=0.0),
            "batch_size": hp.Choice("batch_size", [10, 20, 50, 100], default=50)}


def digits():
    """Pixels in [0, 1] and labels, shuffled once: (to train on, to validate)."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = images[order] / 16, labels[order]
    return (images[:900], labels[:900]), (images[900:], labels[900:])


def accuracy(options, data, seed):
    """Validation accuracy of one training; chance where it came to nothing."""
    train, validate = data
    network = MLPClassifier(solver="sgd", nesterovs_momentum=False, max_iter=12, random_state=seed, **options)
    try:
        return network.fit(*train).score(*validate)
    except ValueError:                       # its weights became infinite
        return 0.1


def asked_of_keras_tuner(kind, seed, trials, data, **options):
    """[(validation accuracy, seconds of the choice)] of one search by an oracle."""
    parameters = keras_tuner.HyperParameters()
    sample(parameters)
    oracle = kind(objective=keras_tuner.Objective("accuracy", "max"), max_trials=trials,
                  seed=1 + seed * 1_000_003, hyperparameters=parameters, **options)
    oracle.verbose = 0
    found = []
    with tempfile.TemporaryDirectory() as folder:
        keras_tuner.engine.base_tuner.BaseTuner(oracle, directory=folder, project_name="search")
        for number in range(trials):
            started = time.perf_counter()
            trial = oracle.create_trial("worker")
            seconds = time.perf_counter() - started
            if not number:                   # the defaults first, as all of them here
                trial.hyperparameters.values = {each.name: each.default for each in parameters.space}
                oracle.trials[trial.trial_id].hyperparameters.values = dict(trial.hyperparameters.values)
            found.append((accuracy(sample(trial.hyperparameters), data, seed), seconds))
            oracle.update_trial(trial.trial_id, {"accuracy": found[-1][0]})
            trial = oracle.trials[trial.trial_id]
            trial.status = TrialStatus.COMPLETED
            oracle.end_trial(trial)
    return found


def asked_of_optuna(seed, trials, data):
    import optuna
    from peers.suggested import Defaults, Suggested  # beside this script
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    defaults, found = {}, []
    sample(Defaults(defaults))
    study.enqueue_trial(defaults)
    for _ in range(trials):
        started = time.perf_counter()
        trial = study.ask()
        options = sample(Suggested(trial))
        seconds = time.perf_counter() - started
        found.append((accuracy(options, data, seed), seconds))
        study.tell(trial, found[-1][0])
    return found


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--optuna-path", default="", help="folder of pip install --target, with Optuna")
    parser.add_argument("--quick", action="store_true", help="two seeds, 10 trials")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if options.quick:
        options.seeds, options.trials = 2, 10
    warnings.simplefilter("ignore", ConvergenceWarning)
    theirs, data = keras_tuner.oracles, digits()
    kinds = {"random": lambda *each: asked_of_keras_tuner(theirs.RandomSearchOracle, *each),
             "keras-tuner": lambda *each: asked_of_keras_tuner(theirs.BayesianOptimizationOracle, *each),
             f"keras-tuner, {INITIAL} initial points": lambda *each: asked_of_keras_tuner(
                 theirs.BayesianOptimizationOracle, *each, num_initial_points=INITIAL),
             "this project": lambda *each: asked_of_keras_tuner(
                 ours.Ranked, *each, num_initial_points=INITIAL)}
    if options.optuna_path:
        sys.path.append(options.optuna_path)
        kinds["Optuna, TPE"] = asked_of_optuna
    report = {"date": time.strftime("%Y-%m-%d"), "environment": environment(), "seeds": options.seeds,
              "trials": options.trials, "quick": options.quick, "kinds": {}}
    for name, search in kinds.items():
        found = [search(seed, options.trials, data) for seed in range(options.seeds)]
        errors = [np.minimum.accumulate([1 - value for value, _ in one]) for one in found]
        after = {count: [float(one[count - 1]) for one in errors]
                 for count in (10, 15, 20) if count <= options.trials}
        report["kinds"][name] = {
            "best_error_after_trials": {count: {
                "mean": round(statistics.mean(values), 5),
                "standard_deviation": round(statistics.stdev(values), 5),
                "all": [round(value, 5) for value in values]} for count, values in after.items()},
            "seconds_per_modelled_choice": round(statistics.mean(
                seconds for one in found for _, seconds in one[INITIAL:]), 3)}
        write_json(options.out, report)
        print(name, {count: f"{100 * statistics.mean(values):.2f} %" for count, values in after.items()},
              report["kinds"][name]["seconds_per_modelled_choice"], flush=True)
    return report


if __name__ == "__main__":
    main()
