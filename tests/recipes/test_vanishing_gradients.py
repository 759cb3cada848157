"""vanishing_gradients: the two product formulas, and gradients by hand."""
import dataclasses

import numpy as np
import pytest

from recipes.foundations.vanishing_gradients import (
    ACTIVATIONS,
    SMOKE,
    chain_difference,
    deltas,
    first_weights,
    length,
    main,
    nielsen_speeds,
    product_formula,
    sigmoid,
)
from training import Run


@pytest.mark.parametrize("seed", range(3))
def test_one_neuron_per_layer_multiplies_by_slope_and_weight(seed):
    assert chain_difference(8, np.random.default_rng(seed)) < 1e-5


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_deltas_equal_backpropagation_by_hand(activation):
    generator = np.random.default_rng(0)
    kernels = first_weights([5, 7, 6, 4], "he", generator)
    x, labels = generator.normal(size=(3, 5)), np.array([0, 3, 1])
    gradients, slopes = deltas(x, labels, kernels, activation)
    function = ACTIVATIONS[activation]
    first = np.asarray(function((x @ kernels[0]).astype("float32")))
    logits = np.asarray(function((first @ kernels[1]).astype("float32"))) @ kernels[2]
    powers = np.exp(logits)
    delta = powers / powers.sum(axis=1, keepdims=True) - np.eye(4)[labels]
    for kernel, gradient, slope in zip(kernels[:0:-1], gradients[::-1], slopes[::-1], strict=True):
        delta = (delta @ kernel.T) * slope
        np.testing.assert_allclose(gradient, delta, atol=1e-5)


def test_the_formula_holds_in_wide_networks():
    generator = np.random.default_rng(1)
    kernels = first_weights([30, *[300] * 6, 10], "he", generator)
    gradients, slopes = deltas(generator.normal(size=(60, 30)), np.arange(60) % 10, kernels, "relu")
    lengths = [length(gradient) for gradient in gradients]
    np.testing.assert_allclose(lengths, product_formula(kernels, slopes, lengths[-1]), rtol=0.2)


def test_he_keeps_what_glorot_halves():
    """For ReLU n v mean(s'^2) is 1 with v = 2 / n, and 1/2 with v = 1 / n."""
    ratios = {}
    for name in ("he", "glorot"):
        generator = np.random.default_rng(2)
        kernels = first_weights([200, *[200] * 8, 10], name, generator)
        gradients, _ = deltas(generator.normal(size=(50, 200)), np.arange(50) % 10, kernels, "relu")
        ratios[name] = (length(gradients[0]) / length(gradients[-1])) ** 2
    assert ratios["he"] == pytest.approx(1, rel=0.5)
    assert ratios["glorot"] == pytest.approx(0.5 ** 7, rel=0.6)


def test_speeds_of_one_hidden_layer_by_differences():
    """|dC/db| of the hidden layer, from the cost itself with its biases moved a little."""
    images, labels = np.random.default_rng(3).random((20, 12)), np.arange(20) % 10
    speed, = nielsen_speeds(images, labels, 1, np.random.default_rng(4))
    draw = np.random.default_rng(4)
    kernels = [draw.normal(size=pair) / np.sqrt(pair[0]) for pair in ((12, 30), (30, 10))]
    biases = [draw.normal(size=30), draw.normal(size=10)]

    def cost(hidden_biases):
        a = sigmoid(sigmoid(images @ kernels[0] + hidden_biases) @ kernels[1] + biases[1])
        y = np.eye(10)[labels]
        return -np.mean(np.sum(y * np.log(a) + (1 - y) * np.log(1 - a), axis=1))
    moved = [(cost(biases[0] + step) - cost(biases[0] - step)) / 2e-5 for step in 1e-5 * np.eye(30)]
    assert speed == pytest.approx(np.linalg.norm(moved), rel=1e-6)


@pytest.mark.parametrize("change", [{"depth": 1}, {"width": 0}, {"draws": 0}, {"examples": 0}])
def test_bad_sizes_are_refused(tmp_path, change):
    config = dataclasses.replace(SMOKE, **change)
    with pytest.raises(ValueError, match="depth must be at least 2, width, examples and draws at least 1"):
        main(config, Run(tmp_path / "run", config=config))


def test_smoke(smoke_run, drawn):
    folder, metrics = smoke_run("vanishing_gradients")
    drawn(folder, "layers", "speeds")
    assert metrics["eq_122_largest_difference"] < 1e-4
    assert metrics["sigmoid_glorot_plain_first_over_last"] < 0.01
    assert metrics["relu_normal_plain_first_over_last"] > 10
    speeds = [metrics[f"speed_of_layer{layer}_of_4"] for layer in (1, 2, 3, 4)]
    assert speeds == sorted(speeds) and speeds[3] > 30 * speeds[0]
