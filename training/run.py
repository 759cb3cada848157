"""A run: its folder, its devices, its seed, and fit and evaluate as every recipe calls them."""
import csv
import dataclasses
import datetime
import gc
import json
import re
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from training import carried, device, loop, multi_worker, predictions, reading, replicas
from training.files import read_json, replacing, write_json
from training.progress import EVERY, interval
from training.updates import Updates

ABOUT = "about.json"            # member of model.keras: what predict needs beside the network
CONFIG, ENVIRONMENT, METRICS, HISTORY, MODEL = (
    "config.json", "environment.json", "metrics.json", "history.csv", "model.keras")


# What Keras says of a Lambda layer, and of a lambda where it expects the name of an activation.
CODE = re.compile(r"safe_mode|identifier: \{'value': ")


class Run:
    """The folder of a run, and what its recipe does with it.

    folder/config.json, environment.json   what was run, and where
           history.csv, metrics.json       what came out, epoch by epoch and at the end
           times.csv                       seconds of training at each row of history.csv
           model.keras                     the final network, with its class names
           checkpoints/                    the state to resume from
           predictions.npz                 float32 logits and int64 labels of the last evaluation, and of
                                           images the most confident mistakes as stored, with their indices
           figures/*.png, report.html      to look at; tensorboard/ holds the history for TensorBoard

    config: of the recipe; where it has a field `parts`, TensorFlow's threads are shared between so many
    parts of a batch, which the recipe gives to fit as in_parts.
    changed: the fields of config that the command line set, {name: value}.
    configs: {name: Config} of a series, whose networks are children of this run.
    checkpoint_every: updates ("500") or time ("10m") between two checkpoints within an epoch.
    deterministic: operations that repeat bit by bit, where TensorFlow would take faster ones.
    synchronized: batch normalisation over the batches of all devices, not of each alone.
    part: whether its recipe trains it as a part of another run, and cannot measure it by itself.
    fold: "2/5" to validate on the second fifth of the training and validation examples.
    Raises FileExistsError if the folder holds results and resume is False, OSError if it
    cannot be written.
    """
    searching = False              # whether this is a trial of a search

    def __init__(self, folder, *, recipe="", config=None, name="", seed=0, strategy="auto",
                 precision="float32", jit="auto", resume=False, data_dir="", changed=None, configs=None,
                 checkpoint_every=EVERY, deterministic=False, synchronized=False, fold="", part=False):
        self.folder, self.recipe, self.config, self.name = Path(folder), recipe, config, name
        self.seed, self.precision, self.jit, self.data_dir = seed, precision, jit, data_dir
        self.resume, self.checkpoint_every = resume, checkpoint_every
        self.deterministic, self.synchronized = deterministic, synchronized
        self.fold_name, self.fold_taken = fold, False
        interval(checkpoint_every)
        parts(fold)
        if jit not in ("auto", "on", "off"):
            raise ValueError(f"jit must be auto, on or off. Received: {jit}")
        if jit == "on" and strategy == "multi_worker":
            raise ValueError("--jit on does not go with --strategy multi_worker: take --jit off")
        self.strategy_name, self.configs = strategy, configs
        device.share_threads(getattr(config, "parts", 1))
        self.strategy = device.strategy(strategy)
        if jit == "on" and isinstance(self.strategy, tf.distribute.MirroredStrategy):
            raise ValueError(f"--jit on compiles the update of one device, and --strategy {strategy} "
                             "mirrors it over all of them here: take --jit off, or --strategy none for one")
        self.cluster = multi_worker.cluster() if strategy == "multi_worker" else None
        self.writes = self.cluster is None or self.cluster.is_chief
        self.output = self.folder
        device.set_precision(precision)
        if device.emulated(precision) and self.writes:
            print(f"warning: this processor has no instructions for --precision {precision} and emulates it: "
                  "float32 may be many times as fast", file=sys.stderr)
        if deterministic:
            tf.config.experimental.enable_op_determinism()
        gc.collect()           # the network and data of a run before this one, which reference each other
        keras.utils.set_random_seed(seed)
        self.started = time.perf_counter()
        values = {"recipe": recipe, "name": name, "seed": seed, "strategy": strategy, "precision": precision,
                  "jit": jit, "data_dir": data_dir, "checkpoint_every": checkpoint_every,
                  "deterministic": deterministic, "synchronized": synchronized, "fold": fold,
                  "changed": changed or {},
                  "config": dataclasses.asdict(config) if config is not None else {}}
        if part:
            values["part"] = True
        if configs is not None:
            values["configs"] = {name: dataclasses.asdict(config) for name, config in configs.items()}
        self.open(values)

    def open(self, values):
        """Makes the folder, or goes on in it; a worker that is not the chief writes to one of its own."""
        if not self.writes:
            self.temporary = tempfile.TemporaryDirectory()
            self.output = Path(self.temporary.name)
            return
        if not self.resume:
            refuse_results(self.folder)
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / CONFIG, values)
            if not (self.folder / ENVIRONMENT).exists() or not self.resume:
                write_json(self.folder / ENVIRONMENT, device.environment())
        except OSError as error:
            raise type(error)(f"the run folder {self.folder} cannot be written ({error.strerror}). "
                              "Name another --run-dir.") from error

    @property
    def checkpoints(self):
        return self.folder / "checkpoints"

    @property
    def metrics(self):
        """What main returned, or None while the run is not finished."""
        path = self.folder / METRICS
        return read_json(path) if path.exists() else None

    @property
    def series(self):
        """Whether this run is only the folder of several others."""
        return self.configs is not None

    @property
    def fold(self):
        """What a recipe gives to its pipeline's load: (part, of so many) that validates, or None."""
        self.fold_taken = True
        return parts(self.fold_name)

    def validation_size(self, asked, otherwise):
        """How many training examples validate: those asked for, and where none are, as a search and
        folds cannot do without: otherwise.
        """
        return asked or (otherwise if self.searching or self.fold else 0)

    def child(self, name, config, *, seed=None, changed=None, part=True):
        """A run in a folder of its own below this one, for recipes that train several networks.

        seed: by default this run's own. part: False where the whole recipe runs in it, as in a series.
        """
        return type(self)(self.folder / name, recipe=self.recipe, config=config, name=name,
                          seed=self.seed if seed is None else seed, strategy=self.strategy_name,
                          precision=self.precision, jit=self.jit,
                          data_dir=self.data_dir, changed=changed, checkpoint_every=self.checkpoint_every,
                          deterministic=self.deterministic, synchronized=self.synchronized,
                          fold=self.fold_name, part=part,
                          resume=self.resume and (self.folder / name / CONFIG).exists())

    def scope(self):
        """Build and compile models in here."""
        return self.strategy.scope()

    def fit(self, model, stream, validation=None, *, saved=None, **options):
        """Trains, resumes where there is a checkpoint; see training.loop.fit for the options.

        saved: the network that the recipe saves, where model has layers beside it for training alone.
        A run that is finished, as a child may be when its series goes on, is not trained again.
        """
        if self.metrics is not None and (self.folder / MODEL).exists():
            return self.as_it_was(saved or model, stream)
        options.setdefault("verbose", 1 if sys.stdout.isatty() else 2)
        options.setdefault("checkpoint_every", self.checkpoint_every)
        if self.synchronized:
            replicas.synchronize(model, self.strategy)
            options["in_parts"] = 1                  # else statistics would be of parts again
        if not self.writes:
            options["verbose"] = 0
        with multi_worker.lost_peers(self.cluster):
            return loop.fit(model, stream, folder=self.folder, strategy=self.strategy, validation=validation,
                            jit=self.jit == "on", cluster=self.cluster, **options)

    def as_it_was(self, model, stream):
        """Gives model the weights of model.keras and returns the stored history."""
        if not model.built:
            model(tf.nest.map_structure(lambda values: values[:1], stream.batch(0)[0]))
        weights, wanted = load_network(self.folder / MODEL).get_weights(), model.get_weights()
        if [x.shape for x in weights] != [x.shape for x in wanted]:
            raise ValueError(f"{self.folder / MODEL} is another network than the one of its {CONFIG}")
        model.set_weights(weights)
        return read_history(self.folder)

    def updates(self, total, objects):
        """A range(total) that resumes, for a loop of the recipe's own; see training.updates.Updates."""
        if self.cluster is not None:
            raise ValueError("a recipe with a loop of its own runs on one machine: take another --strategy")
        return Updates(total, objects, folder=self.folder, checkpoint_every=self.checkpoint_every)

    def evaluate(self, model, examples, batch_size=None):
        """{"test_loss": ..., "test_accuracy": ...} on a finite split; keeps the logits for the report.

        Of networks that answer with a sequence, or several times, only the metrics.
        """
        data = examples.dataset(batch_size) if batch_size else examples.dataset()
        with multi_worker.lost_peers(self.cluster), reading.named(examples):
            metrics = model.evaluate(data, return_dict=True, verbose=0, callbacks=[carried.Apart()])
            if predictions.one_per_example(examples.labels):
                self.keep_predictions(model.predict(data, verbose=0).astype(np.float32), examples)
        return {f"test_{name}": float(value) for name, value in metrics.items()}

    def keep_predictions(self, logits, examples):
        mistakes = predictions.kept_mistakes(logits, examples.labels, examples.inputs)
        with replacing(self.output / "predictions.npz") as part:
            np.savez_compressed(part, logits=logits, labels=examples.labels, **mistakes)

    def save(self, model, class_names=(), *, mean=0.0, std=1.0, **preprocessing):
        """Writes model.keras, with what one needs to feed it raw images, or what preprocessing says.

        The model takes (pixel / 255 - mean) / std; mean and std are numbers, or one per channel.
        preprocessing: values for JSON, for the reader that recipes.__main__ has for its "kind".
        """
        about = {"recipe": self.recipe, "class_names": list(class_names), "mean": mean, "std": std,
                 **preprocessing}
        with replacing(self.output / MODEL) as part:
            model.save(part)
            with zipfile.ZipFile(part, "a") as archive:
                archive.writestr(ABOUT, json.dumps(about))

    def figure(self, name):
        """The path under which a picture of that name belongs."""
        (self.output / "figures").mkdir(exist_ok=True)
        return self.output / "figures" / f"{name}.png"

    def finish(self, metrics):
        """Writes metrics.json, the sign that the run is complete, and drops the checkpoints."""
        if not self.writes:
            return
        environment = read_json(self.folder / ENVIRONMENT)
        write_json(self.folder / ENVIRONMENT, {
            **environment, "seconds": round(time.perf_counter() - self.started, 1),    # since the last start
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")})
        write_json(self.folder / METRICS, metrics)
        self.drop_checkpoints()

    def drop_checkpoints(self):
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def wait_for_all(self):
        """Returns when all workers have come here: one that ends earlier would seem lost to the others."""
        if self.cluster is not None:
            self.cluster.wait("end of the run")


class Trial(Run):
    """A run of a search: it never looks at the test set, and keeps its checkpoints to be trained further."""
    searching = True

    def evaluate(self, model, examples, batch_size=None):
        return {}

    def save(self, model, class_names=(), **preprocessing):
        pass

    def finish(self, metrics):
        if self.fold_name and not self.fold_taken:
            raise ValueError(f"{self.recipe} does not cross-validate: take --repeats in place of --folds")
        super().finish(metrics)

    def drop_checkpoints(self):
        pass


class Evaluation(Run):
    """A finished run looked at again: fit loads its weights, and nothing is written to its folder."""

    def open(self, values):
        if not (self.folder / CONFIG).exists():
            raise FileNotFoundError(f"{self.folder} holds no run: it has no {CONFIG}")
        self.recomputed = None
        self.pictures = tempfile.TemporaryDirectory()

    @property
    def metrics(self):
        return self.recomputed

    def fit(self, model, stream, validation=None, *, saved=None, **options):
        return self.as_it_was(saved or model, stream)

    def keep_predictions(self, logits, examples):
        pass

    def save(self, model, class_names=(), **preprocessing):
        pass

    def figure(self, name):
        return Path(self.pictures.name) / f"{name}.png"

    def finish(self, metrics):
        self.recomputed = metrics


def parts(fold):
    """"2/5" -> (2, 5), "" -> None. Raises ValueError."""
    part, _, count = fold.partition("/")
    if fold and not (part.isdecimal() and count.isdecimal() and 1 <= int(part) <= int(count) > 1):
        raise ValueError(f"--fold takes part/parts, such as 2/5. Received: {fold}")
    return (int(part), int(count)) if fold else None


def refuse_results(folder):
    """Raises FileExistsError if a new run in that folder would overwrite anything.

    A run that ended before its first checkpoint leaves nothing of worth: its folder is free.
    """
    config = folder / CONFIG
    if config.exists() and "recipe" not in read_json(config):
        raise FileExistsError(f"{config} is not of a run. Name another --run-dir.")
    written = [path for name in (METRICS, HISTORY, MODEL, "checkpoints/*", "*/" + METRICS, "*/" + HISTORY,
                                 "*/" + MODEL, "*/checkpoints/*") for path in folder.glob(name)]
    if written:
        raise FileExistsError(f"{folder} already holds a run. Go on with it by "
                              f"`python -m recipes resume {folder}`, or name another --run-dir.")


def load_network(path):
    """The uncompiled model in a .keras file, whose own layers, if any, are imported already.

    Raises FileNotFoundError, or ValueError for a damaged file, naming it.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no model {path}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a Keras model, or damaged: it is no zip archive")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:                     # Keras raises many types for a damaged file
        if CODE.search(str(error)):
            raise ValueError(f"{path} is refused: it carries code, as a Lambda layer or a lambda function, "
                             "which loading it would run.") from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{path} is not a Keras model, or damaged: {reason}") from error


def read_history(folder):
    """The rows of history.csv, as fit returned them."""
    path = Path(folder) / HISTORY
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return [{name: int(value) if name in ("epoch", "updates") else float(value)
                 for name, value in row.items()} for row in csv.DictReader(file)]
