import numpy as np
import pytest

from pipelines import tabular


@pytest.mark.parametrize(("name", "count", "width"), [("breast_cancer", 569, 30), ("diabetes", 442, 10)])
def test_every_example_is_tested_once_and_never_in_its_own_training(name, count, width):
    tested = []
    for fold in range(tabular.FOLDS):
        data = tabular.load(name, fold=fold)
        assert data.input_shape == (width,)
        sizes = [len(part) for part in (data.training, data.validation, data.test)]
        assert sum(sizes) == count and abs(sizes[2] - count / 5) < 1
        assert abs(sizes[1] - (count - sizes[2]) / 8) < 1
        tested += data.test.labels.tolist()
        # Disjoint: standardised values of different rows differ.
        rows = np.concatenate([part.inputs for part in (data.training, data.validation, data.test)])
        assert len(np.unique(rows, axis=0)) == count
    assert len(tested) == count


def test_standardised_on_the_training_examples_alone():
    data = tabular.load("diabetes", fold=2)
    for values in (data.training.inputs, data.training.labels):
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-4)
    assert abs(data.test.inputs.mean(axis=0)).max() > 1e-3
    assert data.training.labels.dtype == np.float32 and data.class_names == ()


def test_folds_have_their_share_of_each_class():
    for fold in range(tabular.FOLDS):
        data = tabular.load("breast_cancer", fold=fold, seed=fold)
        assert data.test.labels.mean() == pytest.approx(357 / 569, abs=0.01)
        assert data.class_names == ("malignant", "benign") and data.training.labels.dtype == np.int64


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="breast_cancer, diabetes. Received: iris"):
        tabular.load("iris")
    with pytest.raises(ValueError, match=r"fold must be in \[0, 4\]. Received: 5"):
        tabular.load(fold=5)
