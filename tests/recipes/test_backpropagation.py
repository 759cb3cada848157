"""backpropagation: the delta rules against two other ways to the same gradient, and the chain by hand."""
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from recipes.foundations.backpropagation import (
    BITS,
    SMOKE,
    SUMS,
    automatic,
    chain,
    delta_rules,
    error,
    largest_difference,
    main,
    numerical,
)
from training import Run


@pytest.mark.parametrize("hidden", [1, 4, 9])
def test_delta_rules_equal_automatic_differentiation(hidden):
    generator = np.random.default_rng(hidden)
    weights = [generator.normal(size=shape) for shape in ((3, hidden), (hidden,), (hidden, 2), (2,))]
    gradients = delta_rules(BITS, SUMS, weights)
    assert [gradient.shape for gradient in gradients] == [weight.shape for weight in weights]
    assert max(np.abs(gradient).max() for gradient in gradients) > 1e-3     # they are not all zero
    assert largest_difference(gradients, automatic(BITS, SUMS, weights)) < 1e-6
    before = [weight.copy() for weight in weights]
    assert largest_difference(gradients, numerical(BITS, SUMS, weights)) < 1e-9
    assert largest_difference(before, weights) == 0


def test_the_targets_are_those_of_a_full_adder():
    assert (2 * SUMS[:, 0] + SUMS[:, 1] == BITS.sum(axis=1)).all()


def test_a_step_against_the_gradient_lowers_the_error():
    generator = np.random.default_rng(0)
    weights = [generator.normal(size=shape) for shape in ((3, 4), (4,), (4, 2), (2,))]
    gradients = delta_rules(BITS, SUMS, weights)
    lower = [weight - 0.01 * gradient for weight, gradient in zip(weights, gradients, strict=True)]
    fall = error(BITS, SUMS, weights) - error(BITS, SUMS, lower)
    assert fall == pytest.approx(0.01 * sum(np.sum(gradient ** 2) for gradient in gradients), rel=0.02)


def test_the_chain_to_the_digit():
    values = chain(2)
    assert (values["y"], values["z"], values["dy_dx"], values["dz_dx"], values["dz_dy"]) == (6, 1, 3, 3, 1)
    assert round(values["w"], 5) == 0.76159 and round(values["dw_dx"], 5) == 1.25992
    assert round(values["dw_dz"], 5) == round(values["dw_dy"], 5) == 0.41997
    x = tf.constant(2.0, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = 3 * x
        z = y - 5
        w = tf.tanh(z)
    slopes = tape.gradient(w, [x, y, z])
    np.testing.assert_allclose(slopes, [values[f"dw_d{name}"] for name in "xyz"], rtol=1e-12)


def test_zero_hidden_units_are_refused(tmp_path):
    config = dataclasses.replace(SMOKE, hidden=0)
    with pytest.raises(ValueError, match="hidden and updates must be at least 1. Received: hidden=0"):
        main(config, Run(tmp_path / "run", config=config))


def test_smoke(smoke_run, drawn):
    folder, metrics = smoke_run("backpropagation")
    drawn(folder, "network", "chain")
    assert metrics["largest_difference"] < 1e-6 and metrics["largest_difference_numerical"] < 1e-9
    assert metrics["parameters"] == 26 and metrics["final_error"] < 0.2
