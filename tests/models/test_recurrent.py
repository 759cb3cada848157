"""Recurrent networks: counts, the LSTM cell by hand, padding, dropout, carried states, bad arguments."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from soundness import every_weight_gets_a_gradient, saves_and_loads

import models
from models.recurrent import WrittenLSTMCell, lstm_gates, recurrent_layer


def vectors(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def integers(vocabulary, *shape, seed=0):
    return np.random.default_rng(seed).integers(1, vocabulary, shape)


@pytest.mark.parametrize(("arguments", "count"), [
    (((784, 1), 10, {"cell": "irnn", "units": (100,)}), 11_210),
    (((784, 1), 10, {"cell": "rnn", "units": (100,)}), 11_210),
    (((784, 1), 10, {"cell": "lstm", "units": (100,)}), 41_810),
    (((784, 1), 10, {"cell": "gru", "units": (100,)}), 31_910),
    (((784, 1), 10, {"cell": "lstm", "units": (128,)}), 67_850),
    (((200,), 1, {"vocabulary": 20_000, "units": (64, 64), "bidirectional": True}), 2_757_761),
    (((100,), 1, {"vocabulary": 20_000, "units": (64,), "bidirectional": True, "dropout": 0.5}), 2_658_945),
    (((80,), 1, {"vocabulary": 20_000, "units": (128,), "recurrent_dropout": 0.2}), 2_691_713)])
def test_parameters_to_the_digit(arguments, count):
    shape, classes, options = arguments
    model = models.recurrent_classifier(shape, classes, **options)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == count
    assert model.output_shape == (None, classes) and not model.compiled


def test_parameters_of_char_rnn():
    assert models.recurrent_language_model(65).count_params() == 239_297


CLASSIFIERS = {
    "rnn, padded vectors": ((6, 3), {"cell": "rnn", "units": (5, 4), "masked": True}),
    "irnn": ((None, 3), {"cell": "irnn", "units": (5,)}),
    "lstm, two directions, max": ((6,), {"vocabulary": 9, "units": (5, 4), "bidirectional": True,
                                         "pooling": "max", "dropout": 0.3}),
    "gru, mean": ((None,), {"cell": "gru", "vocabulary": 9, "units": (5,), "pooling": "mean"}),
    "lstm, hoisted": ((6, 3), {"units": (5, 4), "bidirectional": True, "hoisted": True}),
    "lstm, recurrent dropout": ((6, 3), {"units": (5,), "recurrent_dropout": 0.3})}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_gradients_and_saving(name, tmp_path):
    shape, options = CLASSIFIERS[name]
    model = models.recurrent_classifier(shape, 3, **{"embedding": 4, **options})
    x = vectors(4, 6, 3) if len(shape) == 2 else np.stack([np.roll(np.arange(9), k)[:6] for k in range(4)])
    every_weight_gets_a_gradient(model, x)
    saves_and_loads(model, x, tmp_path)


def with_weights_of(layer, other):
    for ours, theirs in zip(layer.weights, other.weights, strict=True):
        ours.assign(theirs)


def test_the_cell_written_out_equals_keras_s():
    x = vectors(3, 7, 4)
    written = keras.layers.RNN(WrittenLSTMCell(5), return_sequences=True)
    theirs = keras.layers.LSTM(5, return_sequences=True)
    written(x), theirs(x)
    np.testing.assert_array_equal(written.cell.bias, theirs.cell.bias)
    theirs.cell.bias.assign(vectors(20))
    with_weights_of(written.cell, theirs.cell)
    np.testing.assert_allclose(written(x), theirs(x), atol=1e-6)


def test_lstm_gates_by_hand():
    def sigmoid(z):
        return 1 / (1 + np.exp(-z))
    z, c = np.array([[0.5, -1.0, 2.0, 0.3]]), np.array([[0.7]])
    h, new = lstm_gates(tf.constant(z), tf.constant(c))
    expected = sigmoid(-1.0) * 0.7 + sigmoid(0.5) * np.tanh(2.0)
    np.testing.assert_allclose(new, [[expected]])
    np.testing.assert_allclose(h, [[sigmoid(0.3) * np.tanh(expected)]])


def test_irnn_starts_by_copying_its_state():
    layer = recurrent_layer("irnn", 6, name="irnn")
    layer(vectors(1, 2, 3))
    np.testing.assert_array_equal(layer.cell.recurrent_kernel, np.eye(6))
    assert np.abs(layer.cell.kernel).max() < 0.01 and not np.any(layer.cell.bias)


def larger_weights(model):
    """Those of an IRNN are nearly zero at first, so that nothing would be seen."""
    for index, variable in enumerate(model.trainable_variables):
        variable.assign(variable + 0.2 * vectors(*variable.shape, seed=index))


@pytest.mark.parametrize("cell", models.recurrent.CELLS)
@pytest.mark.parametrize("pooling", models.recurrent.POOLINGS)
def test_padding_changes_nothing(cell, pooling):
    model = models.recurrent_classifier((None,), 3, cell=cell, vocabulary=9, embedding=4, units=(5, 4),
                                        bidirectional=True, pooling=pooling)
    larger_weights(model)
    x = integers(9, 2, 6)
    padded = np.pad(x, ((0, 0), (0, 5)))
    np.testing.assert_allclose(model(padded), model(x), atol=1e-6)
    without = models.recurrent_classifier((None,), 3, cell=cell, vocabulary=9, embedding=4, units=(5, 4),
                                          bidirectional=True, pooling=pooling, masked=False)
    without.set_weights(model.get_weights())
    assert np.abs(without(padded) - without(x)).max() > 1e-4


def test_dropout_is_of_inputs_and_drawn_at_each_step():
    model = models.recurrent_classifier((8, 3), 2, units=(4,), dropout=0.5)
    dropped = model.get_layer("recurrent1_dropout")(np.ones((2, 8, 3), np.float32), training=True).numpy()
    assert not (dropped == dropped[:, :1]).all()                 # differs from step to step
    assert not any(layer.recurrent_dropout for layer in model.layers if hasattr(layer, "recurrent_dropout"))


def test_recurrent_dropout_hides_the_same_units_at_all_steps():
    layer = recurrent_layer("rnn", 4, name="rnn", return_sequences=True, recurrent_dropout=0.5)
    x = np.zeros((200, 5, 1), np.float32)
    layer(x)
    layer.cell.recurrent_kernel.assign(np.eye(4))
    layer.cell.bias.assign(np.full(4, 0.1))
    states = layer(x, training=True).numpy()
    first, second = states[:, 0], states[:, 1]
    np.testing.assert_allclose(first, np.tanh(0.1), atol=1e-6)
    hidden = np.isclose(second, np.tanh(0.1), atol=1e-6)         # its own past is hidden: only the bias
    assert 0.4 < hidden.mean() < 0.6
    for later in (2, 3, 4):
        np.testing.assert_array_equal(np.isclose(states[:, later], np.tanh(0.1), atol=1e-6), hidden)


@pytest.mark.parametrize("cell", models.recurrent.CELLS)
def test_a_language_model_does_not_see_what_follows(cell):
    model = models.recurrent_language_model(7, cell=cell, units=(5, 4), embedding=3)
    larger_weights(model)
    x = integers(7, 2, 9)
    changed = x.copy()
    changed[:, 5:] = (changed[:, 5:] + 1) % 7
    before, after = model(x).numpy(), model(changed).numpy()
    assert before.shape == (2, 9, 7)
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert np.abs(before[:, 5:] - after[:, 5:]).max() > 1e-4


@pytest.mark.parametrize("embedding", [None, 3])
def test_a_language_model_s_gradients_and_saving(embedding, tmp_path):
    model = models.recurrent_language_model(7, units=(5, 4), embedding=embedding, dropout=0.2)
    x = np.stack([np.arange(7), np.arange(7)[::-1]])
    every_weight_gets_a_gradient(model, x)
    saves_and_loads(model, x, tmp_path)


@pytest.mark.parametrize("cell", models.recurrent.CELLS)
def test_streaming_goes_on_where_it_was(cell):
    model = models.recurrent_language_model(7, cell=cell, units=(5, 4), embedding=3, dropout=0.4)
    x = integers(7, 2, 9)
    stream = models.streaming(model, batch_size=2)
    pieces = [stream(part).numpy() for part in (x[:, :1], x[:, 1:5], x[:, 5:])]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), model(x), atol=1e-6)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"cell": "mgu"}, "cell must be one of rnn, irnn, lstm, gru. Received: 'mgu'"),
    ({"cell": "gru", "hoisted": True}, "hoisted is for cell lstm. Received: cell='gru'"),
    ({"units": ()}, "at least one width.*Received: units="),
    ({"units": (0,)}, "each at least 1"),
    ({"dropout": 1.0}, "dropout must be in"),
    ({"recurrent_dropout": -0.1}, "recurrent_dropout must be in"),
    ({"pooling": "sum"}, "pooling must be one of last, mean, max. Received: 'sum'"),
    ({"vocabulary": 10}, r"\(steps,\) for sequences of integers.*Received: input_shape=\(6, 3\)")])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.recurrent_classifier((6, 3), 2, **arguments)


def test_bad_arguments_of_language_models():
    with pytest.raises(ValueError, match="needs a batch_size"):
        models.recurrent_language_model(7, stateful=True)
    with pytest.raises(ValueError, match="masked needs an embedding"):
        models.recurrent_language_model(7, masked=True)
    with pytest.raises(ValueError, match=r"input_shape must be \(steps, features\)"):
        models.recurrent_classifier((6,), 2)
    with pytest.raises(ValueError, match="num_classes must be at least 1"):
        models.recurrent_classifier((6, 3), 0)
