"""activations: every function and derivative against Keras and the definition."""
import dataclasses

import numpy as np
import pytest

from recipes.foundations.activations import (
    FUNCTIONS,
    SMOKE,
    compiled_model,
    hidden_derivatives,
    largest_difference,
    main,
    softmax,
    softmax_jacobian,
)
from training import Run

Z = np.linspace(-4, 4, 50)                       # without 0


def test_functions_and_derivatives_equal_keras_and_its_gradients():
    assert largest_difference() < 1e-6


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivative_is_the_limit_of_the_quotient(name):
    function, derivative = FUNCTIONS[name]
    quotient = (function(Z + 1e-6) - function(Z - 1e-6)) / 2e-6
    np.testing.assert_allclose(derivative(Z), quotient, atol=1e-8)


def test_largest_slopes():
    assert FUNCTIONS["sigmoid"][1](np.array(0.0)) == 0.25 and FUNCTIONS["tanh"][1](np.array(0.0)) == 1
    assert FUNCTIONS["sigmoid"][1](Z).max() < 0.25
    assert not FUNCTIONS["step"][1](Z).any()


def test_softmax_sums_to_one_and_its_jacobian_to_zero():
    z = np.array([1000.0, 999.0, 0.0])           # exp(1000) alone overflows
    assert softmax(z).sum() == pytest.approx(1) and softmax(z)[0] == pytest.approx(1 / (1 + np.exp(-1)))
    np.testing.assert_allclose(softmax_jacobian(Z).sum(axis=1), 0, atol=1e-12)
    assert (np.diag(softmax_jacobian(Z)) > 0).all()


def test_hidden_derivatives_count_dead_units():
    from pipelines import digits
    data = digits.load()
    model = compiled_model(SMOKE, data, "relu", 0.1)
    layer = model.get_layer("hidden1")
    kernel, bias = layer.get_weights()
    bias[:7], bias[7:] = -1e3, 1e3               # no image can bring the first above zero
    layer.set_weights([kernel, bias])
    slopes = hidden_derivatives(model, "relu", data.test.arrays()[0])
    assert slopes.shape == (360, 60)             # of both layers
    assert np.flatnonzero((slopes[:, :30] == 0).all(axis=0)).tolist() == list(range(7))


@pytest.mark.parametrize(("names", "message"), [(("swish",), "Received: swish"), ((), "Received: none")])
def test_unknown_activations_are_refused(tmp_path, names, message):
    config = dataclasses.replace(SMOKE, activations=names)
    with pytest.raises(ValueError, match=f"step, sigmoid, tanh, relu, leaky_relu. {message}"):
        main(config, Run(tmp_path / "run", config=config))


def test_smoke(smoke_run, drawn):
    folder, metrics = smoke_run("activations")
    drawn(folder, "functions", "training")
    assert metrics["largest_difference"] < 1e-6
    assert metrics["relu_test_accuracy"] > 0.8 > metrics["sigmoid_test_accuracy"]     # six epochs
    assert (folder / "relu" / "model.keras").exists()
