"""model.fit over a stateless stream: blocks of updates in the graph, exact resume, no lost run."""
import math
import time

import keras
import numpy as np
import tensorflow as tf

from training import carried, checkpoint, kernels, parts, reading, replicas
from training.interruption import StopRequest
from training.keeper import Keeper
from training.memory import traced_gradients_forgotten
from training.progress import EVERY, Progress

BLOCK_SECONDS = 0.5            # a request to stop is heard between blocks; a block is at least one update
HOST = "CPU:0"                 # where the loop counts


def fit(model, stream, *, folder, strategy, validation=None, epochs=None, updates=None, callbacks=(),
        keep_best=None, mode="max", steps_per_execution=None, validate_every=None, checkpoint_every=EVERY,
        in_parts=1, jit=False, cluster=None, verbose=1):
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
    in_parts: how many equal parts of a batch, of all devices together, go through the network by
    themselves; see training.parts.
    cluster: the multi_worker.Cluster, where there are several workers; only its chief writes.
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
    objects = {"model": model, **({"random": TorchRandom()} if keras.backend.backend() == "torch" else {})}
    progress = Progress(folder, objects, every=checkpoint_every, writes=cluster is None or cluster.is_chief)
    arguments = {"updates": updates, "epoch_updates": epoch_updates, "keep_best": keep_best, "mode": mode,
                 "cluster": cluster}
    in_parts = parts.of_each(strategy.num_replicas_in_sync, in_parts, stream)
    replicas.prepare(model.optimizer, strategy)
    with strategy.scope():
        logged = build(model, stream, validation)
    if keep_best and keep_best not in logged:
        raise ValueError(f"keep_best must be one of {', '.join(logged)}. Received: {keep_best}")
    with (StopRequest() as stop, traced_gradients_forgotten(), kernels.faster(model, wanted=not jit),
          parts.each_by_itself(model, in_parts)):
        if keras.backend.backend() == "tensorflow":
            kind = Fed if reading.on_disk(stream) else Blocks
            keeper = kind(model, stream, progress, stop, callbacks, strategy=strategy, jit=jit, **arguments)
        else:
            keeper = Steps(model, stream, progress, stop, callbacks, **arguments)
        keeper.restore()
        everything = [carried.Apart(), *callbacks, keeper]
        if keeper.finished:
            end_again(model, everything)
        else:
            data = keeper.prepare(steps_per_execution or min(100, max(1, epoch_updates // 20)))
            with reading.named(validation, saved=keeper.save_as_it_is):
                model.fit(data, steps_per_epoch=epoch_updates, initial_epoch=len(progress.history),
                          epochs=epochs, validation_data=None if validation is None else validation.dataset(),
                          callbacks=everything, shuffle=False, verbose=verbose)
        model.train_function = None                        # holds the keeper, its graph and the data
        if keep_best:
            checkpoint.restore({"model": model}, {"model": progress.checkpoints.best(progress.best)})
        progress.close()
        if keeper.agreed()[0]:
            raise stop.error("the training is complete")
    return progress.history


def build(model, stream, validation):
    """Builds metrics and optimizer, whose variables a checkpoint needs; the names of all logged values."""
    logged = list(model.test_on_batch(*batch(stream, 0), return_dict=True))
    model.reset_metrics()
    carried.forget(model)
    model.optimizer.build(model.trainable_variables)
    return logged + ([f"val_{name}" for name in logged] if validation is not None else [])


def batch(stream, i):
    """Batch i, as NumPy arrays where Keras does not run on TensorFlow."""
    if keras.backend.backend() == "tensorflow":
        return stream.batch(i)
    return tf.nest.map_structure(np.asarray, stream.batch(i))


def end_again(model, callbacks):
    """What model.fit does after its last epoch, for a run that was killed just then."""
    callbacks = keras.callbacks.CallbackList(callbacks, model=model)
    callbacks.on_train_begin()
    model.optimizer.finalize_variable_values(model.trainable_weights)
    callbacks.on_train_end()


def stages(stream):
    """((end, stream), ...): what gives the batches before the update end; None ends the last.

    Within a stage all batches are of one shape: Stream's resized.
    """
    return getattr(stream, "stages", ((None, stream),))


def batches(stream, first, last, *shard, at_once):
    """A tf.data.Dataset of the batches [first, last), each made by stream.batch(i, *shard)."""
    whole = None
    for end, part in stages(stream):
        numbers = tf.data.Dataset.range(first, last if end is None else min(end, last))
        made = numbers.map(lambda i, part=part: part.batch(i, *shard), num_parallel_calls=at_once)
        whole = made if whole is None else whole.concatenate(made)
        first = max(first, end or 0)
    return whole.prefetch(2)


def block_function(model, stream, strategy, jit):
    """(first, last) -> metrics after the updates [first, last), all run in TensorFlow.

    One call makes all those of a stage of the stream.
    """
    of_stage = [(end, one_stage(model, part, strategy, jit)) for end, part in stages(stream)]

    def from_to(first, last):
        for end, block in of_stage:
            if end is None or first < end:
                here = last if end is None else min(end, last)
                with tf.device(HOST):
                    bounds = tf.constant(first, tf.int64), tf.constant(here, tf.int64)
                metrics, first = block(*bounds), here
                if first == last:
                    return metrics
    return from_to


def one_stage(model, stream, strategy, jit):
    """(first, last) int64 -> metrics after the updates [first, last), whose batches are of one shape.

    The batches are computed inside the graph, in a tf.while_loop: no iterator, no Python
    per step. It calls the model's own train_step, whose outputs are dropped but for the
    last metrics. The loop counts on the host: a counter on a GPU would have to come back from
    there, after all that the GPU still has to do, before the next update could be given to it.
    jit compiles the update and, where the stream can be halved, what is done to its examples.
    """
    halves = stream.halves() if jit and hasattr(stream, "halves") else None
    take, make = halves or (stream.batch, lambda *data: data)

    def train_step(*taken):
        model.train_step(make(*taken))
    step = tf.function(train_step, jit_compile=True) if jit else train_step

    def replica_step(i):
        step(*take(i, shard=replicas.shard(strategy)))

    @tf.function(autograph=False)
    def block(first, last):
        def body(i):
            strategy.run(replica_step, args=(i,))
            with tf.device(HOST):
                return (i + 1,)

        def goes_on(i):
            with tf.device(HOST):
                return i < last
        tf.while_loop(goes_on, body, (first,), parallel_iterations=1)
        return model.get_metrics_result()
    return block


class Blocks(Keeper):
    """Stands in for Keras's train function: updates in blocks, so short that a request to stop is heard."""

    def __init__(self, model, stream, progress, stop, callbacks, *, strategy, jit, **options):
        super().__init__(model, stream, progress, stop, callbacks, **options)
        self.again = block_function(model, stream, strategy, jit)
        self.replicas = strategy.num_replicas_in_sync
        self.traced = False                         # whether the time of a block means anything

    def prepare(self, steps_per_execution):
        """The data set that model.fit walks through: empty, because the blocks make their own batches."""
        self.model.steps_per_execution = steps_per_execution
        self.model.train_function = self.train_function
        return tf.data.Dataset.from_tensors(np.zeros(self.replicas)).repeat()

    def once(self, i):
        return self.again(i, i + 1)

    def train_function(self, _iterator):
        """One call of Keras's loop: up to steps_per_execution updates, none that a resumed run has done."""
        first = self.cursor
        self.cursor = min(first + self.model.steps_per_execution, self.epoch_end)
        first = min(max(first, self.progress.updates), self.cursor)
        logs = self.again(first, first) if first == self.cursor else None
        while first < self.cursor:
            last = min(first + self.size, self.cursor, self.progress.due_at)
            started = time.perf_counter()
            logs = self.again(first, last)
            loss = float(logs["loss"])                                   # waits for the device
            self.measure(last - first, time.perf_counter() - started)
            self.passed(first, last, loss)
            first = last
        return logs

    def measure(self, updates, seconds):
        """Sets the size of the next blocks; the first one also traced the function."""
        if self.traced:
            self.size = max(1, min(10 * self.size, round(updates * BLOCK_SECONDS / max(seconds, 1e-6))))
        self.traced = True


class Fed(Blocks):
    """Updates on batches that tf.data reads from files, several at once and ahead of time.

    One call into TensorFlow makes one update: reading takes far longer than the call. An error
    in reading comes between two updates, so that what is saved then is whole.
    """

    def __init__(self, model, stream, progress, stop, callbacks, *, strategy, jit, **options):
        super().__init__(model, stream, progress, stop, callbacks, strategy=strategy, jit=jit, **options)
        self.shard = (0, 1) if self.cluster is None else (self.cluster.index, self.cluster.workers)
        self.again = self.updates
        self.step = fed_step(model, strategy, jit, strategy.num_replicas_in_sync // self.shard[1])
        self.metrics_result = tf.function(model.get_metrics_result, autograph=False)
        stream.check_divides(strategy.num_replicas_in_sync)
        self.ahead, self.following = None, None        # iterator over batches, and which one is next

    def updates(self, first, last):
        for i in range(first, last):
            if i != self.following:
                self.ahead = iter(batches(self.stream, i, np.iinfo(np.int64).max, self.shard,
                                          at_once=tf.data.AUTOTUNE))
            self.following = None
            try:
                values = next(self.ahead)
            except reading.ERRORS as error:
                if i > self.progress.updates:
                    self.passed(self.progress.updates, i, float(self.metrics_result()["loss"]))
                raise reading.told(self.stream.explained(error, i), self.save_as_it_is()) from error
            self.step(*values)
            self.following = i + 1
        return self.metrics_result()


def fed_step(model, strategy, jit, local):
    """(inputs, labels) of this worker's part of a batch -> nothing, after an update by its local replicas."""
    def train_step(data):
        model.train_step(data)
    update = tf.function(train_step, jit_compile=True) if jit else train_step

    def replica_step(*values):
        if local > 1:
            part, _ = replicas.shard(strategy)
            rows = tf.nest.flatten(values[1])[0].shape[0] // local
            with tf.device(HOST):                      # so that a device is sent its own rows alone
                values = tf.nest.map_structure(
                    lambda each: each[part % local * rows:(part % local + 1) * rows], values)
        update(tuple(values))

    @tf.function(autograph=False)
    def step(*values):
        strategy.run(replica_step, args=values)
    return step


class Steps(Keeper):
    """Keras's own train function, on JAX and PyTorch: one update at a time, those already done left out."""

    def prepare(self, steps_per_execution):
        self.every = steps_per_execution                   # updates between two looks at the loss
        distribution = keras.distribution.distribution()
        self.stream.check_divides(distribution.device_mesh.devices.size if distribution else 1)
        self.model.train_function = None                   # that of an earlier fit
        self.model.make_train_function()
        self.model.train_function = self.skipping(self.model.train_function)
        first = len(self.progress.history) * self.epoch_updates
        # The last epoch may be cut short; Keras asks for a whole one.
        at_once = tf.data.AUTOTUNE if reading.on_disk(self.stream) else None
        return batches(self.stream, first, self.total + self.epoch_updates, at_once=at_once)

    def skipping(self, function):
        """PyTorch's train function is data -> logs; JAX's (state, iterator over data) -> (logs, state)."""
        def skip_or_update(*state_and_data):
            self.cursor += 1
            if self.progress.updates < self.cursor <= self.epoch_end:
                if "random" in self.progress.objects:
                    self.progress.objects["random"].before_update()
                return function(*state_and_data)
            if len(state_and_data) == 1:
                return {}
            next(state_and_data[1])
            return {}, state_and_data[0]
        return skip_or_update

    def on_train_batch_end(self, batch, logs=None):
        last = min(self.cursor, self.epoch_end)
        waiting = last - self.progress.updates
        if waiting > 0 and (waiting >= self.every or last in (self.epoch_end, self.progress.due_at)
                            or self.stop.asked or self.progress.due()):
            self.passed(self.progress.updates, last, float(logs["loss"]))

    def again(self, first, last):
        for i in range(first, last):
            self.once(i)

    def once(self, i):
        return self.model.train_on_batch(*batch(self.stream, i), return_dict=True)


class TorchRandom:
    """PyTorch's own random generators, from which Keras draws the dropout of a layer without a seed.

    Data loaders draw from them too, and not as often in a resumed run: the state of a
    checkpoint is therefore put in place just before the next update.
    """

    def __init__(self):
        self.waiting = None

    def get_state(self):
        import torch
        self.waiting = {"cpu": torch.get_rng_state().numpy(),
                        "cuda": [state.numpy() for state in torch.cuda.get_rng_state_all()]}
        return self.waiting

    def set_state(self, state):
        self.waiting = state

    def before_update(self):
        import torch
        if self.waiting is not None:
            torch.set_rng_state(torch.from_numpy(self.waiting["cpu"]))
            torch.cuda.set_rng_state_all([torch.from_numpy(value) for value in self.waiting["cuda"]])
            self.waiting = None
