"""The first neurons against their formulas."""
import itertools

import keras
import numpy as np
import pytest

from models.perceptron import (
    GATES,
    gaussian,
    mcculloch_pitts,
    ramp,
    sigmoid,
    step,
    threshold_perceptron,
)

BITS = np.array(list(itertools.product((0, 1), repeat=2)))
NET = np.linspace(-5, 5, 41)


def test_parameters_to_the_digit():
    assert threshold_perceptron((6,), hidden=(2,)).count_params() == 17
    assert threshold_perceptron((2,), hidden=(2,)).count_params() == 9


def test_threshold_neurons_fire_from_their_threshold_on(tmp_path):
    model = threshold_perceptron((1,))
    model.set_weights([np.array([[2.0]]), np.array([-3.0])])
    x = np.array([[1.4], [1.5], [1.6]])
    assert np.asarray(model(x)).ravel().tolist() == [-1, 1, 1]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(model(x), again(x))


@pytest.mark.parametrize(("name", "outputs"), [
    ("AND", [0, 0, 0, 1]), ("OR", [0, 1, 1, 1]), ("NOR", [1, 0, 0, 0]), ("NOT first", [1, 1, 0, 0]),
    ("first AND NOT second", [0, 0, 1, 0]), ("second AND NOT first", [0, 1, 0, 0])])
def test_gates(name, outputs):
    assert np.asarray(mcculloch_pitts(BITS, **GATES[name])).tolist() == outputs


def test_a_single_inhibitory_input_is_a_veto():
    x = np.array([[1, 1, 1, 0], [1, 1, 1, 1]])
    fired = mcculloch_pitts(x, excitatory=(0, 1, 2), inhibitory=(3,), threshold=1)
    assert np.asarray(fired).tolist() == [1, 0]


def test_neuron_models_equal_their_formulas():
    np.testing.assert_allclose(step(NET, -1, 2, 0.5), [2 if net >= 0.5 else -1 for net in NET])
    expected = [3 if net <= -1 else 7 if net >= 3 else 3 + (net + 1) * 4 / 4 for net in NET]
    np.testing.assert_allclose(ramp(NET, 3, 7, -1, 3), expected, rtol=1e-6)
    np.testing.assert_allclose(sigmoid(NET, 1.5, 2, -0.5), -0.5 + 1 / (1 + np.exp(-1.5 * NET + 2)), atol=1e-6)
    expected = np.exp(-((NET - 1) / 2) ** 2 / 2) / (np.sqrt(2 * np.pi) * 2)
    np.testing.assert_allclose(gaussian(NET, 1, 2), expected, atol=1e-6)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: threshold_perceptron((2,), hidden=(0,)), r"widths must be at least 1.*hidden=\(0,\)"),
    (lambda: threshold_perceptron((2,), 0), "num_outputs=0"),
    (lambda: mcculloch_pitts(BITS * 2 - 1, excitatory=(0,), threshold=1), "inputs of 0 and 1"),
    (lambda: mcculloch_pitts(BITS, excitatory=(0,), inhibitory=(0,), threshold=1), "not both"),
    (lambda: ramp(NET, c=1, d=1), "c must be less than d. Received: c=1, d=1"),
    (lambda: gaussian(NET, sigma=0), "sigma must be positive. Received: 0"),
])
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
