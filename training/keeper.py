"""The callback that runs beside model.fit: counts updates, saves what must survive, stops when asked."""
import math

import keras

from training import checkpoint, diagnosis, multi_worker


class Keeper(keras.callbacks.Callback):
    """Keeps a training's progress; a subclass for each way of making updates calls passed().

    It comes after all other callbacks, whose state it keeps.
    """

    def __init__(self, model, stream, progress, stop, callbacks, *, updates, epoch_updates, keep_best, mode,
                 cluster=None):
        super().__init__()
        if mode not in ("max", "min"):
            raise ValueError(f'mode must be "max" or "min". Received: {mode!r}')
        self.set_model(model)
        self.stream, self.progress, self.stop, self.others = stream, progress, stop, callbacks
        self.total, self.epoch_updates, self.keep_best = updates, epoch_updates, keep_best
        self.sign, self.cluster = 1 if mode == "max" else -1, cluster
        self.size = 1                              # updates in the next block
        self.at_start = checkpoint.snapshot(progress.objects)
        self.metrics_of_epoch, self.in_validation = None, False
        self.strategy = model.distribute_strategy if keras.backend.backend() == "tensorflow" else None

    @property
    def finished(self):
        return self.progress.more.get("stopped", False) or (
            bool(self.progress.history) and self.progress.history[-1]["updates"] == self.total)

    def restore(self):
        """Goes back to the last checkpoint, if there is one."""
        if not self.progress.restore():
            return
        self.at_start = None                       # a loss that is not finite is traced from the checkpoint
        if self.strategy is not None:
            found = self.progress.more.get("replicas", {})
            multi_worker.give_replica_values(self.model, self.strategy, found)

    def again(self, first, last):
        """Makes the updates [first, last) once more; on TensorFlow their metrics come back."""
        raise NotImplementedError("a subclass says how updates are made")

    def once(self, i):
        """Makes update i and returns its metrics, "loss" among them."""
        raise NotImplementedError("a subclass says how an update is made")

    def passed(self, first, last, loss):
        """To be called after the updates [first, last), with the mean loss of the epoch up to there."""
        if not math.isfinite(loss):
            self.not_finite(first, last)
        self.progress.updates = last
        stop, due = self.agreed()
        if stop or due:
            self.save()
        if stop:
            raise self.stop.error(f"saved at update {last} of {self.total}")

    def agreed(self):
        """(whether to stop now, whether to save now), the same for all workers: by the chief's clock.

        The size of their next block, which depends on the time that one took, is the chief's too.
        """
        stop, due = self.stop.asked is not None, self.progress.due()
        if self.cluster is not None:
            stop, due, self.size = map(round, self.cluster.sums(
                [stop, *((due, self.size) if self.cluster.is_chief else (0, 0))]))
        return bool(stop), bool(due)

    def on_train_begin(self, logs=None):
        for callback, state in zip(self.others, self.progress.more.get("callbacks", ()), strict=False):
            give_state(callback, state)

    def on_epoch_begin(self, epoch, logs=None):
        self.cursor = epoch * self.epoch_updates
        self.epoch_end = min(self.cursor + self.epoch_updates, self.total)
        metrics = self.progress.more.pop("metrics", None)
        if metrics is not None and self.progress.updates > self.cursor:      # model.fit has just reset them
            self.assign_metrics(metrics)

    def on_test_begin(self, logs=None):
        self.average_statistics()
        self.metrics_of_epoch = self.metrics_now()            # before the validation resets them
        self.in_validation = True

    def on_test_batch_end(self, batch, logs=None):
        if self.stop.asked and self.cluster is None:
            self.save_as_it_is()
            raise self.stop.error(f"saved at update {self.progress.updates} of {self.total}")

    def on_epoch_end(self, epoch, logs=None):
        self.in_validation = False
        self.average_statistics()
        row = {"epoch": epoch + 1, "updates": self.progress.updates,
               **{name: float(value) for name, value in logs.items()}}
        if self.keep_best:
            value, best = row[self.keep_best], self.progress.best
            if best is None or self.sign * value > self.sign * best["value"]:
                self.progress.best = self.progress.checkpoints.save_best(
                    epoch + 1, value, checkpoint.snapshot({"model": self.model})["model"])
        self.progress.more["stopped"] = self.model.stop_training
        self.progress.log(row)
        self.save()

    def save_as_it_is(self):
        """Saves between two updates, or amid the validation of an epoch, and says how far the training is."""
        if self.in_validation:
            self.assign_metrics(self.metrics_of_epoch)
        self.save()
        return f"The run is saved at update {self.progress.updates} of {self.total}. "

    def save(self):
        model = self.model                            # on JAX, asking for it also updates it
        self.progress.more["callbacks"] = [state_of_callback(callback) for callback in self.others]
        self.progress.more["metrics"] = self.metrics_now()
        if self.strategy is not None:
            self.progress.more["replicas"] = multi_worker.replica_values(model, self.strategy)
        self.progress.save()
        self.at_start = None

    def average_statistics(self):
        """Makes the moving statistics equal that batch normalisation keeps of each replica's own rows."""
        if self.strategy is not None:
            multi_worker.average_statistics(self.model, self.strategy)

    def metrics_now(self):
        return [keras.ops.convert_to_numpy(variable) for variable in self.model.metrics_variables]

    def assign_metrics(self, values):
        for variable, value in zip(self.model.metrics_variables, values, strict=True):
            variable.assign(value)

    def not_finite(self, first, last):
        """Runs the updates since the last checkpoint again, up to the one that failed, and tells about it."""
        print("\nthe loss is not finite; looking for the layer, from update "
              f"{self.progress.saved_at or 0} on", flush=True)
        if self.at_start is None:
            self.restore()
        else:
            checkpoint.restore(self.progress.objects, self.at_start)
            self.progress.updates = 0
        saved_at = self.progress.updates
        first = max(saved_at, first - 1)                    # one more, whose gradient may have done it
        self.again(saved_at, first)
        told = diagnosis.trace(first, last, update=self.once, batch=self.stream.batch, model=self.model)
        kept = ("No checkpoint was due before it" if self.at_start is not None else
                f"The last checkpoint, of update {saved_at}, is kept")
        raise FloatingPointError(f"{told} {kept}; a smaller learning rate may help.")


def state_of_callback(callback):
    """What a callback knows beyond its model, as far as it can be stored: numbers, text, arrays."""
    if hasattr(callback, "get_state"):
        return callback.get_state()
    return {name: value for name, value in vars(callback).items()
            if name not in ("_model", "params", "validation_data") and checkpoint.storable(value)}


def give_state(callback, state):
    """Puts back what a callback knew: the inverse of state_of_callback."""
    if hasattr(callback, "set_state"):
        callback.set_state(state)
    else:
        vars(callback).update(state)
