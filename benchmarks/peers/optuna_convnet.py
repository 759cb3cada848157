"""Optuna on the space of tuning/images/convnet_mnist: TPE, its median pruner, all trials in one process.

Network, data and training are this project's, so that only the search differs: each trial is the recipe's
main, which reports its validation accuracy after every epoch. Trials are ended when the time is over, with
the best value so far.
"""
import argparse
import dataclasses
import gc
import json
import shutil
import tempfile
import time
from pathlib import Path

import keras
import optuna
import tensorflow as tf
from suggested import Defaults, Suggested  # beside this script

from recipes.images import convnet_mnist
from training.command_line import from_arguments
from training.run import Trial
from tuning.spaces import load


class Reporting(keras.callbacks.Callback):
    def __init__(self, trial, deadline):
        super().__init__()
        self.trial, self.deadline, self.best, self.epoch = trial, deadline, None, 0

    def on_epoch_end(self, epoch, logs=None):
        self.epoch = epoch
        self.best = max(self.best or 0.0, logs["val_accuracy"])
        self.trial.report(logs["val_accuracy"], epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned

    def on_train_batch_end(self, batch, logs=None):
        if time.monotonic() > self.deadline:
            raise optuna.TrialPruned


class Reported(Trial):
    """A trial of ours whose fit takes one more callback."""

    def fit(self, model, stream, validation=None, **options):
        return super().fit(model, stream, validation, callbacks=[self.reporting], verbose=0, **options)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="-- fields of the recipe that are fixed")
    options = parser.parse_args()
    started, trials = time.monotonic(), []
    deadline = started + 60 * options.minutes
    space = load("convnet_mnist")
    base, _ = from_arguments(convnet_mnist.Config, convnet_mnist.Config(), options.rest[1:])

    def objective(trial):
        config = space.sample(Suggested(trial), base)
        folder, outcome = Path(tempfile.mkdtemp()), "finished"
        run = Reported(folder / "run", recipe="convnet_mnist", config=config, seed=options.seed)
        run.reporting = Reporting(trial, deadline)
        value = None
        try:
            value = convnet_mnist.main(config, run)["val_accuracy"]
            return value
        except optuna.TrialPruned:
            value, outcome = run.reporting.best, "pruned"
            raise
        except FloatingPointError as error:
            outcome = "diverged"
            raise optuna.TrialPruned from error
        finally:
            trials.append({"value": value, "outcome": outcome, "seconds": time.monotonic() - started,
                           "config": dataclasses.asdict(config)})
            keras.backend.clear_session()
            gc.collect()
            shutil.rmtree(folder, ignore_errors=True)

    defaults = {}
    space.sample(Defaults(defaults), base)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_warmup_steps=1),
                                sampler=optuna.samplers.TPESampler(seed=options.seed))
    study.enqueue_trial(defaults)                # as ours: the recipe's own configuration first
    study.optimize(objective, timeout=60 * options.minutes)
    options.out.write_text(json.dumps(trials))
    print(f"{len(trials)} trials; TensorFlow {tf.__version__}, Optuna {optuna.__version__}")


if __name__ == "__main__":
    main()
