"""HoistedLSTM beside keras.layers.LSTM: outputs, gradients, padding, directions, states, saving."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from models.hoisted_lstm import HoistedLSTM


def vectors(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def built(kind, **options):
    keras.utils.set_random_seed(0)
    bidirectional = options.pop("bidirectional", False)
    layer = kind(5, **options)
    return keras.layers.Bidirectional(layer) if bidirectional else layer


def outputs_and_gradients(layer, x, mask=None, state=None):
    """What the layer gives in training, and gradients of a function of it by input, states and weights.

    Inside a graph of unknown length, as a training with buckets is.
    """
    arguments = {"mask": mask, "training": True}

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.float32)], autograph=False)
    def run(x):
        states = None if state is None else [tf.convert_to_tensor(part) for part in state]
        sources = [x, *(states or []), *(weight.value for weight in layer.trainable_variables)]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            outputs = tf.nest.flatten(layer(x, **arguments, **({} if states is None
                                                              else {"initial_state": states})))
            loss = sum(tf.reduce_sum(tf.sin(1.0 + tf.cast(part, tf.float32)) * (index + 1))
                       for index, part in enumerate(outputs))
        return outputs, tape.gradient(loss, sources)
    layer.build(x.shape)
    return tf.nest.map_structure(np.asarray, run(tf.constant(x)))


RIGHT = np.arange(7) < np.array([[7], [4], [1], [6]])            # padding follows, as text has it
ANYWHERE = np.array([[1, 1, 0, 1, 1, 0, 1]] * 4, bool)


@pytest.mark.parametrize(("options", "mask", "state"), [
    ({}, None, False),
    ({"return_sequences": True}, RIGHT, False),
    ({"return_sequences": True, "go_backwards": True}, ANYWHERE, False),
    ({"bidirectional": True, "return_sequences": True}, RIGHT, False),
    ({"bidirectional": True}, RIGHT, False),
    ({"return_sequences": True, "return_state": True}, RIGHT, True)])
def test_equals_keras_with_its_gradients(options, mask, state):
    x = vectors(4, 7, 3)
    state = [vectors(4, 5, seed=1), vectors(4, 5, seed=2)] if state else None
    ours, theirs = (outputs_and_gradients(built(kind, **options), x, mask, state)
                    for kind in (HoistedLSTM, keras.layers.LSTM))
    for one, other in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs), strict=True):
        assert np.abs(other).max() > 0
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)


def test_is_not_keras_loop_in_training():
    """That the test above compares two things: only in training the layer has a gradient of its own."""
    layer = built(HoistedLSTM)
    x = tf.constant(vectors(2, 4, 3))
    layer(x)
    names = {training: {operation.name for operation in tf.function(
        lambda values, training=training: layer(values, training=training)
        ).get_concrete_function(x).graph.get_operations()} for training in (True, False)}
    assert any("recurrence" in name or "IdentityN" in name for name in names[True])
    assert not any("IdentityN" in name for name in names[False])


def test_several_widths_in_one_process():
    x = tf.constant(vectors(2, 4, 3))
    for units in (5, 6, 7):
        layer = HoistedLSTM(units)
        np.testing.assert_allclose(layer(x, training=True), layer(x), atol=1e-6)


def test_bfloat16_is_near_float32():
    x = vectors(4, 7, 3)
    exact = outputs_and_gradients(built(keras.layers.LSTM), x)
    low = outputs_and_gradients(built(HoistedLSTM, dtype="mixed_bfloat16"), x)
    for one, other in zip(tf.nest.flatten(low), tf.nest.flatten(exact), strict=True):
        assert np.abs(one.astype(np.float32) - other).max() < 0.05 * np.abs(other).max()


def test_other_activations_and_recurrent_dropout_are_keras_s():
    assert HoistedLSTM(3).hoists()
    for options in ({"activation": "relu"}, {"recurrent_dropout": 0.1}, {"unroll": True},
                    {"use_bias": False}):
        assert not HoistedLSTM(3, **options).hoists()


def test_carries_its_state():
    layer = built(HoistedLSTM, stateful=True)
    x = vectors(2, 8, 3)
    whole = built(HoistedLSTM)(x, training=True)
    layer(x[:, :3], training=True)
    np.testing.assert_allclose(layer(x[:, 3:], training=True), whole, atol=1e-6)
