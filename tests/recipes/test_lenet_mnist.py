"""lenet_mnist: that it learns by both trainings, its loss and its curvature by hand, exact resume."""
import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines import mnist
from recipes.images.lenet_mnist import (
    CURVATURE_EVERY,
    CURVATURE_MEAN,
    LECUN_RATES,
    NAMED,
    PUBLISHED,
    REJECTION,
    SMOKE,
    LevenbergMarquardt,
    OnLine,
    compiled_model,
    discriminative_loss,
    main,
)
from training import Run

ONLINE = dataclasses.replace(SMOKE, training="levenberg_marquardt", rates=(5e-4, 1e-4), batch_size=1,
                             network="lenet1")


@pytest.mark.parametrize(("config", "least"), [
    (SMOKE, 0.8), (dataclasses.replace(SMOKE, validation=0), 0.8),
    (dataclasses.replace(SMOKE, network="modern", shear=10, scale=0.1, shift=1), 0.8),
    (ONLINE, 0.7), (dataclasses.replace(ONLINE, network="lenet5"), 0.8)])
def test_smoke_learns(config, least, tmp_path):
    metrics = main(config, Run(tmp_path / "run", recipe="lenet_mnist", config=config, seed=0))
    assert metrics["test_accuracy"] > least                           # chance: .1
    model = keras.saving.load_model(tmp_path / "run" / "model.keras", compile=False)
    assert model.input_shape[1:] == (28, 28, 1)


def test_every_named_configuration_builds_with_its_parameters():
    data = mnist.load("digits", 10)
    counts = {name: compiled_model(config, data)[0].count_params() for name, config in NAMED.items()}
    assert counts == {"plain": 60_840, "plain-60000": 60_840, "decay": 60_840,
                      "decay-60000": 60_840, "distorted": 60_840, "lecun": 60_840,
                      "lecun-distorted": 60_840, "lenet1": 2_578, "modern": 61_706,
                      "modern-distorted": 61_706}
    assert set(PUBLISHED) <= set(NAMED)


def test_without_validation_all_images_train_and_nothing_is_chosen(tmp_path, monkeypatch):
    seen = {}
    load = mnist.load
    monkeypatch.setattr(mnist, "load", lambda *a, **k: seen.setdefault("data", load(*a, **k)))
    config = dataclasses.replace(SMOKE, network="lenet1", validation=0, epochs=1)
    metrics = main(config, Run(tmp_path / "run", config=config))
    assert seen["data"].train.size == 1437 and seen["data"].validation is None
    assert set(metrics) == {"test_accuracy", "test_loss"}


def test_lecuns_schedule():
    assert len(LECUN_RATES) == 20 and sorted(LECUN_RATES, reverse=True) == list(LECUN_RATES)
    data = mnist.load("digits", 1)
    optimizer = compiled_model(NAMED["lecun"], data)[1].optimizer
    passes, rate = data.train.batches_per_epoch, optimizer._learning_rate
    assert [float(rate(passes * epoch + 1)) for epoch in range(20)] == pytest.approx(LECUN_RATES)
    assert optimizer.damping == 0.2


def test_loss_is_equation_9():
    distances = np.array([[3.0, 40.0, 12.0], [60.0, 50.0, 70.0]])
    labels = np.array([2, 0])
    right = distances[[0, 1], labels]
    expected = right + np.log(np.exp(-REJECTION) + np.exp(-distances).sum(axis=1))
    loss = discriminative_loss(labels, -distances.astype(np.float32))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_update_divides_by_the_curvature():
    variable = keras.Variable([1.0, 2.0])
    optimizer = LevenbergMarquardt(0.1, 0.5)
    optimizer.build([variable])
    optimizer.curvatures[0].assign([0.5, 1.5])
    optimizer.apply([tf.constant([2.0, 2.0])], [variable])
    np.testing.assert_allclose(variable, [1 - 0.1 * 2 / 1, 2 - 0.1 * 2 / 2])


SHARED = np.array([0.6, -0.4], np.float32)                                 # a kernel over two pixels
DENSE = np.array([[1.0, -2.0], [0.3, 0.8]], np.float32)
PIXELS = np.array([1.0, -2.0, 0.5], np.float32)


