"""Networks that read texts, exported: checked on words, and with the states that they carry."""
import numpy as np
import pytest
import tensorflow as tf

from models import fasttext, recurrent_language_model, streaming
from training.export import PACKAGES, example_inputs, export


def test_a_network_of_words_is_checked_on_words(tmp_path):
    model = fasttext(50, 3)
    model.save(tmp_path / "model.keras")
    words = example_inputs(model)
    assert words.dtype == np.int32 and words.shape == (2, 8) and 1 <= words.min() < words.max() < 50
    path, gap = export(tmp_path, "saved_model")
    assert gap < 1e-5
    other = np.array([[3, 49, 7]], np.int32)
    loaded = tf.saved_model.load(path)                     # its variables live as long as it does
    np.testing.assert_allclose(loaded.serve(other), model(other), atol=1e-5)


def test_states_begin_with_zeros_and_are_carried_along(tmp_path, monkeypatch):
    model = streaming(recurrent_language_model(12, units=(6,)))
    model.save(tmp_path / "model.keras")
    path, _ = export(tmp_path, "saved_model")
    text = np.array([[3, 1, 4, 1, 5, 9]], np.int32)
    whole = np.asarray(model(text))
    loaded = tf.saved_model.load(path)
    parts = [loaded.serve(text[:, :2]), loaded.serve(text[:, 2:])]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)
    monkeypatch.setitem(PACKAGES, "litert", {})                    # as if they were installed
    with pytest.raises(ValueError, match="carries states from call to call"):
        export(tmp_path, "litert")
