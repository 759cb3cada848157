"""A search space of keras-tuner's sampled by others, so that all search the same one."""


class Suggested:
    """keras-tuner's interface of a space, answered by Optuna, so that both sample from one file."""

    def __init__(self, trial):
        self.trial = trial

    def Choice(self, name, values, default=None):
        return self.trial.suggest_categorical(name, values)

    def Int(self, name, low, high, step=1, default=None):
        return self.trial.suggest_int(name, low, high, step=step)

    def Float(self, name, low, high, step=None, sampling="linear", default=None):
        return self.trial.suggest_float(name, low, high, step=step, log=sampling == "log")


class Defaults:
    """A space's defaults: {name: value}."""

    def __init__(self, found):
        self.found = found

    def note(self, name, *arguments, default=None, **options):
        self.found[name] = default
        return default

    Choice = Int = Float = note
