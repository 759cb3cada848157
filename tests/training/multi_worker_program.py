"""One of several workers, as test_multi_worker starts it: python multi_worker_program.py FOLDER WHAT."""
import json
import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow import trainer

from pipelines.stream import Examples, Stream
from training import loop, multi_worker

BATCH, ROWS = 24, 240


def keras_functions():
    """What multi_worker.apply replaces in Keras."""
    Trainer = trainer.TensorFlowTrainer
    return trainer.reduce_per_replica, Trainer._maybe_symbolic_build, Trainer._make_function


def set_keras_functions(functions):
    Trainer = trainer.TensorFlowTrainer
    trainer.reduce_per_replica, Trainer._maybe_symbolic_build, Trainer._make_function = functions


UNCORRECTED = keras_functions()


def examples(rows=ROWS):
    inputs = np.random.default_rng(0).normal(size=(rows, 20)).astype(np.float32)
    return Examples(inputs, (inputs[:, 0] > inputs[:, 1]).astype(np.int64))


def compiled_model(*, normalised=False):
    """The same initial weights in every process."""
    keras.utils.set_random_seed(3)
    layers = [keras.Input((20,)), keras.layers.Dense(16, activation="relu")]
    layers += [keras.layers.BatchNormalization(), keras.layers.Dropout(0.1)] * normalised
    model = keras.Sequential([*layers, keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def trained(strategy, folder):
    """A network after 50 updates of training.loop.fit, and its history."""
    with strategy.scope():
        model = compiled_model()
    history = loop.fit(model, Stream(examples(), BATCH, seed=1), folder=folder, strategy=strategy, updates=50,
                       steps_per_execution=5, verbose=0)
    return model, history


def rows_seen(strategy):
    """The numbers of the examples that this process's replica sees in the first two epochs."""
    stream = Stream(Examples(np.arange(ROWS), np.arange(ROWS)), BATCH, seed=1)

    @tf.function
    def batch(i):
        def replica_batch(i):
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return stream.batch(i, shard=(replica, strategy.num_replicas_in_sync))[1]
        return strategy.run(replica_batch, args=(i,))
    return [np.concatenate([strategy.experimental_local_results(batch(tf.constant(i)))[0].numpy()
                            for i in range(epoch * ROWS // BATCH, (epoch + 1) * ROWS // BATCH)])
            for epoch in range(2)]


def fitted(strategy, result):
    """Keras's own fit, evaluate and predict, on a network whose moving statistics are averaged."""
    data, test = examples(), examples(ROWS + 1)              # the last batch of the test has one row
    with strategy.scope():
        model = compiled_model(normalised=True)

    def fit():
        dataset = data.dataset(BATCH)
        return model.fit(dataset, epochs=2, verbose=0, validation_data=test.dataset(60)).history
    corrected = keras_functions()
    set_keras_functions(UNCORRECTED)
    try:
        fit()
        result["without_correction"] = ""
    except ValueError as error:
        result["without_correction"] = str(error)[:200]
    set_keras_functions(corrected)
    result["fit"] = fit()
    moving = [variable for variable in model.variables if "moving" in variable.path]
    result["moving_before"] = [np.asarray(variable).tolist() for variable in moving]
    multi_worker.average_statistics(model, strategy)
    result["moving_after"] = [np.asarray(variable).tolist() for variable in moving]
    result["evaluate"] = model.evaluate(test.dataset(60), return_dict=True, verbose=0)
    predicted, direct = model.predict(test.dataset(60), verbose=0), model(test.inputs, training=False).numpy()
    result["prediction_gap"] = float(np.abs(predicted - direct).max())
    model.steps_per_execution, model.test_function, model.predict_function = 3, None, None
    result["evaluate_by_3"] = model.evaluate(test.dataset(60), return_dict=True, verbose=0)
    by_3 = model.predict(test.dataset(60), verbose=0)
    result["prediction_gap"] = max(result["prediction_gap"], float(np.abs(by_3 - direct).max()))
    result["direct"] = {"loss": float(model.loss(test.labels, direct)),
                        "accuracy": float((direct.argmax(1) == test.labels).mean())}


def train_until(event, cluster, folder):
    """Trains without end; the parent reads FOLDER/training-<index> to know that it does."""
    with cluster.strategy.scope():
        model = compiled_model()

    class Tell(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch > 20:
                (folder / f"training-{cluster.index}").touch()
                if event == f"{cluster.index} dies":
                    os.kill(os.getpid(), signal.SIGKILL)
    with multi_worker.lost_peers(cluster):
        model.fit(examples().dataset(BATCH).repeat(), steps_per_epoch=10**6, verbose=0, callbacks=[Tell()])


def main(folder, what):
    caught = []
    signal.signal(signal.SIGTERM, lambda number, frame: caught.append(number))
    cluster = multi_worker.cluster()
    os.kill(os.getpid(), signal.SIGTERM)
    result = {"index": cluster.index, "workers": cluster.workers, "chief": cluster.is_chief,
              "sigterm_is_ours": caught == [signal.SIGTERM]}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    result["sums"] = cluster.sums([cluster.index, 1])
    if "train" in what:
        model, result["history"] = trained(cluster.strategy, folder / f"run{cluster.index}" / "checkpoints")
        np.savez(folder / f"weights-{cluster.index}.npz", *model.get_weights())
        result["rows_seen"] = [rows.tolist() for rows in rows_seen(cluster.strategy)]
    if "fit" in what:
        fitted(cluster.strategy, result)
    (folder / f"result-{cluster.index}.json").write_text(json.dumps(result))
    cluster.wait("written")
    if "dies" in what:
        train_until(what.split(",")[-1], cluster, folder)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2])
    except multi_worker.LostPeer as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.status)
