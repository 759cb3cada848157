"""A worker: takes trials from an oracle, near or far, and runs each in a process of its own."""
import copy
import csv
import math
import re
import shutil
import signal
import statistics
import threading
import time

from training.command_line import NOT_FINITE
from training.files import read_json, write_json
from tuning.process import Starter
from tuning.search import GOOD, LOCAL

STARTS = 3                     # of a trial's process that others than we kill
LOOK = 0.1                     # seconds between two looks at a trial's history
BEAT = 2                       # seconds between two signs of life
GRACE = 20                     # seconds that a process has to save its state
REJECTED = 2                   # exit status of a recipe that refuses its configuration


class Lost(Exception):
    """The trial is another worker's by now."""


class Ended(Exception):
    """The trial ends here, with an outcome and why."""

    def __init__(self, outcome, reason="", trace=""):
        super().__init__(reason)
        self.outcome, self.reason, self.trace = outcome, reason, trace


class Worker:
    """Runs the trials that an oracle gives it until there are no more, or until stop is set.

    oracle       a keras-tuner oracle of tuning.oracles, or keras-tuner's client of one elsewhere.
    search       the search.Search of the folder, which all workers of a search share.
    environment  variables of the trials' processes besides our own: this worker's share of the machine.
    call         how to call the oracle; by default directly.
    """

    def __init__(self, search, oracle, name, *, environment=None, stop=None, call=None, wait=0.05):
        self.search, self.oracle, self.name = search, oracle, name
        self.environment, self.stop = environment, stop or threading.Event()
        self.call, self.wait = call or (lambda function, *arguments: function(*arguments)), wait
        self.beaten, self.starter = 0.0, None

    def work(self):
        try:
            while not self.stop.is_set():
                trial = self.call(self.oracle.create_trial, self.name)
                if trial.status == "STOPPED":
                    return
                if trial.status == "IDLE":
                    self.stop.wait(self.wait)
                    continue
                self.run(trial)
        finally:
            if self.starter is not None:
                self.starter.close()

    def run(self, trial):
        """One trial, to its end; a trial that is stopped on the way stays as it is."""
        self.number, self.folder = trial.trial_id, self.search.trial_folder(trial.trial_id)
        try:
            if self.search.result(self.number) is None:          # else only its end was not heard
                result = self.attempt()
                if result is None:
                    return
                self.beat(force=True)                            # it may be another's by now
                write_json(self.folder / "result.json", result)
        except Lost:
            return
        ended = copy.copy(trial)                                 # near by, it is the oracle's own
        ended.trial_id, ended.status = f"{self.number}@{self.name}", "COMPLETED"
        self.call(self.oracle.end_trial, ended)

    def attempt(self):
        """Trains all parts of a trial, one after another: its result, or None if it was stopped."""
        about = read_json(self.folder / "config.json")
        started, self.curve, self.starts, self.seconds = time.time(), [], 0, 0.0
        self.runs = self.own_runs()
        values, outcome = [], Ended("finished")
        try:
            if about.get("rejected"):
                raise Ended("rejected", about["rejected"])
            source = about.get("continues")
            if source and self.search.result(source)["outcome"] not in GOOD:
                raise Ended(self.search.result(source)["outcome"], f"as trial {source}, which it continues")
            parts = self.search.parts()
            for index, part in enumerate(parts):
                run = self.runs / (part["name"] if len(parts) > 1 else "run")
                if source and not run.exists():
                    self.continue_from(source, run, about)
                value = self.train(run, part, judged=index == 0)
                if value is None:
                    return None
                values.append(value)
        except Ended as end:
            outcome = end
            if end.outcome == "pruned":
                values = [best(self.curve, self.search.direction)] if self.curve else []
                outcome = end if values else Ended("unfinished", end.reason)
        good = outcome.outcome in GOOD
        self.drop_checkpoints(about.get("continues"))
        return {"outcome": outcome.outcome, "value": statistics.mean(values) if good else None,
                "values": values, "reason": outcome.reason, "traceback": outcome.trace,
                "worker": self.name, "started": started, "ended": time.time(), "starts": self.starts,
                "process_seconds": round(self.seconds, 3), **self.budget(about)}

    def own_runs(self):
        """The folder of this trial's runs: a copy where another worker, perhaps still alive, has begun."""
        owner, path = {"worker": self.name, "runs": "."}, self.folder / "owner.json"
        if path.exists():
            before = read_json(path)
            if before["worker"] == self.name or before["worker"].startswith(LOCAL):
                owner["runs"] = before["runs"]
            else:
                taken = 2 + len(list(self.folder.glob("taken-*")))
                owner["runs"] = f"taken-{taken}"
                part = self.folder / f".taken-{taken}"
                for run in (self.folder / before["runs"]).glob("run*"):
                    copy_of_living(run, part / run.name)
                if part.exists():
                    part.rename(self.folder / owner["runs"])
        write_json(path, owner)
        return self.folder / owner["runs"]

    def continue_from(self, source, run, about):
        """Copies the run of the rung before, to be trained on with this trial's configuration."""
        folder = self.search.trial_folder(source)
        part = run.with_name(f".{run.name}")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(folder / read_json(folder / "owner.json")["runs"] / run.name, part)
        for name in ("metrics.json", "output.txt"):
            (part / name).unlink(missing_ok=True)
        if (part / "config.json").exists():                      # a recipe that training.launch runs
            saved = read_json(part / "config.json")
            write_json(part / "config.json", {**saved, "config": about["config"]})
        part.rename(run)

    def train(self, run, part, judged):
        """The value of one training, which goes on from its checkpoint where there is one; None if stopped.

        judged: whether the oracle may end it early. Raises Ended.
        """
        while not (run / "metrics.json").exists():
            run.mkdir(parents=True, exist_ok=True)
            self.starts += 1
            status = self.process(self.flags(run, part), run, judged)
            if status is None:
                return None
            if status == 0:
                break
            reason, output = last_error(run / "output.txt")
            if status == NOT_FINITE:
                raise Ended("diverged", reason)
            if status == REJECTED:
                raise Ended("rejected", reason)
            if 0 < status < 128:
                raise Ended("error", reason, output)
            if self.starts >= STARTS:
                number = -status if status < 0 else status - 128
                raise Ended("killed", f"killed {self.starts} times, the last time by "
                            f"{signal.Signals(number).name}; too little memory gives SIGKILL")
        if judged:
            self.look(run, judged)
        value = measured(run, self.search.objective, self.search.direction)
        if value is None:
            raise Ended("error", f"the recipe gave no {self.search.objective} in metrics.json or history.csv")
        if not math.isfinite(value):
            raise Ended("diverged", f"{self.search.objective} is {value}")
        return value

    def flags(self, run, part):
        """What the recipe is started with."""
        flags = ["--config", str(self.folder / "config.json"), "--seed", str(part["seed"]), "--trial",
                 "--run-dir", str(run), *self.search.flags, *(["--fold", part["fold"]] * bool(part["fold"]))]
        return [*flags[2:], "--resume"] if (run / "config.json").exists() else flags

    def process(self, flags, run, judged):
        """Runs a process to its end: its status, negative for a signal; None if this worker was stopped."""
        started = time.monotonic()
        self.begin(flags, run / "output.txt")
        try:
            while True:
                status = self.starter.poll()
                if judged:
                    self.look(run, judged)
                if status is not None:
                    return status
                if self.stop.is_set():
                    return None
                self.beat()
                time.sleep(LOOK)
        finally:
            self.end()
            self.seconds += time.monotonic() - started

    def begin(self, flags, output):
        """Begins the process of a trial."""
        if self.starter is not None and self.starter.gone:
            self.starter.close()
            self.starter = None
        self.starter = self.starter or Starter(self.search.recipe, self.search.folder, self.environment)
        try:
            self.starter.start(flags, output)
        except BrokenPipeError:                                  # it was killed just now
            self.starter.close()
            self.begin(flags, output)

    def end(self):
        """Sees to it that the trial's process has ended, after it has saved its state if it can."""
        self.starter.send(signal.SIGTERM)
        until = time.monotonic() + GRACE
        while self.starter.poll() is None:
            if time.monotonic() > until or not self.starter.told():
                self.starter.close()                             # with the trial, or before it has begun
                return
            time.sleep(LOOK / 10)

    def look(self, run, judged):
        """Tells the oracle the epochs that are new in history.csv, one by one, so that time plays no part."""
        for row in history(run)[len(self.curve):]:
            value = row.get(self.search.objective)
            if value is None or not math.isfinite(value):
                return
            self.curve.append(value)
            if judged:
                status = self.tell({self.search.objective: value}, len(self.curve))
                if status == "STOPPED":
                    raise Ended("pruned", f"worse than the median after {len(self.curve)} epochs")

    def beat(self, force=False):
        """A sign of life, which is also how one hears that the time of the search is over."""
        if not force and time.monotonic() - self.beaten < BEAT:
            return
        self.beaten = time.monotonic()
        if self.tell({}, 0) == "STOPPED" and not force:
            raise Ended("pruned", "the time of the search is over")

    def tell(self, metrics, step):
        """The status that the oracle answers. Raises Lost if this trial is another's."""
        status = self.call(self.oracle.update_trial, f"{self.number}@{self.name}", metrics, step).status
        if status == "INVALID":
            raise Lost
        return status

    def budget(self, about):
        """What the trial got: epochs and updates, without those that it continued, of all parts; and time."""
        rows = updates = seconds = 0
        for run in self.runs.glob("run*"):
            table = history(run)
            begun = about.get("continued_epochs", 0)
            rows += max(0, len(table) - begun)
            if table and "updates" in table[-1]:
                updates += table[-1]["updates"] - (table[begun - 1]["updates"]
                                                   if 0 < begun <= len(table) else 0)
            times = read_table(run / "times.csv")
            if times:
                before = times[begun - 1]["seconds"] if 0 < begun <= len(times) else 0
                seconds += times[-1]["seconds"] - before
        return {"epochs": rows, "updates": int(updates), "training_seconds": round(seconds, 3)}

    def drop_checkpoints(self, source):
        """Of this trial, unless it may be continued; and those of the trial that it continues."""
        drop = [self.folder] if self.search.algorithm != "hyperband" else []
        for folder in drop + ([self.search.trial_folder(source)] if source else []):
            for path in folder.rglob("checkpoints"):
                shutil.rmtree(path, ignore_errors=True)


