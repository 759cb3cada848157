"""char_lm_shakespeare: counts, bits, surprise, the smoke run, its network goes on with a text."""
import numpy as np
import pytest

from models import continuation, recurrent_language_model, streaming
from pipelines import characters
from recipes.__main__ import main as command
from recipes.sequences.char_lm_shakespeare import NAMED, SMOKE, compiled_model, surprises, wrapped


def test_smoke_learns_the_grammar(smoke_run, drawn):
    folder, metrics = smoke_run("char_lm_shakespeare")
    drawn(folder, "characters")
    assert metrics["val_loss"] < 0.6 and metrics["test_loss"] < 0.6       # a guess among its letters: 3.3
    assert metrics["test_bits"] == pytest.approx(metrics["test_loss"] / np.log(2))


def test_char_rnn_s_network():
    model = recurrent_language_model(65, units=NAMED["char-rnn"].units)
    assert model.count_params() == 239_297


def test_surprise_is_minus_the_logarithm_of_the_probability():
    model = streaming(recurrent_language_model(5, units=(4,)))
    text = np.array([1, 2, 3, 1])
    logits = np.float64(model.predict_on_batch(text[None, :-1])[0])
    chances = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    expected = -np.log2([chances[0, 2], chances[1, 3], chances[2, 1]])
    np.testing.assert_allclose(surprises(model, text), expected, rtol=1e-5)


def test_continuation_follows_what_was_learned():
    model = recurrent_language_model(5, units=(4,))
    kernel, recurrent, bias, output, output_bias = model.trainable_variables
    for variable in (recurrent, bias):
        variable.assign(np.zeros(variable.shape))
    gates = np.zeros(kernel.shape)                        # symbol k + 1 opens cell k
    gates[:, 0:4], gates[:, 12:] = 9, 9
    gates[:, 8:12] = 9 * np.eye(5, 4, -1)
    gates[:, 4:8] = -9
    kernel.assign(gates)
    output.assign(20 * np.roll(np.eye(4, 5, 1), 0, axis=1)[:, [0, 4, 1, 2, 3]])
    output_bias.assign(np.array([-9, 0, 0, 0, 0]))
    written = continuation(streaming(model), [1], 6, temperature=0)
    np.testing.assert_array_equal(written, [2, 3, 4, 1, 2, 3])
    with pytest.raises(ValueError, match="a prompt of one symbol or more"):
        continuation(streaming(model), [], 6)


def test_predict_goes_on_with_a_text(smoke_run, capsys):
    folder, _ = smoke_run("char_lm_shakespeare")
    arguments = ["predict", str(folder), "--text", "the camera ", "--length", "40", "--temperature", "0"]
    assert command(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("the camera work was ") and len(out.rstrip("\n")) == len("the camera ") + 40


def test_a_learning_rate_falls_to_zero():
    data = characters.load("sentences", SMOKE.batch_size, SMOKE.steps)
    model = compiled_model(SMOKE, data)
    updates = SMOKE.epochs * data.train.batches_per_epoch
    schedule = model.optimizer._learning_rate
    assert float(schedule(0)) == pytest.approx(SMOKE.learning_rate) and abs(float(schedule(updates))) < 1e-9


def test_wrapped_keeps_where_each_line_starts():
    text = "ab\n\nabcdef"
    assert wrapped(text, 4) == [(0, "ab"), (3, ""), (4, "abcd"), (8, "ef")]
