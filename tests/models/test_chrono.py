"""First biases that remember: where they stand, how long they remember, and what they are not for."""
import keras
import numpy as np
import pytest
from soundness import saves_and_loads

from models import ChronoBias, recurrent_classifier


def test_biases_of_an_lstm():
    i, f, c, o = np.split(np.asarray(ChronoBias(100, seed=0)((400,))), 4)
    np.testing.assert_array_equal(i, -f)
    assert not c.any() and not o.any()
    remembered = np.exp(f)                                   # uniform in [1, 99]
    assert remembered.min() >= 1 and remembered.max() <= 99.001
    assert np.mean(remembered) == pytest.approx(50, abs=10) and np.std(remembered) > 20


def test_the_input_gate_may_stay_open():
    biases = np.asarray(ChronoBias(100, seed=0, inputs=False)((400,)))
    assert not biases[:100].any() and not biases[200:].any()
    np.testing.assert_array_equal(biases[100:200], np.asarray(ChronoBias(100, seed=0)((400,)))[100:200])


def test_biases_of_a_gru_are_of_its_inputs():
    of_inputs, of_states = np.asarray(ChronoBias(100, seed=0)((2, 300)))
    assert not of_states.any() and not of_inputs[100:].any()
    assert (of_inputs[:100] >= 0).all() and of_inputs[:100].max() > 3


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_first_network_keeps_its_state_for_as_long(cell):
    """A state of 1 decays by e in about as many steps as were drawn, where Keras's biases lose it at once."""
    kept = {}
    for memory in (1_000, None):
        keras.utils.set_random_seed(0)
        layer = recurrent_classifier((50, 1), 2, cell=cell, units=(64,), memory=memory).get_layer("features")
        state = [np.ones((1, 64), np.float32)] * (2 if cell == "lstm" else 1)
        for _ in range(50):
            state = layer.cell(np.zeros((1, 1), np.float32), state)[1]
        kept[memory] = float(np.median(np.abs(np.asarray(state[-1]))))
    assert kept[1_000] > 0.5 and kept[None] < 0.2


def test_travels_with_the_network(tmp_path):
    model = recurrent_classifier((5, 2), 3, cell="lstm", units=(4,), memory=20)
    saves_and_loads(model, np.random.default_rng(0).random((2, 5, 2), np.float32), tmp_path)
    again = keras.initializers.deserialize(keras.initializers.serialize(ChronoBias(20, seed=3)))
    np.testing.assert_array_equal(again((8,)), ChronoBias(20, seed=3)((8,)))


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least 3 steps. Received: 2"):
        ChronoBias(2)
    for shape in ((6,), (2, 8), (3, 12)):
        with pytest.raises(ValueError, match="for an LSTM.*or a GRU"):
            ChronoBias(10)(shape)
    with pytest.raises(ValueError, match="memory is for cells lstm and gru"):
        recurrent_classifier((5, 2), 3, cell="rnn", memory=20)
