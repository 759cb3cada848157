"""mlp_tabular: each loss with its output, R^2 by hand, and bad settings."""
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from pipelines import tabular
from recipes.foundations.mlp_tabular import (
    SMOKE,
    accuracy,
    compiled_model,
    explained,
    half_squared_error,
    main,
)
from training import Run


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes"])
def test_the_gradient_of_each_loss_is_output_minus_target(name):
    data = tabular.load(name)
    model = compiled_model(SMOKE, data)
    z = tf.constant([[-2.0], [0.5], [3.0]])
    targets = tf.constant([0.0, 1.0, 1.0])
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = tf.reduce_sum([tf.reduce_sum(model.loss(targets[i:i + 1], z[i:i + 1])) for i in range(3)])
    outputs = tf.sigmoid(z) if name == "breast_cancer" else z
    np.testing.assert_allclose(tape.gradient(loss, z)[:, 0], outputs[:, 0] - targets, atol=1e-6)


def test_half_squared_error_is_per_example():
    received = half_squared_error(tf.constant([1.0, -1.0]), tf.constant([[3.0], [-1.5]]))
    np.testing.assert_allclose(received, [2, 0.125])


def test_measures():
    assert accuracy(np.array([-1.0, 2.0, 3.0, -0.1]), np.array([0, 1, 0, 1])) == 0.5
    targets = np.array([1.0, 2.0, 3.0])
    assert explained(targets, targets) == 1 and explained(np.full(3, 2.0), targets) == 0
    assert explained(np.array([1.0, 2.0, 4.0]), targets) == 0.5


@pytest.mark.parametrize("change", [{"folds": 0}, {"folds": 6}])
def test_folds_that_do_not_exist_are_refused(tmp_path, change):
    config = dataclasses.replace(SMOKE, **change)
    with pytest.raises(ValueError, match=r"folds must be in \[1, 5\]"):
        main(config, Run(tmp_path / "run", config=config))


def test_a_width_of_zero_is_refused(tmp_path):
    config = dataclasses.replace(SMOKE, hidden=(0,))
    with pytest.raises(ValueError, match="widths must be at least 1"):
        main(config, Run(tmp_path / "run", config=config))


def test_smoke(smoke_run, drawn):
    folder, metrics = smoke_run("mlp_tabular")
    drawn(folder, "tested")
    assert metrics["breast_cancer_accuracy"] > 0.9 and metrics["breast_cancer_accuracy_examples"] == 228
    assert metrics["diabetes_r2"] > 0.1
