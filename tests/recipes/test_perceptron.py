"""perceptron: the rule, its bound, what it cannot learn, and the worked example."""
import dataclasses

import numpy as np
import pytest

from recipes.foundations.perceptron import (
    CORNERS,
    SMOKE,
    Config,
    learn,
    main,
    mistake_bound,
    separable_set,
    worked_example,
)
from training import Run


@pytest.mark.parametrize("inputs", [1, 2, 5])
def test_no_more_mistakes_than_the_bound(inputs):
    generator = np.random.default_rng(inputs)
    config = Config(points=40, inputs=inputs, margin=0.03)
    for _ in range(30):
        x, y, weights = separable_set(config, generator)
        learned = learn(x, y)
        assert learned.separated and len(learned.path) <= mistake_bound(x, y, weights)
        assert (y * (x @ learned.weights[:-1] + learned.weights[-1]) > 0).all()


def test_the_rule_by_hand():
    """OR from w = (0, 0, 0): three mistakes in the first pass, none in the second."""
    learned = learn(CORNERS, np.array([-1, 1, 1, 1]))
    assert [weights.tolist() for weights in learned.path] == [[1, 1, -1], [0, 2, 0], [1, 1, 1]]
    assert learned.separated and learned.passes == 2


def test_xor_is_given_up_when_the_weights_return():
    learned = learn(CORNERS, np.array([-1, 1, 1, -1]))
    assert not learned.separated and learned.passes == 1
    assert len(learned.path) == 4 and learned.weights.tolist() == [0, 0, 0]


def test_labels_of_0_and_1_are_refused():
    with pytest.raises(ValueError, match=r"labels must be -1 and \+1. Received: 0, 1"):
        learn(CORNERS, np.array([0, 1, 1, 0]))


def test_inseparable_data_ends_with_what_the_rule_saw(tmp_path):
    config = dataclasses.replace(SMOKE, flipped=5, passes=50)
    with pytest.raises(ValueError, match=r"saw 50 passes and [\d,]+ mistakes, and \d+ of 60 labels"):
        main(config, Run(tmp_path / "run", config=config))


@pytest.mark.parametrize("name", ["points", "inputs", "margin", "sets", "passes"])
def test_nothing_is_zero(tmp_path, name):
    config = dataclasses.replace(SMOKE, **{name: 0})
    with pytest.raises(ValueError, match=f"{name} must be positive. Received: 0"):
        main(config, Run(tmp_path / "run", config=config))


def test_worked_example_to_the_digit():
    sums, outputs, parameters = worked_example()
    assert sums == [15.55, 18.72, 0.7] and outputs.tolist() == [1, 1, 1] and parameters == 17


def test_smoke(smoke_run, drawn):
    folder, metrics = smoke_run("perceptron")
    drawn(folder, "learning", "boolean_functions", "neuron_models")
    assert (metrics["learnable_of_2_inputs"], metrics["learnable_of_3_inputs"]) == (14, 104)
    assert metrics["sets_within_mistake_bound"] == metrics["sets"] == 20
    assert 0 < metrics["largest_mistakes_over_bound"] <= 1
    assert metrics["xor_network_errors"] == metrics["gate_errors"] == 0
    assert metrics["xor_network_parameters"] == 9
