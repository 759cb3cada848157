"""keras-tuner's own RandomSearch on scikit-learn's digits: seconds per trial beyond model.fit's training.

The network and the space are those of convnet_mnist; all trials run in one process, as its users run them.
What is not training is building, tracing, its callbacks, and the checkpoint that it writes.
"""
import argparse
import json
import tempfile
import time
from pathlib import Path

import keras
import keras_tuner

from pipelines import mnist
from recipes.images.convnet_mnist import Config, compiled_model
from tuning.spaces import load


class Clock(keras.callbacks.Callback):
    """Seconds between the first and the last update of a fit, validation included; tracing is not."""
    seconds = 0.0

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if self.began is None:
            self.began = now
        Clock.seconds = now - self.began

    def on_train_begin(self, logs=None):
        self.began = None


class Timed(keras_tuner.RandomSearch):
    overheads = []

    def run_trial(self, trial, *arguments, **options):
        began = time.perf_counter()
        result = super().run_trial(trial, *arguments, **options)
        Timed.overheads.append(time.perf_counter() - began - Clock.seconds)
        return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    data, space = mnist.load("digits"), load("convnet_mnist")
    images, labels = data.training.arrays()
    with tempfile.TemporaryDirectory() as folder:
        tuner = Timed(lambda hp: compiled_model(space.sample(hp, Config()), data),
                      objective=keras_tuner.Objective(space.objective, space.direction),
                      max_trials=options.trials, seed=1, directory=folder, project_name="bare")
        tuner.search(images, labels, batch_size=10, epochs=options.epochs, verbose=0,
                     validation_data=data.validation.arrays(), callbacks=[Clock()])
    options.out.write_text(json.dumps([{"overhead": seconds} for seconds in Timed.overheads]))


if __name__ == "__main__":
    main()
