"""universal_approximation: the construction against its bound, the stack against single networks."""
import dataclasses

import numpy as np
import pytest

from models import mlp
from recipes.foundations.universal_approximation import (
    SMOKE,
    constructed,
    error_bound,
    first_weights,
    lipschitz,
    main,
    outputs,
    target,
)
from training import Run

X = np.linspace(0, 1, 3_001)


@pytest.mark.parametrize("bins", [1, 2, 5, 20, 100, 400])
def test_the_construction_keeps_its_bound(bins):
    error = np.abs(constructed(X, bins) - target(X)).max()
    assert error <= error_bound(bins)
    assert bins < 50 or error > 0.5 * error_bound(bins)          # the bound says something


def test_lipschitz_constant_is_the_steepest_difference():
    assert np.abs(np.diff(target(X)) / np.diff(X)).max() == pytest.approx(lipschitz(), rel=1e-3)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_network_of_the_stack_is_an_ordinary_one(layers):
    """The masked units take no part: the same as a Keras network of that width alone."""
    widths = (2, 5, 3)
    weights, masks = first_weights(layers, widths, np.random.default_rng(0))
    x = np.linspace(0, 1, 7, dtype=np.float32)[:, None]
    received = np.asarray(outputs(weights, masks, x))
    assert received.shape == (3, 7, 1)
    for net, width in enumerate(widths):
        model = mlp((1,), 1, hidden=(width,) * layers)
        values = [weights["w1"][net, :, :width], weights["b1"][net, 0, :width]]
        if layers == 2:
            values += [weights["w2"][net, :width, :width], weights["b2"][net, 0, :width]]
        model.set_weights([*values, weights["v"][net, :width], weights["c"][net, 0]])
        np.testing.assert_allclose(received[net], np.asarray(model(x)), atol=1e-5)


@pytest.mark.parametrize("change", [{"widths": (4, 0)}, {"bins": (0,)}, {"starts": 0}, {"updates": 0}])
def test_a_width_of_zero_is_refused(tmp_path, change):
    config = dataclasses.replace(SMOKE, **change)
    with pytest.raises(ValueError, match="widths, bins, starts and updates must be at least 1"):
        main(config, Run(tmp_path / "run", config=config))
    with pytest.raises(ValueError, match="Received: 0"):
        constructed(X, 0)


def test_smoke(smoke_run, drawn):
    folder, metrics = smoke_run("universal_approximation")
    drawn(folder, "fits", "errors")
    assert metrics["construction_largest_error_over_bound"] <= 1
    for name in ("one_layer", "two_layers"):
        errors = [metrics[f"{name}_error_width_{width}"] for width in SMOKE.widths]
        assert errors[2] < errors[0] / 2 and errors[2] < 0.05
