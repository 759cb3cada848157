"""The files of a run folder as a report needs them: what is missing is None, what is broken is named."""
import csv
import functools
import io
import json
import math
import re
import zipfile
from pathlib import Path

import numpy as np

from training import card, predictions
from training.files import read_json
from training.page import number

UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)
# Layers with a kernel that can be shown as pictures, and Keras's class that it is like.
PICTURED = {"Conv2D": "Conv2D", "GroupedConv2D": "Conv2D", "PartialConv2D": "Conv2D", "Dense": "Dense"}


class Files:
    """What a run folder holds, each part None or empty where it is missing; problems names what is broken."""

    def __init__(self, folder):
        self.folder, self.problems = Path(folder), []
        if not holds_run(self.folder):
            raise FileNotFoundError(f"{folder} holds neither config.json nor metrics.json, so it is not the "
                                    "folder of a run. Name the --run-dir of a run.")
        self.about = as_dict(self.read("config.json", read_json))
        self.metrics = self.read("metrics.json", read_json)
        self.finished = self.metrics is not None
        self.metrics = as_dict(self.metrics)
        self.environment = as_dict(self.read("environment.json", read_json))
        self.history = self.read("history.csv", read_history) or {}
        self.recipe, self.name = str(self.about.get("recipe", "")), str(self.about.get("name", ""))
        self.config = as_dict(self.about.get("config"))
        self.card = card.read(self.recipe)
        self.title = " ".join(filter(None, (self.recipe or self.folder.resolve().name, self.name)))
        self.children = [path for path in sorted(self.folder.iterdir(), key=natural_order) if holds_run(path)]

    def read(self, name, reader):
        path = self.folder / name
        if not path.exists():
            return None
        try:
            return reader(path)
        except UNREADABLE as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            self.problems.append(f"{name} ({reason})")
            return None

    @functools.cached_property
    def network(self):
        return self.read("model.keras", read_network)

    @functools.cached_property
    def predictions(self):
        stored = self.read("predictions.npz", read_predictions)
        if stored is None:
            return None
        activation = (self.network or {}).get("activation", "softmax")
        return {**stored, "confidences": predictions.probabilities(stored["logits"], activation)}

    @property
    def class_names(self):
        classes = self.predictions["confidences"].shape[1]
        names = [str(name) for name in (self.network or {}).get("class_names") or ()]
        return names if len(names) == classes else [str(index) for index in range(classes)]

    @property
    def differing(self):
        """The fields that are not as in the recipe's configuration of that name: {field: its value}.

        {} where that configuration cannot be read from the source.
        """
        if self.card is None or (self.name and self.name not in self.card.named):
            return {}
        baseline = self.card.baseline(self.name)
        return {name: baseline[name] for name, value in self.config.items()
                if name in baseline and baseline[name] != value}

    @property
    def headline(self):
        """The metric that stands beside the published figure."""
        return self.card.headline if self.card is not None else "test_accuracy"

    @property
    def unit(self):
        """What the headline counts, "" where it is a fraction shown in %."""
        return self.card.unit if self.card is not None and self.card.unit != "%" else ""

    def number(self, name, value):
        """A metric as text; the headline is a fraction where the card's unit is %."""
        as_accuracy = name == self.headline and self.card is not None and self.card.unit == "%"
        return number("accuracy" if as_accuracy else name, value)

    @property
    def published(self):
        return self.card.published_for(self.name) if self.card is not None and self.name != "all" else None

    @property
    def minutes(self):
        seconds = (self.read("times.csv", read_history) or {}).get("seconds")
        if seconds is not None:
            return float(np.nanmax(seconds)) / 60 if np.isfinite(seconds).any() else None
        below = [Files(child).minutes for child in self.children]
        return sum(filter(None, below)) or None

    @property
    def best(self):
        """Index of the best epoch, the first of equals, by validation accuracy or else loss; or None."""
        for column, arg in (("val_accuracy", np.nanargmax), ("val_loss", np.nanargmin)):
            if column in self.history and np.isfinite(self.history[column]).any():
                return int(arg(self.history[column]))
        return None


def holds_run(folder):
    """Whether a folder is there that a run has written to."""
    return folder.is_dir() and ((folder / "config.json").exists() or (folder / "metrics.json").exists())


def as_dict(value):
    """The value, or {} where a damaged file holds something else."""
    return value if isinstance(value, dict) else {}


def natural_order(path):
    """2 before 10."""
    return [(int(part), "") if part.isdigit() else (math.inf, part) for part in re.split(r"(\d+)", path.name)]


def read_history(path):
    """{column: float64 (rows,)}, NaN for what is no number; columns without any number are left out."""
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    columns = {name: np.array([number_or_nan(row.get(name)) for row in rows])
               for name in (rows[0] if rows else ()) if name}
    return {name: values for name, values in columns.items() if np.isfinite(values).any()}


def number_or_nan(text):
    """A cell of history.csv as a float; NaN where it is empty or no number."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


def read_predictions(path):
    """The arrays of predictions.npz, or None if they are not a classifier's."""
    with np.load(path) as archive:
        stored = dict(archive)
    if not predictions.is_classification(stored["logits"], stored["labels"]):
        return None
    return stored


def read_network(path):
    """{"class_names": ..., "activation": ..., "first": (kind, layer name, kernel, input shape) or None}."""
    with zipfile.ZipFile(path) as archive:
        about = json.loads(archive.read("about.json")) if "about.json" in archive.namelist() else {}
        architecture = json.loads(archive.read("config.json"))
        weights = archive.read("model.weights.h5")
    import h5py
    with h5py.File(io.BytesIO(weights)) as file:
        return {"class_names": about.get("class_names"), "first": first_kernel(architecture, file),
                "activation": about.get("activation", "softmax")}


def first_kernel(architecture, group, input_shape=None):
    """The kernel nearest the input, if its layer is of PICTURED: (Keras's class, name, array, shape).

    The shape is the input's, without the batch, with the frame of zeros that the layer sees around it.
    Keras stores the weights of a Sequential or functional model under layers/<class in snake
    case>, numbered per class in the order of the layers.
    """
    seen = {}
    for layer in architecture.get("config", {}).get("layers", []):
        kind, config = layer["class_name"], layer["config"]
        if kind == "InputLayer":
            input_shape = input_shape or (config.get("batch_shape") or [None])[1:]
            continue
        if kind == "ZeroPadding2D" and len(input_shape or ()) == 3:
            (height, width, *channels), frame = input_shape, config["padding"]
            input_shape = [size if size is None else size + sum(both)
                           for size, both in zip((height, width), frame, strict=True)] + channels
        key = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
        stored = f"layers/{key}" + (f"_{seen[key]}" if key in seen else "")
        seen[key] = seen.get(key, 0) + 1
        if kind in ("Sequential", "Functional") and stored in group:
            found = first_kernel(layer, group[stored], input_shape)
            if found:
                return found
        elif kind in PICTURED and f"{stored}/vars/0" in group:
            kernel = np.asarray(group[f"{stored}/vars/0"], np.float32)
            if kernel.ndim == 3:                        # of PartialConv2D: (H, W, connections)
                kernel = kernel[:, :, None]
            return PICTURED[kind], config.get("name", key), kernel, input_shape
        elif f"{stored}/vars/0" in group and kind not in ("Normalization", "BatchNormalization"):
            return None
    return None
