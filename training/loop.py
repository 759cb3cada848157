"""model.fit over a stateless stream: blocks of updates in the graph, checkpoints between them."""
import csv
import io
import math
import time

import keras
import numpy as np
import tensorflow as tf

from training import checkpoint
from training.files import replacing

LATEST, BEST = "latest.npz", "best.npz"


def fit(model, stream, *, folder, strategy, validation=None, epochs=None, updates=None, callbacks=(),
        keep_best=None, mode="max", steps_per_execution=100, validate_every=None, checkpoint_every=None,
        jit=False, verbose=1):
    """Trains with model.fit on a stream's batches and returns the history, a list of rows.

    An epoch is validate_every updates, by default one pass over the stream. After each,
    history.csv and a checkpoint are written to folder; where there is a checkpoint
    already, training goes on from it. checkpoint_every adds checkpoints every so many
    updates (rounded up to whole executions).
    keep_best: name of a logged value; the weights of the epoch where it was best (mode
    "max" or "min", the first of equals) are the final ones.
    steps_per_execution: updates per call into TensorFlow; progress bar, ctrl-C and the
    check for a non-finite loss act between calls.
    Raises ValueError for a bad argument, FloatingPointError if the loss is not finite.
    """
    if (epochs is None) == (updates is None):
        raise ValueError(f"give either epochs or updates. Received: epochs={epochs}, updates={updates}")
    for name, value in (("epochs", epochs), ("updates", updates), ("validate_every", validate_every),
                        ("checkpoint_every", checkpoint_every), ("steps_per_execution", steps_per_execution)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1. Received: {value}")
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"learning_rate must be a positive number. Received: {rate}")
    epoch_updates = validate_every or stream.batches_per_epoch
    updates = updates or epochs * epoch_updates
    epoch_updates = min(epoch_updates, updates)
    epochs = math.ceil(updates / epoch_updates)

    with strategy.scope():
        inputs, labels = stream.batch(0)
        logged = list(model.test_on_batch(inputs[:1], labels[:1], return_dict=True))   # builds the metrics
        model.reset_metrics()
        model.optimizer.build(model.trainable_variables)
    logged += [f"val_{name}" for name in logged] if validation is not None else []
    if keep_best and keep_best not in logged:
        raise ValueError(f"keep_best must be one of {', '.join(logged)}. Received: {keep_best}")
    state = Progress(model, folder, updates, epoch_updates, checkpoint_every, keep_best, mode)
    if (folder / LATEST).exists():
        state.restore()
    model.steps_per_execution = min(steps_per_execution, epoch_updates)
    model.train_function = block_function(model, stream, strategy, state, jit)
    if state.updates < updates:
        model.fit(tf.data.Dataset.from_tensors(np.zeros(strategy.num_replicas_in_sync)).repeat(),
                  steps_per_epoch=epoch_updates, initial_epoch=state.updates // epoch_updates, epochs=epochs,
                  validation_data=None if validation is None else validation.dataset(),
                  callbacks=[*callbacks, state], shuffle=False, verbose=verbose)
    if keep_best:
        checkpoint.restore(folder / BEST, model)
    return state.history


def block_function(model, stream, strategy, state, jit):
    """Stands in for Keras's train function: one call runs up to steps_per_execution updates.

    The batches are computed inside the graph, in a tf.while_loop: no iterator, no Python
    per step. It calls the model's own train_step, whose outputs are dropped but for the
    last metrics.
    """
    def train_step(data):
        model.train_step(data)
    step = tf.function(train_step, jit_compile=True) if jit else train_step

    def replica_step(i):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        step(stream.batch(i, shard=(replica, strategy.num_replicas_in_sync)))

    @tf.function(autograph=False)
    def block(first, last):
        def body(i):
            strategy.run(replica_step, args=(i,))
            return (i + 1,)
        tf.while_loop(lambda i: i < last, body, (first,))
        return model.get_metrics_result()

    def train_function(_iterator):
        first, last = state.next_block(model.steps_per_execution)
        return block(tf.constant(first, tf.int64), tf.constant(last, tf.int64))
    return train_function


class Progress(keras.callbacks.Callback):
    """Counts updates, keeps the history and the best weights, and checkpoints them all."""

    def __init__(self, model, folder, total, epoch_updates, checkpoint_every, keep_best, mode):
        super().__init__()
        if mode not in ("max", "min"):
            raise ValueError(f'mode must be "max" or "min". Received: {mode!r}')
        self.set_model(model)
        self.folder, self.total, self.epoch_updates = folder, total, epoch_updates
        self.checkpoint_every, self.keep_best = checkpoint_every, keep_best
        self.sign = 1 if mode == "max" else -1
        self.updates, self.seconds, self.history, self.best = 0, 0.0, [], None
        self.saved_at, self.cursor, self.metrics_to_restore = 0, 0, None

    def next_block(self, size):
        """[first, last) of the next call; empty where a resumed epoch was already done."""
        first = self.cursor
        end_of_epoch = (first // self.epoch_updates + 1) * self.epoch_updates
        self.cursor = min(first + size, end_of_epoch)
        last = min(self.cursor, self.total)
        first = min(max(first, self.updates), max(last, self.updates))
        self.updates = max(self.updates, last)
        return first, last

    def on_train_begin(self, logs=None):
        self.cursor = self.updates // self.epoch_updates * self.epoch_updates
        self.started = time.perf_counter() - self.seconds

    def on_epoch_begin(self, epoch, logs=None):
        if self.metrics_to_restore is not None:                  # model.fit has just reset them
            for variable, value in zip(self.model.metrics_variables, self.metrics_to_restore, strict=True):
                variable.assign(value)
            self.metrics_to_restore = None

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(float(logs["loss"])):
            raise FloatingPointError(
                f"the loss became {float(logs['loss'])} within the {self.model.steps_per_execution} updates "
                f"before update {self.updates}. The last checkpoint is from update {self.saved_at}; "
                "a smaller learning rate may help.")
        if (self.checkpoint_every and self.updates - self.saved_at >= self.checkpoint_every
                and self.updates % self.epoch_updates):
            self.save()

    def on_epoch_end(self, epoch, logs=None):
        if self.history and self.history[-1]["updates"] == self.updates:
            return
        self.seconds = time.perf_counter() - self.started
        self.history.append({"epoch": epoch + 1, "updates": self.updates, "seconds": round(self.seconds, 3),
                             **{name: float(value) for name, value in logs.items()}})
        if self.keep_best:
            value = float(logs[self.keep_best])
            if self.best is None or self.sign * value > self.sign * self.best:
                self.best = value
                checkpoint.save(self.folder / BEST, self.model, {"epoch": epoch + 1})
        self.write_history()
        self.save()

    def save(self):
        self.seconds = time.perf_counter() - self.started
        self.saved_at = self.updates
        checkpoint.save(self.folder / LATEST, self.model, {
            "updates": self.updates, "seconds": self.seconds, "history": self.history, "best": self.best})

    def restore(self):
        progress = checkpoint.restore(self.folder / LATEST, self.model)
        self.updates, self.seconds = progress["updates"], progress["seconds"]
        self.history, self.best, self.saved_at = progress["history"], progress["best"], progress["updates"]
        if self.updates % self.epoch_updates and self.updates < self.total:
            self.metrics_to_restore = [np.asarray(variable) for variable in self.model.metrics_variables]
        if self.history:
            self.write_history()

    def write_history(self):
        text = io.StringIO()
        writer = csv.DictWriter(text, self.history[-1].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        with replacing(self.folder.parent / "history.csv") as part:
            part.write_text(text.getvalue())
