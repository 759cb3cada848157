"""multi_column_mnist: columns see digits of their width, learn, vote, and are trained once."""
import dataclasses

import numpy as np
import pytest

from pipelines import mnist
from pipelines.width import of_width
from recipes.images.multi_column_mnist import NAMED, SMOKE, compiled_model, main, normalised
from training import Run


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns") / "run"
    return folder, main(SMOKE, Run(folder, recipe="multi_column_mnist", config=SMOKE, seed=0))


def test_the_smoke_columns_learn(columns, drawn):
    folder, metrics = columns
    accuracies = [metrics["original_column1_accuracy"], metrics["width16_column1_accuracy"]]
    assert min(accuracies) > 0.8                                       # chance: .1
    assert metrics["test_accuracy"] >= np.mean(accuracies) - 0.01
    assert metrics["mean_column_accuracy"] == pytest.approx(np.mean(accuracies))
    assert metrics["errors"] == round(360 * (1 - metrics["test_accuracy"]))
    drawn(folder, "widths")


def test_resume_trains_nothing_twice(columns):
    folder, metrics = columns
    written = (folder / "width16_column1" / "model.keras").stat().st_mtime_ns
    assert main(SMOKE, Run(folder, recipe="multi_column_mnist", config=SMOKE, seed=0, resume=True)) == metrics
    assert written == (folder / "width16_column1" / "model.keras").stat().st_mtime_ns


def test_a_column_has_the_published_parameters_and_takes_images():
    model = compiled_model(NAMED["paper"], mnist.load("digits", 100))
    assert model.count_params() == 76_040 and model.input_shape == (None, 28, 28, 1)


def test_the_paper_has_35_columns():
    paper = NAMED["paper"]
    assert len(paper.widths) * paper.columns == 35


def test_all_splits_of_a_column_have_its_width():
    data = mnist.load("digits", 20)
    plain = dataclasses.replace(SMOKE, rotation=0, scale=0, shift=0, alpha=0)
    own = normalised(data, 12, plain, seed=5)
    for split in ("training", "validation", "test"):
        np.testing.assert_array_equal(getattr(own, split).inputs, of_width(getattr(data, split).inputs, 12))
    batch = own.train.batch(0)[0].numpy()
    assert not batch[:, :, :8].any() and not batch[:, :, 20:].any() and batch.any()
    same = normalised(data, 0, plain, seed=5)
    np.testing.assert_array_equal(same.test.inputs, data.test.inputs)


@pytest.mark.parametrize("changed", [{"widths": ()}, {"widths": (10, 10)}, {"columns": 0}, {"widths": (29,)}])
def test_refuses(changed, tmp_path):
    with pytest.raises(ValueError, match="Received: "):
        main(dataclasses.replace(SMOKE, **changed), Run(tmp_path / "run", config=SMOKE))
