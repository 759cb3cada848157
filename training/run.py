"""A run: its folder, its devices, its seed, and fit and evaluate as every recipe calls them."""
import dataclasses
import json
import shutil
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np

from training import device, loop
from training.files import read_json, replacing, write_json

ABOUT = "about.json"            # member of model.keras: what predict needs beside the network


class Run:
    """The folder of a run, and what its recipe does with it.

    folder/config.json, environment.json   what was run, and where
           history.csv, metrics.json       what came out, epoch by epoch and at the end
           model.keras                     the final network, with its class names
           checkpoints/                    the state to resume from
           predictions.npz                 float32 logits and int64 labels of the last evaluation
           figures/*.png, report.html      to look at

    Raises FileExistsError if the folder holds a run and resume is False.
    """

    def __init__(self, folder, *, recipe="", config=None, name="", seed=0, strategy="auto", precision="float32",
                 jit="auto", resume=False):
        self.folder, self.recipe, self.config, self.name = Path(folder), recipe, config, name
        self.seed, self.precision, self.jit, self.resume = seed, precision, jit, resume
        if jit not in ("auto", "on", "off"):
            raise ValueError(f"jit must be auto, on or off. Received: {jit}")
        self.strategy_name = strategy
        self.strategy = device.strategy(strategy)
        device.set_precision(precision)
        keras.utils.set_random_seed(seed)
        if (self.folder / "config.json").exists() and not resume:
            raise FileExistsError(f"{folder} already holds a run. Continue it with "
                                  f"`python -m recipes resume {folder}`, or name another --run-dir.")
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "config.json", {
            "recipe": recipe, "name": name, "seed": seed, "strategy": strategy, "precision": precision,
            "jit": jit, "config": dataclasses.asdict(config) if config is not None else {}})
        if not (self.folder / "environment.json").exists():
            write_json(self.folder / "environment.json", device.environment())

    @property
    def checkpoints(self):
        return self.folder / "checkpoints"

    @property
    def metrics(self):
        """What main returned, or None while the run is not finished."""
        path = self.folder / "metrics.json"
        return read_json(path) if path.exists() else None

    def child(self, name, config, seed=None):
        """A run in a folder of its own below this one, for recipes that train several networks.

        seed: by default this run's own.
        """
        return Run(self.folder / name, recipe=self.recipe, config=config, name=name,
                   seed=self.seed if seed is None else seed, strategy=self.strategy_name,
                   precision=self.precision, jit=self.jit,
                   resume=self.resume and (self.folder / name / "config.json").exists())

    def scope(self):
        """Build and compile models in here."""
        return self.strategy.scope()

    def fit(self, model, stream, validation=None, **options):
        """Trains, resumes where there is a checkpoint; see training.loop.fit for the options."""
        options.setdefault("verbose", 1 if sys.stdout.isatty() else 2)
        history = loop.fit(model, stream, folder=self.checkpoints, strategy=self.strategy, validation=validation,
                           jit=self.jit == "on", **options)
        return history

    def evaluate(self, model, examples, batch_size=500):
        """{"test_loss": ..., "test_accuracy": ...} on a finite split; keeps the logits for the report."""
        data = examples.dataset(batch_size)
        metrics = model.evaluate(data, return_dict=True, verbose=0)
        logits = model.predict(data, verbose=0)
        with replacing(self.folder / "predictions.npz") as part:
            np.savez_compressed(part, logits=logits.astype(np.float32), labels=examples.labels)
        return {f"test_{name}": float(value) for name, value in metrics.items()}

    def save(self, model, class_names=()):
        """Writes model.keras, with what one needs to feed it raw images."""
        with replacing(self.folder / "model.keras") as part:
            model.save(part)
            with zipfile.ZipFile(part, "a") as archive:
                archive.writestr(ABOUT, json.dumps({"recipe": self.recipe, "class_names": list(class_names)}))

    def figure(self, name):
        """The path under which a picture of that name belongs."""
        (self.folder / "figures").mkdir(exist_ok=True)
        return self.folder / "figures" / f"{name}.png"

    def finish(self, metrics):
        """Writes metrics.json, the sign that the run is complete, and drops the checkpoints."""
        write_json(self.folder / "metrics.json", metrics)
        shutil.rmtree(self.checkpoints, ignore_errors=True)


