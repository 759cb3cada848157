"""keras-tuner's oracles, with what a search needs to survive: leases, a state that is whole, early ends.

What is added around keras-tuner 1.4.8, and why:
- Its state lies in several files written in place; one that a kill cuts short cannot be read again.
  Here it is one file, replaced as a whole.
- A grid search forgets its place when it is read again, and Bayesian search its random numbers.
- A trial whose worker has died stays RUNNING for ever. Here a worker holds a lease.
- The stream of random numbers of seed s + 1 is that of seed s, moved by one parameter; seed 0 is another
  one each time.
- Bayesian search is a random one until there are three trials for each parameter, and its model can tell
  little of what trainings give.
- A search whose trials are exhausted sends workers home while others' trials may still come back.
"""
import math
import threading
import time
import traceback
import warnings

import keras_tuner
import numpy as np
from keras_tuner import oracles
from keras_tuner.engine.hyperparameters import Fixed
from keras_tuner.engine.trial import Trial, TrialStatus
from scipy.stats import norm, rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel
from threadpoolctl import threadpool_limits

from training.files import read_json, write_json
from tuning.pruning import hopeless
from tuning.search import GOOD, LOCAL

LEASE = 20                     # seconds without a word after which a worker is taken for dead


class Lasting:
    """Mixed into an oracle: trials are given to workers on lease, and everything is in one file.

    A worker speaks of its trial as "trial@worker", so that one that was taken for dead and
    comes back cannot end what is another's by now. update_trial answers with the status
    RUNNING, STOPPED (end it: by the median rule, or without metrics because the time of the
    search is over) or INVALID (it is another's).
    """

    def __init__(self, search, **options):
        self.lock = threading.RLock()
        self.search = search
        self.leases, self.bad = {}, set()          # {worker: when its lease ends}, trials without a value
        self.exhausted, self.failure, self.between = False, None, False
        self.ended_at = {}                         # {trial: seconds of the search}
        super().__init__(
            objective=keras_tuner.Objective(search.objective, search.direction),
            seed=1 + search.seed * 1_000_003 % 2**31,
            hyperparameters=search.hyperparameters(), allow_new_entries=False, tune_new_entries=False,
            max_consecutive_failed_trials=10**9, **options)       # the search itself looks at failures
        self.verbose = 0
        # The only public way to tell an oracle its folder.
        keras_tuner.engine.base_tuner.BaseTuner(self, directory=str(search.folder.parent),
                                                project_name=search.folder.name)

    @property
    def finished(self):
        """Whether no trial runs or waits, and none will come."""
        return self.exhausted and not self.ongoing_trials and not self._retry_queue

    def populate_space(self, trial_id):
        """keras-tuner's values; the first trial is the recipe's own configuration."""
        answer = super().populate_space(trial_id)
        if not self.start_order and answer.get("values"):
            space = self.get_space()
            for parameter in space.space:
                answer["values"].pop(parameter.name, None)
            space.values = {}
            for parameter in space.space:
                if space.is_active(parameter):
                    space.values[parameter.name] = parameter.default
            answer["values"] = {**space.values, **answer["values"]}
        return answer

    def create_trial(self, tuner_id):
        with self.lock:
            if self.search.useless:                # and about to be stopped
                return Trial(self.get_space(), trial_id="", status=TrialStatus.IDLE)
            if self.exhausted and not self._retry_queue and tuner_id not in self.ongoing_trials:
                return self.none_left()
            self.exhausted = self.exhausted or self.search.time_is_over
            begun = time.monotonic()
            try:
                self.score_bad_trials()
                trial = super().create_trial(tuner_id)
                if trial.status == TrialStatus.RUNNING:
                    self.leases[tuner_id] = time.monotonic() + LEASE
                    self.search.write_config(trial)
            except Exception:                       # keras-tuner would keep its lock, and all would hang
                self.failure = self.failure or traceback.format_exc()
                raise
            taken = time.monotonic() - begun           # in which nobody could be heard
            self.leases = {worker: end + taken for worker, end in self.leases.items()}
            if trial.status == TrialStatus.STOPPED:
                self.exhausted = True
                return self.none_left()
            return trial

    def none_left(self):
        """What a worker is answered when there is no new trial: to wait, while another's may come back."""
        status = TrialStatus.IDLE if self.ongoing_trials or self._retry_queue else TrialStatus.STOPPED
        return Trial(self.get_space(), trial_id="", status=status)

    def owned(self, name):
        """The running trial of "trial@worker", or None where it is not that worker's."""
        trial_id, _, worker = name.partition("@")
        trial = self.ongoing_trials.get(worker)
        return trial if trial is not None and trial.trial_id == trial_id else None

    def update_trial(self, trial_id, metrics, step=0):
        """Notes the objective after epoch step, or with empty metrics only that the worker is alive."""
        with self.lock:
            trial = self.owned(trial_id)
            if trial is None:
                return Trial(self.get_space(), trial_id=trial_id, status=TrialStatus.INVALID)
            self.leases[trial_id.partition("@")[2]] = time.monotonic() + LEASE
            status = TrialStatus.RUNNING
            if not metrics and self.search.time_is_over:
                status = TrialStatus.STOPPED
            if metrics:
                if step > len(self.curve(trial)):             # else a trial that was resumed tells it again
                    super().update_trial(trial.trial_id, metrics, step)
                others = [self.curve(self.trials[other]) for other in self.end_order
                          if other not in self.bad]
                if self.search.pruning and hopeless(self.curve(trial)[:step], others,
                                                    self.objective.direction):
                    status = TrialStatus.STOPPED
            return Trial(self.get_space(), trial_id=trial_id, status=status)

    def curve(self, trial):
        """The objective after each epoch, as far as it is known."""
        if not trial.metrics.exists(self.objective.name):
            return []
        return [one.mean() for one in trial.metrics.get_history(self.objective.name)]

    def end_trial(self, trial):
        """Ends "trial@worker" with what result.json in its folder says."""
        with self.lock:
            mine = self.owned(trial.trial_id)
            if mine is None:
                return
            result = self.search.result(mine.trial_id)
            if result["outcome"] not in GOOD:
                self.bad.add(mine.trial_id)
            failed = result["outcome"] in ("error", "killed", "unfinished")
            self.leases.pop(trial.trial_id.partition("@")[2], None)
            self.ended_at[mine.trial_id] = round(self.search.seconds, 3)
            self.between = True                      # keras-tuner saves while it is ended and ongoing
            super().end_trial(Trial(mine.hyperparameters, mine.trial_id, message=result.get("reason"),
                                    status=TrialStatus.FAILED if failed else TrialStatus.COMPLETED))
            self.between = False
            self.save()
            self.search.ended(mine.trial_id, mine.hyperparameters.values, result)

    def score_trial(self, trial):
        """The value of a trial; a bad one has the worst of all, so that its neighbourhood is left alone."""
        if trial.trial_id in self.bad:
            trial.score = self.worst()
        else:
            trial.score = self.search.result(trial.trial_id)["value"]

    def worst(self):
        """The worst value of a good trial; 0 where there is none yet."""
        values = [trial.score for name, trial in self.trials.items()
                  if name in self.end_order and name not in self.bad and trial.score is not None]
        return (min if self.objective.direction == "max" else max)(values, default=0.0)

    def score_bad_trials(self):
        for name in self.bad:
            if self.trials[name].status == TrialStatus.COMPLETED:
                self.trials[name].score = self.worst()

    def return_lost(self):
        """Gives back the trials of workers that have not been heard of; their names, {worker: trial}."""
        with self.lock:
            late = [worker for worker in self.ongoing_trials if not worker.startswith(LOCAL)
                    and time.monotonic() > self.leases.get(worker, math.inf)]
            return {worker: self.give_back(worker) for worker in late}

    def give_back(self, worker):
        """The trial of a worker waits for another; its name, or None if there was none."""
        with self.lock:
            trial = self.ongoing_trials.pop(worker, None)
            self.leases.pop(worker, None)
            if trial is None:
                return None
            self._retry_queue.append(trial.trial_id)
            self.save()
            return trial.trial_id

    def renew(self):
        """Starts all leases anew: while this process could not listen, workers could not speak."""
        with self.lock:
            self.leases = {worker: time.monotonic() + LEASE for worker in self.ongoing_trials}

    def get_state(self):
        return {**super().get_state(), "bad": sorted(self.bad), "ended_at": self.ended_at,
                "seconds": self.search.seconds,
                "trials": [trial.get_state() for trial in self.trials.values()]}

    def set_state(self, state):
        self.trials = {each["trial_id"]: Trial.from_state(each) for each in state["trials"]}
        self.bad, self.ended_at = set(state["bad"]), state["ended_at"]
        self.search.seconds_before = state["seconds"]
        super().set_state(state)

    def save(self):
        """Writes the state, but not one in the middle of a change."""
        if not self.between:
            write_json(self.search.state_path, self.get_state())

    def reload(self):
        """Goes on from the file: workers elsewhere keep their trials, those of this process are gone."""
        self.set_state(read_json(self.search.state_path))
        for worker in list(self.ongoing_trials):
            if worker.startswith(LOCAL):
                self.give_back(worker)
        self.renew()


