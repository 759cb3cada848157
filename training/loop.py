"""model.fit over a stateless stream: blocks of updates in the graph, exact resume, no lost run."""
import math
import time

import keras
import numpy as np
import tensorflow as tf

from training import checkpoint, diagnosis, replicas
from training.interruption import StopRequest
from training.progress import EVERY, Progress

BLOCK_SECONDS = 0.5            # a request to stop is heard between blocks; a block is at least one update


def fit(model, stream, *, folder, strategy, validation=None, epochs=None, updates=None, callbacks=(),
        keep_best=None, mode="max", steps_per_execution=None, validate_every=None, checkpoint_every=EVERY,
        jit=False, verbose=1):
    """Trains with model.fit on a stream's batches and returns the history, a list of rows.

    An epoch is validate_every updates, by default one pass over the stream. After each,
    history.csv and a checkpoint are written below folder; where there is a checkpoint
    already, training goes on from it, and ends as it would have without the interruption.
    callbacks: of Keras; their numbers, lists and arrays are part of the checkpoint.
    checkpoint_every: more checkpoints, every so many updates (an integer) or after some
    time ("10m"). keep_best: name of a logged value; the weights of the epoch where it was
    best (mode "max" or "min", the first of equals) are the final ones.
    steps_per_execution: updates per call into Keras's loop, which moves the progress bar
    and looks for a loss that is not finite; by default a twentieth of an epoch, at most 100.
    Raises ValueError for a bad argument, FloatingPointError if the loss is not finite,
    KeyboardInterrupt after a ctrl-C or SIGTERM, when all is saved.
    """
    if (epochs is None) == (updates is None):
        raise ValueError(f"give either epochs or updates. Received: epochs={epochs}, updates={updates}")
    for name, value in (("epochs", epochs), ("updates", updates), ("validate_every", validate_every),
                        ("steps_per_execution", steps_per_execution)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1. Received: {value}")
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"learning_rate must be a positive number. Received: {rate}")
    epoch_updates = validate_every or stream.batches_per_epoch
    updates = updates or epochs * epoch_updates
    epoch_updates = min(epoch_updates, updates)
    epochs = math.ceil(updates / epoch_updates)
    replicas.prepare(model.optimizer, strategy)

    with strategy.scope():
        inputs, labels = stream.batch(0)
        logged = list(model.test_on_batch(inputs[:1], labels[:1], return_dict=True))   # builds the metrics
        model.reset_metrics()
        model.optimizer.build(model.trainable_variables)
    logged += [f"val_{name}" for name in logged] if validation is not None else []
    if keep_best and keep_best not in logged:
        raise ValueError(f"keep_best must be one of {', '.join(logged)}. Received: {keep_best}")
    progress = Progress(folder, {"model": model}, every=checkpoint_every)
    with StopRequest() as stop:
        keeper = Keeper(model, stream, strategy, progress, stop, callbacks, updates=updates,
                        epoch_updates=epoch_updates, keep_best=keep_best, mode=mode, jit=jit)
        progress.restore()
        model.steps_per_execution = steps_per_execution or min(100, max(1, epoch_updates // 20))
        model.train_function = keeper.train_function
        everything = [*callbacks, keeper]
        if keeper.finished:
            end_again(model, everything)
        else:
            model.fit(tf.data.Dataset.from_tensors(np.zeros(strategy.num_replicas_in_sync)).repeat(),
                      steps_per_epoch=epoch_updates, initial_epoch=len(progress.history), epochs=epochs,
                      validation_data=None if validation is None else validation.dataset(),
                      callbacks=everything, shuffle=False, verbose=verbose)
        if keep_best:
            checkpoint.restore({"model": model}, {"model": progress.checkpoints.best(progress.best)})
        progress.close()
        if stop.asked:
            raise stop.error("the training is complete")
    return progress.history


def end_again(model, callbacks):
    """What model.fit does after its last epoch, for a run that was killed just then."""
    callbacks = keras.callbacks.CallbackList(callbacks, model=model)
    callbacks.on_train_begin()
    model.optimizer.finalize_variable_values(model.trainable_weights)
    callbacks.on_train_end()


def block_function(model, stream, strategy, jit):
    """(first, last) -> metrics after the updates [first, last), all run in one call into TensorFlow.

    The batches are computed inside the graph, in a tf.while_loop: no iterator, no Python
    per step. It calls the model's own train_step, whose outputs are dropped but for the
    last metrics.
    """
    def train_step(data):
        model.train_step(data)
    step = tf.function(train_step, jit_compile=True) if jit else train_step

    def replica_step(i):
        step(stream.batch(i, shard=replicas.shard(strategy)))

    @tf.function(autograph=False)
    def block(first, last):
        def body(i):
            strategy.run(replica_step, args=(i,))
            return (i + 1,)
        tf.while_loop(lambda i: i < last, body, (first,), parallel_iterations=1)
        return model.get_metrics_result()
    return lambda first, last: block(tf.constant(first, tf.int64), tf.constant(last, tf.int64))


class Keeper(keras.callbacks.Callback):
    """Runs the updates in blocks, and saves what must survive between them.

    Stands in for Keras's train function, and comes after all other callbacks, whose state
    it keeps.
    """

    def __init__(self, model, stream, strategy, progress, stop, callbacks, *, updates, epoch_updates,
                 keep_best, mode, jit):
        super().__init__()
        if mode not in ("max", "min"):
            raise ValueError(f'mode must be "max" or "min". Received: {mode!r}')
        self.set_model(model)
        self.stream, self.progress, self.stop, self.others = stream, progress, stop, callbacks
        self.total, self.epoch_updates, self.keep_best = updates, epoch_updates, keep_best
        self.sign = 1 if mode == "max" else -1
        self.block = block_function(model, stream, strategy, jit)
        self.size, self.traced = 1, False           # updates in a block; whether its time means anything
        self.at_start = checkpoint.snapshot(progress.objects)
        self.metrics_of_epoch = None

    @property
    def finished(self):
        return self.progress.more.get("stopped", False) or (
            bool(self.progress.history) and self.progress.history[-1]["updates"] == self.total)

    def train_function(self, _iterator):
        """One call of Keras's loop: up to steps_per_execution updates, none that a resumed run has done."""
        first = self.cursor
        self.cursor = min(first + self.model.steps_per_execution, self.epoch_end)
        first = min(max(first, self.progress.updates), self.cursor)
        logs = self.block(first, first) if first == self.cursor else None
        while first < self.cursor:
            last = min(first + self.size, self.cursor, self.progress.due_at)
            started = time.perf_counter()
            logs = self.block(first, last)
            loss = float(logs["loss"])                                   # waits for the device
            self.measure(last - first, time.perf_counter() - started)
            if not math.isfinite(loss):
                self.not_finite(first, last)
            self.progress.updates = first = last
            if self.stop.asked or self.progress.due():
                self.save()
            if self.stop.asked:
                raise self.stop.error(f"saved at update {last} of {self.total}")
        return logs

    def measure(self, updates, seconds):
        """Sets the size of the next blocks; the first one also traced the function."""
        if self.traced:
            self.size = max(1, min(10 * self.size, round(updates * BLOCK_SECONDS / max(seconds, 1e-6))))
        self.traced = True

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
        self.metrics_of_epoch = self.metrics_now()            # before the validation resets them

    def on_test_batch_end(self, batch, logs=None):
        if self.stop.asked:
            self.assign_metrics(self.metrics_of_epoch)
            self.save()
            raise self.stop.error(f"saved at update {self.progress.updates} of {self.total}")

    def on_epoch_end(self, epoch, logs=None):
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

    def save(self):
        self.progress.more["callbacks"] = [state_of_callback(callback) for callback in self.others]
        self.progress.more["metrics"] = self.metrics_now()
        self.progress.save()
        self.at_start = None

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
            self.progress.restore()
        else:
            checkpoint.restore(self.progress.objects, self.at_start)
            self.progress.updates = 0
        saved_at = self.progress.updates
        first = max(saved_at, first - 1)                    # one more, whose gradient may have done it
        self.block(saved_at, first)
        told = diagnosis.trace(first, last, update=lambda i: self.block(i, i + 1), batch=self.stream.batch,
                               model=self.model)
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
    if hasattr(callback, "set_state"):
        callback.set_state(state)
    else:
        vars(callback).update(state)
