"""gradient_descent: gradients by hand against the tape, paths against their formulas."""
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from recipes.foundations.gradient_descent import (
    SMOKE,
    bowl_formula,
    descend,
    largest_stable_rate,
    main,
    surfaces,
    updates_to_escape,
)
from training import Run

SURFACES = surfaces(10.0)


@pytest.mark.parametrize("name", SURFACES)
def test_gradients_equal_automatic_differentiation(name):
    surface = SURFACES[name]
    x, y = (tf.constant(values) for values in np.random.default_rng(0).uniform(-2, 2, (2, 50)))
    with tf.GradientTape() as tape:
        tape.watch((x, y))
        f = surface.value(x, y)
    np.testing.assert_allclose(surface.gradient(x, y), tape.gradient(f, (x, y)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.199, 0.21])
def test_the_path_on_the_bowl_is_its_formula(rate):
    path = descend(SURFACES["bowl"].gradient, (2, 1), rate, 50)
    np.testing.assert_allclose(path, bowl_formula((2, 1), rate, 50, 10.0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steepness", [2.0, 10.0, 50.0])
def test_the_largest_rate_is_two_over_lambda(steepness):
    assert largest_stable_rate(surfaces(steepness)["bowl"]) == pytest.approx(2 / steepness, rel=1e-6)


@pytest.mark.parametrize("rate", [0.05, 0.2])
@pytest.mark.parametrize("offset", [1e-6, 1e-3])
def test_the_saddle_holds_as_long_as_the_formula_says(rate, offset):
    path = descend(SURFACES["saddle"].gradient, (1.0, offset), rate, 400)
    escaped = int(np.argmax(np.abs(path[:, 1]) >= 0.1))
    assert escaped == pytest.approx(updates_to_escape(offset, rate), abs=1)


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="learning_rate=0"):
        descend(SURFACES["bowl"].gradient, (1, 1), 0, 5)
    config = dataclasses.replace(SMOKE, steepness=0.0)
    with pytest.raises(ValueError, match="steepness and offset must be positive. Received: steepness=0"):
        main(config, Run(tmp_path / "run", config=config))


def test_smoke(smoke_run, drawn):
    folder, metrics = smoke_run("gradient_descent")
    drawn(folder, "surfaces", "values")
    assert metrics["largest_stable_rate"] == pytest.approx(0.2) == metrics["stable_rate_by_formula"]
    assert metrics["bowl_largest_difference"] < 1e-12
    for place in ("local", "deep"):
        formula = metrics[f"{place}_minimum_x_by_formula"]
        assert metrics[f"{place}_minimum_x"] == pytest.approx(formula, abs=1e-3)
    assert metrics["local_minimum_value"] > 0 > metrics["deep_minimum_value"]
    assert metrics["larger_rate_x"] < 0                        # the large step jumped into the deeper well
    assert metrics["saddle_value_on_the_ridge"] == pytest.approx(0, abs=1e-4)
    assert metrics["saddle_value_off_the_ridge"] == pytest.approx(-0.25, abs=1e-3)
