"""A search: its folder, its settings, and the process that gives out trials and sees to their end."""
import contextlib
import dataclasses
import fcntl
import os
import shutil
import socket
import threading
import time
import traceback
from pathlib import Path

from training.command_line import checked_config
from training.files import read_json, write_json

ALGORITHMS = ("random", "grid", "bayesian", "hyperband")
SETTINGS, STATE, CHIEF = "search.json", "oracle.json", "chief.json"
GOOD = ("finished", "pruned")  # outcomes with a value of their own
LOCAL = "local"                # begins the names of the workers in the search's own process
ERRORS = 3                     # trials in a row that end in an exception stop the search


class Stopped(RuntimeError):
    """The search cannot go on as it is; its message says why."""


class Search:
    """The folder of a search.

    folder/search.json           what is searched, and how
           oracle.json           keras-tuner's state and all trials, replaced as a whole
           chief.json            where workers of other machines find the chief
           trial_00/             config.json, run/ (the run folder), result.json once it has ended
           report.html

    The settings are attributes: space, recipe, algorithm, trials, epochs, factor, initial_points,
    seed, repeats, folds, pruning, minutes, base, fixed, flags, objective, direction.
    Raises FileNotFoundError or ValueError, in a sentence, if the folder holds no search.
    """
    initial_points = None          # of bayesian; None: one more than there are parameters

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        path = self.folder / SETTINGS
        if not self.folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        if not path.exists():
            raise FileNotFoundError(f"{folder} holds no search: it has no {SETTINGS}")
        vars(self).update(read_json(path))
        self.state_path = self.folder / STATE
        self.seconds_before, self.started = 0.0, None
        self.messages, self.errors_in_a_row, self.first_error = print, 0, ""
        self.rejections, self.succeeded = [], False
        self.lock = threading.Lock()

    @classmethod
    def new(cls, folder, space, base, **settings):
        """Writes the settings of a new search; base is the Config that it starts from.

        Raises FileExistsError if the folder holds one, ValueError if the settings do not fit.
        """
        folder = Path(folder)
        if (folder / SETTINGS).exists():
            raise FileExistsError(f"{folder} already holds a search. Go on with it by "
                                  f"`python -m tuning resume {folder}`, or name another --folder.")
        if folder.exists() and any(folder.iterdir()):
            raise FileExistsError(f"{folder} is not empty. Name another --folder.")
        if settings["algorithm"] == "hyperband" and space.budget is None:
            raise ValueError(f"{space.name} does not go with hyperband: its space names no BUDGET, because a "
                             "shorter training of it is no beginning of a longer one")
        epochs = getattr(base, space.budget) if space.budget else None
        settings = {"space": space.name, "recipe": recipe_name(space), "objective": space.objective,
                    "direction": space.direction, "budget": space.budget, "epochs": epochs,
                    "base": dataclasses.asdict(base), "started": time.time(), **settings}
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / SETTINGS, settings)
        return cls(folder)

    # What the oracle and the workers ask

    @property
    def seconds(self):
        """Time spent on this search, over all its starts."""
        return self.seconds_before + (0 if self.started is None else time.monotonic() - self.started)

    @property
    def time_is_over(self):
        return self.minutes is not None and self.seconds >= 60 * self.minutes

    def trial_folder(self, trial_id):
        return self.folder / f"trial_{trial_id}"

    def result(self, trial_id):
        """How a trial has ended, or None while it has not."""
        path = self.trial_folder(trial_id) / "result.json"
        return read_json(path) if path.exists() else None

    def parts(self):
        """The trainings of one trial: [{"name", "seed", "fold"}], for each seed each fold."""
        return [{"name": f"run-{seed}" + (f"-{fold}" if self.folds else ""), "seed": seed,
                 "fold": f"{fold}/{self.folds}" if self.folds else ""}
                for seed in range(self.seed, self.seed + self.repeats)
                for fold in range(1, max(1, self.folds) + 1)]

    def load_space(self):
        from tuning import spaces
        self.loaded = spaces.load(self.space)
        self.base_config = checked_config(self.base, self.loaded.Config, self.folder / SETTINGS)

    def hyperparameters(self):
        return self.loaded.hyperparameters(self.base_config, self.fixed)

    def write_config(self, trial):
        """config.json of a trial, from its values; what sample refuses is written there as the reason."""
        path, values = self.trial_folder(trial.trial_id) / "config.json", trial.hyperparameters.values
        if path.exists():
            return
        about = {"recipe": self.recipe, "config": self.base}
        try:
            config = self.loaded.config(trial.hyperparameters, self.base_config, self.fixed)
            if "tuner/epochs" in values:                                     # Hyperband's
                config = dataclasses.replace(config, **{self.budget: int(values["tuner/epochs"])})
            about["config"] = dataclasses.asdict(config)
        except (ValueError, TypeError) as error:
            about["rejected"] = str(error)
        if values.get("tuner/trial_id"):
            about.update(continues=values["tuner/trial_id"],
                         continued_epochs=int(values["tuner/initial_epoch"]))
        write_json(path, about)

    def ended(self, trial_id, values, result):
        """Tells of a trial that has ended, and keeps count of those that ended badly."""
        self.messages(line(self, trial_id, values, result))
        with self.lock:
            outcome = result["outcome"]
            if outcome == "error":
                self.errors_in_a_row += 1
                self.first_error = self.first_error or result["traceback"]
            elif outcome not in ("killed", "unfinished"):
                self.errors_in_a_row, self.first_error = 0, ""
            self.succeeded = self.succeeded or outcome not in ("error", "rejected")
            self.rejections = [*self.rejections, result["reason"]] if outcome == "rejected" else []

    @property
    def useless(self):
        """Why it is of no use to go on, or ""."""
        last = self.rejections[-ERRORS:]
        if self.errors_in_a_row >= ERRORS:
            return (f"{ERRORS} trials in a row ended in an exception. The first one:\n\n"
                    f"{self.first_error.strip()}")
        if not self.succeeded and len(last) == ERRORS and len(set(last)) == 1:
            return f"{ERRORS} trials in a row were rejected with the same reason: {last[0]}"
        return ""

    # The search itself

    def run(self, workers=1, *, host=None, port=None):
        """Gives out trials until all have ended, with so many workers here, and more over a port.

        Raises Stopped, KeyboardInterrupt with the state saved, or BlockingIOError if another
        process is at this search.
        """
        from tuning import oracles, shares
        from tuning.worker import Worker
        with locked(self.folder):
            self.load_space()
            oracle = oracles.create(self)
            if self.state_path.exists():
                oracle.reload()
            self.started = time.monotonic()
            if port is not None:
                serve(oracle, host, port)
                write_json(self.folder / CHIEF, {"host": host, "port": port})
                self.messages(f"chief on {host}:{port}; workers: python -m tuning worker {self.folder}")
            stop = threading.Event()
            hands = [Hand(Worker(self, oracle, f"{LOCAL}{index}", stop=stop, environment=share))
                     for index, share in enumerate(shares.shares(workers))]
            try:
                for hand in hands:
                    hand.start()
                while not oracle.finished:
                    self.watch(oracle, hands)
                    time.sleep(0.05)
                self.watch(oracle, hands)
                for path in self.folder.glob("trial_*/**/checkpoints"):       # for hyperband's next rung
                    shutil.rmtree(path, ignore_errors=True)
                if port is not None:
                    time.sleep(3)            # workers elsewhere ask once more, and are told that it is over
            finally:
                stop.set()
                for hand in hands:
                    hand.join()
                oracle.save()

    def watch(self, oracle, hands):
        if self.useless:
            raise Stopped(self.useless)
        for hand in hands:
            if hand.failure:
                raise Stopped(f"a worker failed:\n\n{hand.failure.strip()}")
        if oracle.failure:
            raise Stopped(f"the search algorithm failed:\n\n{oracle.failure.strip()}")
        for worker, trial in oracle.return_lost().items():
            self.messages(f"worker {worker} has not been heard of; its trial {trial} is given to another")


