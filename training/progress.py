"""How far a training is: its history, its checkpoints, and when they are due."""
import csv
import io
import math
import re
import time
from pathlib import Path

from training import checkpoint
from training.files import replacing

UNITS = {"s": 1, "m": 60, "h": 3600}
EVERY = "10m"                  # between two checkpoints where a user says nothing


class Progress:
    """The state of a training that must survive it, and its files in the run folder.

    folder   of the run: history.csv, times.csv, tensorboard/, and checkpoints/ below it.
    objects  {name: object} of which a further update depends; see checkpoint.snapshot.
    every    "500" updates or "10m" (s, m, h) between two checkpoints, besides those that
             the training asks for.
    writes   False for all workers but the chief.
    """

    def __init__(self, folder, objects, *, every=EVERY, writes=True):
        self.folder, self.objects, self.writes = Path(folder), objects, writes
        self.every_updates, self.every_seconds = interval(every)
        self.checkpoints = checkpoint.Checkpoints(self.folder / "checkpoints", writes=writes)
        self.updates, self.history, self.times = 0, [], []
        self.saved_at, self.best, self.more = None, None, {}
        self.started = self.saved_time = time.perf_counter()
        self.writers = None

    @property
    def seconds(self):
        """Time spent on this training up to now, over all its starts."""
        return time.perf_counter() - self.started

    @property
    def due_at(self):
        """The update after which the next checkpoint is due; infinity where time decides."""
        return (self.saved_at or 0) + self.every_updates if self.every_updates else math.inf

    def due(self):
        """Whether the time or the number of updates for another checkpoint has come."""
        if self.every_updates:
            return self.updates >= self.due_at
        return time.perf_counter() - self.saved_time >= self.every_seconds

    def log(self, row):
        """Appends a row of numbers, with "updates", to the history and to its files."""
        self.history.append(row)
        self.times.append({"updates": row["updates"], "seconds": round(self.seconds, 3)})
        if self.writes:
            append_csv(self.folder / "history.csv", self.history)
            append_csv(self.folder / "times.csv", self.times)
            self.write_tensorboard(row)

    def save(self):
        """A checkpoint of everything, now."""
        state = {"updates": self.updates, "seconds": self.seconds, "history": self.history,
                 "times": self.times, "best": self.best, "more": self.more,
                 "objects": checkpoint.snapshot(self.objects)}
        self.checkpoints.save(self.updates, state)
        self.saved_at, self.saved_time = self.updates, time.perf_counter()

    def restore(self):
        """Goes back to the last checkpoint; False where there is none."""
        state = self.checkpoints.latest()
        if state is None:
            return False
        checkpoint.restore(self.objects, state["objects"])
        self.updates, self.history, self.times = state["updates"], state["history"], state["times"]
        self.best, self.more = state["best"], state["more"]
        self.started = time.perf_counter() - state["seconds"]
        self.saved_at, self.saved_time = self.updates, time.perf_counter()
        self.write_history()
        return True

    def write_history(self):
        """history.csv, which is the same for the same seed, and times.csv, which is not."""
        if self.writes:
            write_csv(self.folder / "history.csv", self.history)
            write_csv(self.folder / "times.csv", self.times)

    def write_tensorboard(self, row):
        import tensorflow as tf
        if self.writers is None:
            self.writers = {name: tf.summary.create_file_writer(str(self.folder / "tensorboard" / name))
                            for name in ("train", *(["validation"] if any(map(is_validation, row)) else []))}
        for name, value in row.items():
            if name in ("epoch", "updates"):
                continue
            kind = "validation" if is_validation(name) and "validation" in self.writers else "train"
            with self.writers[kind].as_default(step=row["updates"]):
                tf.summary.scalar(name.removeprefix("val_"), value)
        for writer in self.writers.values():
            writer.flush()

    def close(self):
        for writer in (self.writers or {}).values():
            writer.close()


def is_validation(name):
    """Whether a logged value is of the validation data."""
    return name.startswith("val_")


def interval(every):
    """"500" or 500 -> (500, None) updates; "10m" -> (None, 600.0) seconds. Raises ValueError."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh]?)", str(every))
    if found and float(found[1]) > 0:
        if found[2]:
            return None, float(found[1]) * UNITS[found[2]]
        if found[1].isdigit():
            return int(found[1]), None
    raise ValueError("checkpoint_every must be a number of updates, such as 500, or a time, such as 30s, 10m "
                     f"or 1h. Received: {every}")


def write_csv(path, rows):
    """Writes all rows anew, or removes the file where there are none."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)         # in the order of their appearance
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replacing(path) as part:
        part.write_text(text.getvalue())


def append_csv(path, rows):
    """Adds the last row to a file of write_csv; a line cut short by a crash is mended by the next restore."""
    if len(rows) > 1 and path.exists():
        with open(path, "r+", newline="") as file:
            names = file.readline().rstrip("\n").split(",")
            if set(rows[-1]) <= set(names):
                file.seek(0, io.SEEK_END)
                csv.DictWriter(file, names, lineterminator="\n").writerow(rows[-1])
                return
    write_csv(path, rows)

