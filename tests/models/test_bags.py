"""Bags of words and fastText: counts, sums by hand, order and padding that change nothing."""
import numpy as np
import pytest
from soundness import every_weight_gets_a_gradient, saves_and_loads

import models
from models.bags import SumOverTime

TEXTS = np.array([[1, 2, 3, 0], [4, 4, 0, 0], [5, 6, 7, 8], [2, 0, 0, 0]])


def test_parameters():
    assert models.bag_of_words(9, 2).count_params() == 9 * 2 + 2
    assert models.fasttext(9, 2, width=3).count_params() == 9 * 3 + 3 * 2 + 2


@pytest.mark.parametrize("name", ["bag_of_words", "fasttext", "sqrtn"])
def test_gradients_saving_order_and_padding(name, tmp_path):
    model = models.bag_of_words(9, 2) if name == "bag_of_words" else models.fasttext(
        9, 2, width=3, combiner="mean" if name == "fasttext" else "sqrtn")
    padded = np.concatenate([TEXTS, np.zeros((4, 1), int)], axis=1)
    if name != "bag_of_words":                                   # which starts at zero
        every_weight_gets_a_gradient(model, padded)
    model.get_layer("weights" if name == "bag_of_words" else "embedding").embeddings.assign(
        np.random.default_rng(0).normal(size=(9, model.weights[0].shape[1])))
    np.testing.assert_allclose(model(TEXTS[:, [2, 0, 1, 3]]), model(padded), atol=1e-5)
    saves_and_loads(model, padded, tmp_path)


def test_bag_of_words_adds_weights():
    model = models.bag_of_words(9, 2)
    weights = np.arange(18.0).reshape(9, 2)
    model.get_layer("weights").embeddings.assign(weights)
    model.get_layer("logits").bias.assign([0.5, -0.5])
    np.testing.assert_allclose(model(TEXTS)[1], 2 * weights[4] + [0.5, -0.5])


@pytest.mark.parametrize(("combiner", "divisor"), [("sum", 1), ("sqrtn", 3 ** 0.5), ("mean", 3)])
def test_combiners(combiner, divisor):
    x = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)
    mask = np.array([[1, 1, 1, 0], [0, 0, 0, 0]], bool)
    out = SumOverTime(combiner)(x, mask=mask)
    np.testing.assert_allclose(out, [x[0, :3].sum(axis=0) / divisor, np.zeros(5)], atol=1e-6)


@pytest.mark.parametrize(("change", "message"), [
    ({"width": 0}, "width must be at least 1"), ({"dropout": 1.0}, "dropout must be in"),
    ({"combiner": "max"}, "combiner must be one of sum, sqrtn, mean. Received: 'max'")])
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        models.fasttext(9, 2, **change)