class Hand(threading.Thread):
    """A worker of this process, in a thread of its own; its trials are processes."""

    def __init__(self, worker):
        super().__init__(name=worker.name, daemon=True)
        self.worker, self.failure = worker, None

    def run(self):
        try:
            self.worker.work()
        except Exception:
            self.failure = traceback.format_exc()


def recipe_name(space):
    """As python -m recipes knows it, else its file."""
    from tuning.spaces import ROOT
    inside = space.recipe.is_relative_to(ROOT.parent / "recipes")
    return space.recipe.stem if inside else str(space.recipe.resolve())


@contextlib.contextmanager
def locked(folder):
    """One process alone is at a search. Raises BlockingIOError, in a sentence."""
    with open(Path(folder) / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BlockingIOError(f"another process is at the search in {folder}") from error
        yield


def serve(oracle, host, port):
    """Opens keras-tuner's gRPC service for an oracle, in a thread. Raises OSError if the port is taken.

    gRPC itself would share the port with another chief, and each get half of the requests.
    """
    from keras_tuner.engine.base_tuner import BaseTuner

    class Chief(BaseTuner):
        def save(self):
            """keras-tuner's own file, which nothing here reads."""

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(f"the port {host}:{port} cannot be opened: {error.strerror}. "
                          "Is another chief at it? Take another --port.") from error
    os.environ.update(KERASTUNER_TUNER_ID="chief", KERASTUNER_ORACLE_IP=f"[{host}]" if ":" in host else host,
                      KERASTUNER_ORACLE_PORT=str(port))
    chief = Chief(oracle, directory=str(oracle.search.folder.parent), project_name=oracle.search.folder.name)
    threading.Thread(target=chief.search, name="chief", daemon=True).start()


def join(search, address, name, *, stop, threads=0):
    """Works for a chief elsewhere, over keras-tuner's gRPC, until it has no more trials.

    threads: of each trial; 0 leaves that to TensorFlow.
    """
    import grpc
    from keras_tuner import Objective, oracles
    from keras_tuner.engine.base_tuner import BaseTuner

    from tuning import shares
    from tuning.worker import Worker
    host, _, port = address.rpartition(":")
    os.environ.update(KERASTUNER_TUNER_ID="worker", KERASTUNER_ORACLE_IP=host, KERASTUNER_ORACLE_PORT=port)
    objective = Objective(search.objective, search.direction)        # else the chief's oracle answers
    tuner = BaseTuner(oracles.RandomSearchOracle(objective), directory=str(search.folder.parent),
                      project_name=search.folder.name)

    def call(function, *arguments):
        """Calls the chief again and again where it has just died; it may be started again for an hour."""
        until = time.monotonic() + 3600
        while True:
            try:
                return function(*arguments)
            except grpc.RpcError as error:
                if stop.is_set() or time.monotonic() > until:
                    raise ConnectionError(f"the chief at {address} does not answer: {error.code().name}"
                                          ) from error
                time.sleep(1)
    Worker(search, tuner.oracle, name, stop=stop, call=call, wait=1.0,
           environment=shares.threads(threads) if threads else None).work()


# What a folder tells without keras-tuner

def records(search):
    """The trials of a search, in the order of their start: a list of dictionaries.

    Each has id, values (of its hyperparameters), outcome ("running" until there is a
    result), value, seconds (of the search, at its end) and config, and what its result.json
    holds.
    """
    if not search.state_path.exists():
        return []
    state = read_json(search.state_path)
    rows = []
    for trial in state["trials"]:
        name, path = trial["trial_id"], search.trial_folder(trial["trial_id"]) / "config.json"
        about = read_json(path) if path.exists() else {}
        values = trial["hyperparameters"]["values"]
        rows.append({"outcome": "running", "value": None, "reason": "", "continues": about.get("continues"),
                     **(search.result(name) or {}), "id": name, "config": about.get("config", {}),
                     "values": {key: value for key, value in values.items() if not key.startswith("tuner/")},
                     "seconds": state["ended_at"].get(name)})
    return rows


def ranked(search, rows):
    """The trials that have a value, the best first; finished ones before those that were ended early."""
    sign = -1 if search.direction == "max" else 1
    good = [row for row in rows if row["value"] is not None]
    return sorted(good, key=lambda row: (row["outcome"] != "finished", sign * row["value"]))


def line(search, trial_id, values, result):
    """One trial as a line of text."""
    value = "" if result["value"] is None else f"{search.objective} {result['value']:.4f}"
    chosen = "  ".join(f"{name} {shown(value)}" for name, value in values.items()
                       if not name.startswith("tuner/"))
    why = f"  ({result['reason'][:120]})" if result["outcome"] not in ("finished", "pruned") else ""
    seconds = f"{result['process_seconds']:6.1f} s"
    return f"trial {trial_id}  {result['outcome']:9s} {value:22s} {seconds}  {chosen}{why}"


def shown(value):
    """A hyperparameter as text, floats to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
