import itertools

import keras
import numpy as np
import pytest
from soundness import every_weight_gets_a_gradient, saves_and_loads

from models.ctc import BlankPadding, beam_search, blstm_ctc, greedy

STEPS, CLASSES = 4, 3                       # blank, 1 and 2
LOGITS = np.random.default_rng(3).normal(0, 1.5, (2, STEPS, CLASSES)).astype(np.float32)


def merged(path):
    """What an alignment spells: repetitions once, no blanks."""
    return tuple(label for label, before in zip(path, (0, *path), strict=False) if label and label != before)


def by_string(logits):
    """{string: its probability}, by going through every alignment."""
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = {}
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        share = np.prod([row[label] for row, label in zip(probabilities, path, strict=True)])
        found[merged(path)] = found.get(merged(path), 0) + share
    return found


def filled(strings):
    return np.array([list(string) + [0] * (STEPS - len(string)) for string in strings])


@pytest.mark.parametrize("string", [(), (1,), (2, 1), (1, 1), (2, 2), (1, 2, 1), (1, 2, 1, 2)])
def test_loss_is_the_sum_over_all_alignments(string):
    losses = keras.losses.CTC(reduction=None)(filled([string, string]), LOGITS)
    np.testing.assert_allclose(losses, [-np.log(by_string(logits)[string]) for logits in LOGITS], rtol=1e-4)


def test_loss_and_decoding_leave_out_the_padding():
    longer = np.concatenate([LOGITS, 5 + LOGITS[:, :3]], axis=1)
    mask = np.arange(7) < np.array([[STEPS], [STEPS]])
    padded = BlankPadding()(longer, mask=mask)
    strings = filled([(1, 2), (2, 2)])
    loss = keras.losses.CTC(reduction=None)
    np.testing.assert_allclose(loss(strings, padded), loss(strings, LOGITS), rtol=1e-5)
    np.testing.assert_array_equal(greedy(padded)[:, :STEPS], greedy(LOGITS))
    np.testing.assert_array_equal(beam_search(padded)[0, :, :STEPS], beam_search(LOGITS)[0])


def test_padding_sends_no_gradient():
    import tensorflow as tf
    logits, mask = tf.constant(LOGITS), np.array([[True, True, True, False]] * 2)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = keras.losses.CTC()(filled([(1,), (2, 1)]), BlankPadding()(logits, mask=mask))
    gradient = tape.gradient(loss, logits).numpy()
    assert (gradient[:, 3] == 0).all() and (np.abs(gradient[:, :3]).max(axis=2) > 1e-3).all()


def test_greedy_is_the_best_alignment_and_beam_search_the_best_string():
    best = np.transpose(beam_search(LOGITS, count=2), (1, 0, 2))
    for logits, by_step, strings in zip(LOGITS, greedy(LOGITS), best, strict=True):
        np.testing.assert_array_equal(by_step, filled([merged(logits.argmax(axis=1))])[0])
        ranked = sorted(by_string(logits).items(), key=lambda item: -item[1])
        np.testing.assert_array_equal(strings, filled([string for string, _ in ranked[:2]]))


def test_beam_search_finds_what_greedy_decoding_misses():
    """Graves et al. 2006, figure 2: blank is the likeliest alignment, and 1 the likeliest string."""
    logits = np.log([[[0.6, 0.4], [0.6, 0.4]]]).astype(np.float32)
    assert greedy(logits).numpy().tolist() == [[0, 0]] and beam_search(logits).numpy().tolist() == [[[1, 0]]]


def test_the_published_network_has_its_parameters():
    def layer(inputs):
        return 2 * 4 * 250 * (inputs + 250 + 1)
    assert blstm_ctc().count_params() == layer(123) + 2 * layer(500) + 62 * 501 == 3_783_062


def test_what_follows_the_end_of_a_sound_does_not_matter():
    model = blstm_ctc((None,), 5, units=(6, 4), rate=8_000, bins=20, frames_per_step=3)
    sound = np.random.default_rng(0).normal(0, 0.1, (2, 4_000)).astype(np.float32)
    sound[1, 2_300:] = 0
    both, alone = np.asarray(model(sound)), np.asarray(model(sound[1:, :2_300]))
    np.testing.assert_allclose(both[1, :alone.shape[1]], alone[0], atol=1e-6)
    assert both.shape[1] > alone.shape[1]
    blank = np.exp(both[1, alone.shape[1]:]) / np.exp(both[1, alone.shape[1]:]).sum(axis=-1, keepdims=True)
    assert (blank[:, 0] == 1).all()


def test_the_network_is_sound(tmp_path):
    model = blstm_ctc((None, 7), 4, units=(5, 3), dropout=0.1)
    features = np.random.default_rng(0).random((2, 9, 7), np.float32)
    assert model(features).shape == (2, 9, 5)
    every_weight_gets_a_gradient(model, features)
    saves_and_loads(model, features, tmp_path)
    sound = blstm_ctc((None,), 4, units=(5,), rate=8_000)
    saves_and_loads(sound, np.random.default_rng(0).normal(0, 0.1, (2, 900)).astype(np.float32), tmp_path)


def test_no_layers_or_no_labels_are_refused():
    with pytest.raises(ValueError, match="units needs a positive number"):
        blstm_ctc(units=())
    with pytest.raises(ValueError, match="num_classes must be an integer"):
        blstm_ctc(num_classes=0)
