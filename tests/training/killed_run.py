"""A training to be killed: python killed_run.py KIND FOLDER [--die-writing N] [--undisturbed OTHER].

KIND     schedule: dropout, augmentation, Adam, a learning-rate schedule, the best weights kept.
         plateau: momentum, ReduceLROnPlateau, EarlyStopping with its best weights.
         own: a loop of its own, with a random generator and a memory.
It goes on where FOLDER holds a run, and writes the final state to FOLDER/final.npz. --die-writing N
ends the process as kill -9 would, in the middle of the N-th file of a checkpoint. --undisturbed
OTHER runs the same once more from its start in the folder OTHER.
"""
import argparse
import os
import signal
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from models import nielsen_convnet
from pipelines import digits
from pipelines.stream import Stream
from training import Run, checkpoint

UPDATES, EPOCH = 240, 30


def shifted(images, seeds):
    """Each image rolled by up to two pixels to the right."""
    def one(values):
        image, seed = values
        return tf.roll(image, tf.random.stateless_uniform([], seed, 0, 3, tf.int32), axis=1)
    return tf.map_fn(one, (images, seeds), fn_output_signature=tf.float32)


def network(kind):
    model = nielsen_convnet((12, 12, 1), filters=(4,), hidden=(16,), dropout=0.3)
    if kind == "schedule":
        optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, UPDATES))
    else:
        optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    return model


def callbacks(kind):
    if kind == "schedule":
        return []
    # So strict that both act within the eight epochs.
    return [keras.callbacks.ReduceLROnPlateau("val_loss", 0.5, patience=1, min_delta=0.5),
            keras.callbacks.EarlyStopping("val_loss", patience=2, min_delta=0.3, restore_best_weights=True)]


class Memory:
    """A replay memory in miniature: what it holds is drawn from later."""

    def __init__(self):
        self.rows = []

    def get_state(self):
        return {"rows": np.array(self.rows)}

    def set_state(self, state):
        self.rows = list(state["rows"])


def own_loop(run, data):
    model, random, memory = network("own"), np.random.default_rng(run.seed), Memory()
    optimizer, loss_of = keras.optimizers.Adam(1e-3), model.loss
    optimizer.build(model.trainable_variables)
    images, labels = data.training.arrays()

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)
        return loss

    trained = {"model": model, "optimizer": optimizer}
    updates = run.updates(UPDATES, {**trained, "random": random, "memory": memory})
    for i in updates:
        memory.rows.append(random.integers(len(labels), size=20))
        rows = memory.rows[random.integers(len(memory.rows))]
        loss = step(images[rows], labels[rows])
        if (i + 1) % EPOCH == 0:
            updates.log(loss=loss)
    return trained


def train(kind, folder):
    run = Run(folder, seed=3, deterministic=True, checkpoint_every=7,
              resume=(folder / "config.json").exists())
    data = digits.load(20, seed=4, size=12)
    if kind == "own":
        trained = own_loop(run, data)
    else:
        model = network(kind)
        run.fit(model, Stream(data.training, 20, seed=4, augment=shifted), data.validation, updates=UPDATES,
                validate_every=EPOCH, callbacks=callbacks(kind), verbose=0,
                keep_best="val_accuracy" if kind == "schedule" else None)
        trained = {"model": model}
    np.savez(folder / "final.npz", *sum(checkpoint.snapshot(trained).values(), start=[]))


def die_writing(count):
    """Lets the count-th np.savez write half of its file and then end the process."""
    savez, left = np.savez, [count]

    def dying(file, **arrays):
        left[0] -= 1
        savez(file, **arrays)
        if left[0] == 0:
            file.flush()
            os.truncate(file.fileno(), file.tell() // 2)
            os.kill(os.getpid(), signal.SIGKILL)
    np.savez = dying


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("schedule", "plateau", "own"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die-writing", type=int, default=0)
    parser.add_argument("--undisturbed", type=Path)
    arguments = parser.parse_args()
    if arguments.die_writing:
        die_writing(arguments.die_writing)
    train(arguments.kind, arguments.folder)
    if arguments.undisturbed:
        train(arguments.kind, arguments.undisturbed)
