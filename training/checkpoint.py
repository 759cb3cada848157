"""Checkpoints: the whole state of a training in one file, which tells whether it is whole.

A file is named by its number of updates and by its checksum, so that one rename publishes
both. The last two are kept; one that is damaged is reported and the one before is taken.
"""
import hashlib
import json
import re
import sys
from pathlib import Path

import keras
import numpy as np

from training.carried import carried_states
from training.files import remove_parts, replacing

CHECKSUM = re.compile(r".*-([0-9a-f]{16})\.npz")
PROGRESS = "progress"          # the member of the file that holds everything but arrays, as JSON
OPERATIONS = {"less": keras.ops.less, "greater": keras.ops.greater}      # how a callback compares


class Checkpoints:
    """The checkpoints in a folder: numbered ones to resume from, and the best weights so far.

    writes: False for a worker that only reads what the chief has written.
    """

    def __init__(self, folder, *, kept=2, writes=True):
        self.folder, self.kept, self.writes = Path(folder), kept, writes
        if writes:
            remove_parts(self.folder)

    def numbered(self):
        """Paths of the checkpoints to resume from, the newest first."""
        return sorted(self.folder.glob("[0-9]*-*.npz"), key=number, reverse=True)

    def save(self, updates, state):
        """Writes a nested state of JSON values and NumPy arrays, then drops what is no longer needed.

        state["best"], where there is one, is what save_best returned.
        """
        if not self.writes:
            return
        written = write(self.folder, f"{updates:012d}", state)
        for path in self.numbered():                  # damaged ones from which this training did not go on
            if number(path) >= updates and path != written:
                path.unlink()
        kept = self.numbered()[:self.kept]
        for path in self.numbered()[self.kept:]:
            path.unlink()
        needed = {best_file(path) for path in kept}
        for path in self.folder.glob("best-*.npz"):
            if path.name not in needed:
                path.unlink()

    def save_best(self, epoch, value, arrays):
        """Writes the best weights so far; the result belongs into the state as "best"."""
        if not self.writes:
            return {"epoch": epoch, "value": value, "arrays": arrays}
        return {"epoch": epoch, "value": value, "file": write(self.folder, f"best-{epoch:06d}", {
            "arrays": arrays}).name}

    def latest(self):
        """The state of the newest checkpoint that is whole, or None where there is none at all.

        Each damaged one is reported on stderr. Raises ValueError if all are damaged, or if those
        there are were written by a version of this project that named them otherwise.
        """
        damages = []
        others = sorted(path.name for path in self.folder.glob("*.npz") if not CHECKSUM.fullmatch(path.name))
        if others and not self.numbered():
            raise ValueError(f"{self.folder} holds checkpoints of another version ({', '.join(others)}). "
                             "Resume with the commit that environment.json names, or start anew in another "
                             "--run-dir.")
        for path in self.numbered():
            try:
                state = read(path)
                if state.get("best"):
                    read(self.folder / state["best"]["file"])
            except ValueError as error:
                damages.append(str(error))
                print(f"warning: {error}; taking the checkpoint before it", file=sys.stderr)
                continue
            return state
        if damages:
            raise ValueError(f"no checkpoint in {self.folder} is whole: {damages[0]}. "
                             "Start anew in another --run-dir.")
        return None

    def best(self, state):
        """The arrays that save_best was given, for the "best" of a state."""
        return state["arrays"] if "arrays" in state else read(self.folder / state["file"])["arrays"]


def number(path):
    """The number of updates in the name of a checkpoint."""
    return int(path.name.split("-")[0])


def best_file(path):
    """The file with the best weights that a numbered checkpoint needs, or None."""
    try:
        best = read(path).get("best")
    except ValueError:
        return None
    return best and best["file"]


