"""Networks that read texts, exported: checked on words, and with the states that they carry."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from models import fasttext, recurrent_language_model, streaming
from training.export import PACKAGES, example_inputs, export, run_saved_model


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


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_exported_in_float32(tmp_path, precision):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = recurrent_language_model(9, cell="lstm", units=(8, 8), hoisted=True)
    finally:
        keras.config.set_dtype_policy(policy)
    model.save(tmp_path / "model.keras")
    path, gap = export(tmp_path / "model.keras", "saved_model")
    plain = recurrent_language_model(9, cell="lstm", units=(8, 8), hoisted=True)
    plain.set_weights(model.get_weights())
    words = np.array([[1, 5, 2, 8, 3, 0, 7, 4]], np.int32)
    np.testing.assert_allclose(run_saved_model(str(path), words), plain(words), atol=1e-6)
    assert gap < 1e-6