def copy_of_living(run, target):
    """Copies a run to which another process may still write: checkpoints come whole, and go."""
    for attempt in range(10):
        shutil.rmtree(target, ignore_errors=True)
        try:
            shutil.copytree(run, target, ignore=shutil.ignore_patterns(".*.part*"))
            return
        except (shutil.Error, FileNotFoundError):
            if attempt == 9:
                raise
            time.sleep(.1)


def measured(run, objective, direction):
    """The objective in metrics.json, else the best in history.csv; None where it is in neither."""
    if (run / "metrics.json").exists():
        value = read_json(run / "metrics.json").get(objective)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    rows = [row[objective] for row in history(run) if objective in row]
    return best(rows, direction) if rows else None


def best(values, direction):
    """The largest or the smallest of values, as direction says: "max" or "min"."""
    return (max if direction == "max" else min)(values)


def history(run):
    """A row of numbers for each epoch that a run has finished; [] before the first."""
    return read_table(run / "history.csv")


def read_table(path):
    """The whole rows of a CSV file of numbers; [] where there is none. A line still being written is left."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    rows = csv.DictReader(text[:text.rfind("\n") + 1].splitlines())
    return [{name: float(value) for name, value in row.items() if value} for row in rows]


def last_error(path):
    """(the last line that tells an error, the end of the output)."""
    text = path.read_text(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if re.match(r"error: |[\w.]*(Error|Exception|Interrupt)\b", line)]
    return (told or lines or ["no output"])[-1].removeprefix("error: "), text[-6000:]
