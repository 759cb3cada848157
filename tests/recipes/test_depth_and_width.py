"""depth_and_width: equal numbers of weights, labels that are wrong on purpose, and bad settings."""
import dataclasses

import numpy as np
import pytest

from models import mlp
from pipelines import digits
from recipes.foundations.depth_and_width import (
    SMOKE,
    Config,
    count_parameters,
    equal_width,
    main,
    variants,
    with_wrong_labels,
)
from training import Run


@pytest.mark.parametrize(("depth", "width"), [(1, 5), (2, 7), (5, 3)])
def test_the_formula_counts_the_weights(depth, width):
    assert count_parameters(12, 4, depth, width) == mlp((12,), 4, hidden=(width,) * depth).count_params()


@pytest.mark.parametrize("depth", [1, 2, 3, 8, 20])
def test_no_other_width_comes_nearer(depth):
    width = equal_width(784, 10, depth, 100_000)
    gaps = {w: abs(count_parameters(784, 10, depth, w) - 100_000) for w in range(width - 2, width + 3)}
    assert min(gaps, key=gaps.get) == width and gaps[width] < 1_000


def test_wrong_labels_are_of_another_class_and_always_the_same():
    training = digits.load().training
    one, other = (with_wrong_labels(training, 0.2, 10) for _ in range(2))
    np.testing.assert_array_equal(one.labels, other.labels)
    assert np.mean(one.labels != training.labels) == pytest.approx(0.2, abs=0.03)
    assert one.labels.min() >= 0 and one.labels.max() <= 9 and one.labels.dtype == training.labels.dtype
    np.testing.assert_array_equal(with_wrong_labels(training, 0.0, 10).labels, training.labels)


def test_each_remedy_changes_one_thing():
    found = variants(Config())
    assert list(found) == ["depth_1", "depth_2", "depth_4", "depth_8", "dropout", "L2", "more_data"]
    assert all(len(found[name]) == 2 and found[name]["depth"] == 2 for name in ("dropout", "L2", "more_data"))


@pytest.mark.parametrize(("change", "message"), [
    ({"parameters": 100}, "enough for a unit in each layer. Received: depth=1, parameters=100"),
    ({"depths": (0,)}, "the depth must be at least 1.*depth=0"),
    ({"training_size": 5}, "training_size and more_data must be at least batch_size"),
    ({"wrong_labels": 1.0}, r"wrong_labels must be a share in \[0, 1\). Received: 1.0"),
])
def test_bad_settings_are_refused(tmp_path, change, message):
    config = dataclasses.replace(SMOKE, **change)
    with pytest.raises(ValueError, match=message):
        main(config, Run(tmp_path / "run", config=config))


def test_smoke(smoke_run, drawn):
    folder, metrics = smoke_run("depth_and_width")
    drawn(folder, "errors", "curves")
    assert metrics["depth_1_parameters"] == pytest.approx(metrics["depth_3_parameters"], rel=0.05)
    assert metrics["more_data_test_accuracy"] > metrics["depth_1_test_accuracy"] > 0.2       # chance: 0.1
    assert metrics["depth_1_parameters"] == metrics["L2_parameters"]
