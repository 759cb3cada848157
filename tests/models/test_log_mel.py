import numpy as np
import pytest
import tensorflow as tf
from soundness import every_weight_gets_a_gradient, images_for, saves_and_loads

from models.speech import LogMel, commands_convnet, mel_filters, word_convnet

RATE = 8_000


def sounds(count=2, samples=2_500):
    return np.random.default_rng(0).normal(0, 0.1, (count, samples)).astype(np.float32)


def by_hand(sound, bins, length, step, low=20.0):
    """One sound -> (frames, bins): the definition, with a Fourier sum in place of a fast transform."""
    frames = -(-len(sound) // step)
    sound = np.append(sound.astype(np.float64), np.zeros(length + step))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(length), np.arange(length // 2 + 1)) / length)
    power = [np.abs((sound[k * step:k * step + length] * window) @ waves) ** 2 for k in range(frames)]
    filters = tf.signal.linear_to_mel_weight_matrix(bins, length // 2 + 1, RATE, low, RATE / 2, tf.float64)
    decibels = 10 * np.log10(np.array(power) @ filters.numpy() + 1e-12)
    return 1 + 2 * np.clip((decibels - max(decibels.max(), -30)) / 80, -1, 0)


def test_log_mel_is_its_definition():
    features = LogMel(RATE, bins=32)(sounds()).numpy()
    assert features.shape == (2, 32, 32) == LogMel(RATE, bins=32).compute_output_shape((2, 2_500))
    for sound, row in zip(sounds(), features, strict=True):
        np.testing.assert_allclose(row, by_hand(sound, 32, 256, 80), atol=2e-4)


def test_a_tone_is_loudest_in_the_filter_of_its_frequency():
    tone = np.sin(2 * np.pi * 1_000 * np.arange(4_000) / RATE)[None].astype(np.float32)
    loudest = LogMel(RATE)(tone).numpy().mean(axis=1).argmax()
    centre = np.argmin(np.abs(np.linspace(31.7, 2146.1, 42)[1:-1] - 999.99))         # of 1000 Hz, in mel
    assert abs(loudest - centre) <= 1


def test_filters_that_hold_no_frequency_are_refused():
    with pytest.raises(ValueError, match="200 mel bins are too many for a window of 256 samples"):
        mel_filters(200, RATE, 256, 20, 4000)
    with pytest.raises(ValueError, match="low < high"):
        LogMel(RATE, high=5_000)


def test_loudness_does_not_count_and_silence_is_silent():
    ears = LogMel(RATE)
    np.testing.assert_allclose(ears(sounds()), ears(0.1 * sounds()), atol=1e-3)
    assert (ears(np.zeros((1, 800), np.float32)).numpy() == -1).all()


def test_frames_side_by_side_are_the_frames():
    single, stacked = LogMel(RATE)(sounds()).numpy(), LogMel(RATE, frames_per_step=5)(sounds()).numpy()
    assert stacked.shape == (2, 7, 200)                                  # 32 frames and 3 of silence
    np.testing.assert_array_equal(stacked.reshape(2, 35, 40)[:, :32], single)
    assert (stacked.reshape(2, 35, 40)[:, 32:] == -1).all()


def test_steps_after_the_end_are_masked_but_for_the_first():
    sound = sounds(3, 2_400)
    sound[1, 1_000:], sound[2] = 0, 0
    mask = LogMel(RATE, frames_per_step=2, ends=True).compute_mask(tf.constant(sound)).numpy()
    # A step is 160 samples; the seventh begins at sample 960.
    assert mask.shape == (3, 15) and mask.sum(axis=1).tolist() == [15, 7, 1]
    assert mask[1, :7].all() and mask[2, 0]


def test_the_commands_network_has_the_published_parameters():
    assert commands_convnet().count_params() == 926_860


@pytest.mark.parametrize("build", [commands_convnet, word_convnet])
def test_networks_for_words_are_sound(build, tmp_path):
    options = {"filters": (4, 6, 8)} if build is word_convnet else {}
    model = build((1_600,), 5, rate=RATE, **options)
    assert model.output_shape == (None, 5)
    sound = 0.1 * images_for(model)
    every_weight_gets_a_gradient(model, sound)
    saves_and_loads(model, sound, tmp_path)


def test_shape_and_rate_have_to_fit():
    with pytest.raises(ValueError, match=r"\(samples,\) with a rate, or \(steps, features\) without"):
        word_convnet((100, 40), 5, rate=RATE)