def on_line_model():
    """A convolution over three pixels, squashed, and a dense layer: (the model, the two hidden values)."""
    network = keras.Sequential([
        keras.Input((1, 3, 1)), keras.layers.Conv2D(1, (1, 2), activation="tanh", use_bias=False),
        keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False), keras.layers.Softmax()])
    network.set_weights([SHARED.reshape(1, 2, 1, 1), DENSE])
    model = OnLine(network)
    model.compile(LevenbergMarquardt(0.0, 0.02), keras.losses.MeanSquaredError(), steps_per_execution=100)
    return model, np.tanh([PIXELS[:2] @ SHARED, PIXELS[1:] @ SHARED])


def test_curvature_is_the_papers():
    """Second derivatives of |y|^2 through squared weights and slopes; those of a shared weight add up."""
    model, hidden = on_line_model()
    measure = tf.function(model.curvatures)
    image = tf.constant(PIXELS.reshape(1, 1, 3, 1))
    estimates = [measure(image, tf.constant(update, tf.int64)) for update in range(4_000)]
    for _, dense in estimates[:10]:                    # exact in the last layer, whatever the signs
        np.testing.assert_allclose(dense, np.repeat(2 * hidden[:, None] ** 2, 2, axis=1), rtol=1e-5)
    units = (1 - hidden ** 2) ** 2 * 2 * (DENSE ** 2).sum(axis=1)
    expected = [units @ PIXELS[:2] ** 2, units @ PIXELS[1:] ** 2]
    found = np.mean([kernel for kernel, _ in estimates], axis=0).ravel()
    np.testing.assert_allclose(found, expected, rtol=0.1)


def test_training_keeps_a_running_mean_of_the_curvature():
    model, hidden = on_line_model()
    model.optimizer.build(model.trainable_variables)
    model.fit(np.tile(PIXELS.reshape(1, 3, 1), (200, 1, 1, 1)), np.zeros((200, 2)), batch_size=1, verbose=0)
    first = (1 - 1 / CURVATURE_MEAN) ** (200 / CURVATURE_EVERY)          # of the 1 at the start
    np.testing.assert_allclose(model.optimizer.curvatures[1], np.repeat(
        first + (1 - first) * 2 * hidden[:, None] ** 2, 2, axis=1), rtol=1e-4)
    np.testing.assert_array_equal(model.network.get_weights()[1], DENSE)    # at a rate of 0


@pytest.mark.slow
def test_resumed_within_an_epoch_ends_as_if_it_had_not_been_stopped(tmp_path):
    config = dataclasses.replace(ONLINE, batch_size=20, rates=(5e-4, 2e-4))      # 62 updates an epoch
    whole = Run(tmp_path / "whole", config=config)
    main(config, whole)

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) >= 100:          # some after the last checkpoint
                raise RuntimeError("stopped")
    data = mnist.load("digits", 20, seed=0)
    run = Run(tmp_path / "cut", config=config, checkpoint_every="20")
    network, model = compiled_model(config, data)
    with pytest.raises(RuntimeError, match="stopped"):
        run.fit(model, data.train, data.validation, epochs=2, keep_best="val_accuracy", saved=network,
                callbacks=[Stop()])
    saved = [path.name.split("-")[0] for path in (tmp_path / "cut" / "checkpoints").glob("0*.npz")]
    assert 62 < int(max(saved)) < 100                                # within the second epoch
    main(config, Run(tmp_path / "cut", config=config, resume=True))
    one, other = (keras.saving.load_model(tmp_path / name / "model.keras", compile=False).get_weights()
                  for name in ("whole", "cut"))
    for weight, again in zip(one, other, strict=True):
        np.testing.assert_array_equal(weight, again)


def test_decay_shrinks_the_kernels_alone(tmp_path):
    """Next to nothing is learned at a rate that small; what is left of a weight is the decay."""
    data = mnist.load("digits", 20, seed=0)
    config = dataclasses.replace(SMOKE, learning_rate=1e-6, weight_decay=5e4, epochs=1)
    _, model = compiled_model(config, data)
    before = {weight.path: np.array(weight) for weight in model.trainable_weights}
    Run(tmp_path, config=config).fit(model, data.train, updates=2, validate_every=2, verbose=0)
    for weight in model.trainable_weights:
        left = 0.9 if weight.path.endswith("kernel") else 1.0                    # about (1 - .05)^2
        np.testing.assert_allclose(weight, left * before[weight.path], rtol=0.01, atol=1e-4)
    with pytest.raises(ValueError, match="training=adam alone. Received: 0.1"):
        compiled_model(dataclasses.replace(ONLINE, weight_decay=0.1), data)