def checksum(path):
    """The first 64 bits of a file's SHA-256, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def write(folder, name, state):
    """Writes a state to folder/<name>-<checksum>.npz and returns the path."""
    arrays = []
    text = json.dumps(packed(state, arrays))
    final = []

    def named(part):
        final.append(folder / f"{name}-{checksum(part)}.npz")
        return final[0]
    with replacing(folder / "checkpoint.npz", named=named) as part, open(part, "wb") as file:
        np.savez(file, **{f"{index:06d}": array for index, array in enumerate(arrays)},
                 **{PROGRESS: np.array(text)})
    return final[0]


def read(path):
    """The state in a file of write. Raises ValueError, naming the file, if it is missing or damaged."""
    expected = CHECKSUM.fullmatch(path.name)
    try:
        if expected is None or checksum(path) != expected[1]:
            raise ValueError("its checksum differs")
        with np.load(path, allow_pickle=False) as file:
            return unpacked(json.loads(str(file[PROGRESS])), file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ValueError(f"the checkpoint {path} is damaged ({reason})") from error


def packed(state, arrays):
    """A JSON-ready copy of a nested state, whose arrays are appended to the list and referred to."""
    if isinstance(state, dict):
        return {str(key): packed(value, arrays) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [packed(value, arrays) for value in state]
    if isinstance(state, np.generic):
        return state.item()
    if isinstance(state, np.ndarray):
        arrays.append(state)
        return {"__array__": len(arrays) - 1}
    for name, operation in OPERATIONS.items():
        if state is operation:
            return {"__operation__": name}
    return state


def unpacked(state, file):
    """What packed was given, its arrays read from an npz file; tuples have become lists."""
    if isinstance(state, list):
        return [unpacked(value, file) for value in state]
    if not isinstance(state, dict):
        return state
    if "__array__" in state:
        return file[f"{state['__array__']:06d}"]
    if "__operation__" in state:
        return OPERATIONS[state["__operation__"]]
    return {key: unpacked(value, file) for key, value in state.items()}


def storable(value):
    """Whether packed can take a value as it is."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and storable(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(storable, value))
    return (value is None or isinstance(value, (bool, int, float, str, np.generic, np.ndarray))
            or any(value is operation for operation in OPERATIONS.values()))


def variables(thing):
    """Every variable of a model, optimizer, metric or layer that a further update depends on.

    Those of a model include its optimizer's, its metrics', the seeds of its dropout and the states
    that its recurrent layers carry.
    """
    found = list(thing.variables)
    if isinstance(thing, keras.Model):
        found += carried_states(thing)
    if getattr(thing, "compiled", False):                              # a Keras model
        found += thing.optimizer.variables if thing.optimizer is not None else []
        found += thing.metrics_variables
    return list({id(variable): variable for variable in found}.values())


def snapshot(objects):
    """The state of {name: object}, to be saved and given to restore.

    An object is a Keras model, optimizer, metric, layer or variable, a tf.Variable, a
    numpy.random.Generator, or anything with get_state() and set_state(state), such as a
    replay memory; its state may nest dicts, lists, numbers, strings and NumPy arrays.
    """
    return {name: state_of(thing, name) for name, thing in objects.items()}


def state_of(thing, name):
    """What snapshot keeps of one object. Raises TypeError, naming it, if it has no state that is known."""
    if hasattr(thing, "get_state") and hasattr(thing, "set_state"):
        return thing.get_state()
    if isinstance(thing, np.random.Generator):
        return thing.bit_generator.state
    if hasattr(thing, "variables"):
        return [keras.ops.convert_to_numpy(variable) for variable in variables(thing)]
    if hasattr(thing, "assign"):
        return np.asarray(thing)
    raise TypeError(f"{name} cannot be checkpointed: a {type(thing).__name__} has neither variables nor "
                    "get_state() and set_state(state)")


def restore(objects, states):
    """Gives {name: object} what snapshot took; shapes are checked before anything changes.

    Raises ValueError if the states belong to other objects.
    """
    if set(states) != set(objects):
        raise ValueError(f"the checkpoint holds {', '.join(states)}; this training needs "
                         f"{', '.join(objects)}")
    assignments = []
    for name, thing in objects.items():
        if hasattr(thing, "get_state") or isinstance(thing, np.random.Generator):
            continue
        wanted, state = ((variables(thing), states[name]) if hasattr(thing, "variables")
                         else ([thing], [states[name]]))
        if len(state) != len(wanted):
            raise ValueError(f"the checkpoint has {len(state)} variables for {name}, which has "
                             f"{len(wanted)}: it is another network, or not built yet (build it before)")
        for array, variable in zip(state, wanted, strict=True):
            if tuple(array.shape) != tuple(variable.shape):
                raise ValueError(f"the checkpoint has {array.shape} where "
                                 f"{getattr(variable, 'path', name)} is {tuple(variable.shape)}")
            assignments.append((variable, array))
    for name, thing in objects.items():
        if isinstance(thing, np.random.Generator):
            thing.bit_generator.state = states[name]
        elif hasattr(thing, "get_state"):
            thing.set_state(states[name])
    for variable, array in assignments:
        if array.dtype.kind == "V":                    # NumPy's files forget what bfloat16 is
            array = array.view(np.dtype(keras.backend.standardize_dtype(variable.dtype)))
        variable.assign(array)