class Random(Lasting, oracles.RandomSearchOracle):
    """keras-tuner's, that lasts."""


class Grid(Lasting, oracles.GridSearchOracle):
    """Its place in the grid is part of the state: the trials in the grid's order, and those to go on from."""

    def get_state(self):
        order = self.start_order[:1]
        while order and (after := self._ordered_ids.next(order[-1])) is not None:
            order.append(after)
        return {**super().get_state(), "order": order, "populate_next": self._populate_next}

    def set_state(self, state):
        super().set_state(state)
        self._ordered_ids = type(self._ordered_ids)()
        for trial_id in state["order"]:
            self._ordered_ids.insert(trial_id)
        self._populate_next = state["populate_next"]


class Ranked(oracles.BayesianOptimizationOracle):
    """keras-tuner's Bayesian search, with a model that learns from few trainings, some of which fail.

    The Gaussian process sees each value as the normal score of its rank. As they are, one training
    that came to nothing makes 98 and 99 % the same to it. Its kernel has a noise of its own, and its
    length scale stays within .1 to 10 of a parameter's range: down at keras-tuner's 1e-5 no trial
    tells anything of another, and every choice is a random one. The next trial is the best of many
    configurations by the lower confidence bound of its error: random ones, and neighbours of the best
    trials. keras-tuner climbs between configurations that can be, for seconds, and then rounds.
    num_initial_points: random trials before; None for one more than there are parameters to search.
    """
    anywhere, near = 2000, 200       # random candidates, and neighbours of each of the best trials

    def populate_space(self, trial_id):
        done = [trial for trial in self.trials.values() if trial.status == TrialStatus.COMPLETED]
        searched = len(self._nonfixed_space())
        if not searched or len(done) < (self.num_initial_points or 1 + searched):
            return self._random_populate_space()
        points, errors = self._vectorize_trials()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)        # the kernel at one of its bounds
            self.gpr.fit(points, errors)
        random = self._random_state
        best = points[np.argsort(errors, kind="stable")[:5]].repeat(self.near, axis=0)
        candidates = np.concatenate([random.uniform(size=(self.anywhere, searched)),
                                     np.clip(best + random.normal(0, 0.1, best.shape), 0, 1)])
        mean, deviation = self.gpr.predict([self.as_it_would_be(point) for point in candidates],
                                           return_std=True)
        for index in np.argsort(mean - self.beta * deviation, kind="stable"):
            chosen = self._vector_to_values(candidates[index])
            if not self._duplicate(chosen):
                return {"status": TrialStatus.RUNNING, "values": chosen}
        return self._random_populate_space()

    def as_it_would_be(self, point):
        """A point of the unit cube moved to the configuration that it stands for; what it does not use
        stands at its default.
        """
        values = {each.name: each.value for each in self.hyperparameters.space if isinstance(each, Fixed)}
        moved = []
        for parameter, part in zip(self._nonfixed_space(), point, strict=True):
            used = all(condition.is_active(values) for condition in parameter.conditions)
            value = parameter.prob_to_value(part) if used else parameter.default
            if used:
                values[parameter.name] = value
            moved.append(parameter.value_to_prob(value))
        return moved

    def _make_gpr(self):
        return GaussianProcessRegressor(Matern(1.0, (0.1, 10), nu=2.5) + WhiteKernel(0.05, (1e-3, 1)),
                                        n_restarts_optimizer=4, normalize_y=True, random_state=self.seed)

    def _vectorize_trials(self):
        """keras-tuner's (parameters, errors) of all trials, with normal scores for errors."""
        done = [trial for trial in self.trials.values() if trial.status == TrialStatus.COMPLETED]
        values = [trial.score for trial in done]
        try:
            for trial, score in zip(done, norm.ppf((rankdata(values) - 0.5) / len(values)), strict=True):
                trial.score = score
            return super()._vectorize_trials()
        finally:
            for trial, value in zip(done, values, strict=True):
                trial.score = value


class Bayesian(Lasting, Ranked):
    """Random numbers that depend on the seed and the trial alone."""

    def populate_space(self, trial_id):
        self._random_state = np.random.RandomState([self.seed, int(trial_id)])
        with threadpool_limits(1):         # many tiny products; several threads take twice as long
            return super().populate_space(trial_id)


class Hyperband(Lasting, oracles.HyperbandOracle):
    """keras-tuner's, that lasts."""


def create(search):
    """The oracle of a search, as its settings say."""
    if search.algorithm == "hyperband":
        oracle = Hyperband(search, max_epochs=search.epochs, factor=search.factor,
                           hyperband_iterations=None if search.trials else 1)
        oracle.max_trials = search.trials
        return oracle
    if search.algorithm == "bayesian":
        return Bayesian(search, max_trials=search.trials, num_initial_points=search.initial_points)
    return {"random": Random, "grid": Grid}[search.algorithm](search, max_trials=search.trials)
