import struct
import wave
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from scipy.io import wavfile

from pipelines import speech, tfds_source

RATE = speech.DIGIT_RATE


def tone(rate=RATE, seconds=0.2, frequency=440):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


def write_pcm(path, values, width, channels=1, rate=RATE):
    """values in [-1, 1) as PCM of so many bytes, without scipy."""
    scaled = np.round(np.asarray(values) * 2 ** (8 * width - 1)).astype(np.int64)
    if width == 1:
        scaled = scaled + 128                                      # 8 bits are unsigned
    data = b"".join(int(value).to_bytes(width, "little", signed=width > 1) for value in scaled.reshape(-1))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


@pytest.fixture(scope="module")
def digits_folder(tmp_path_factory):
    """Spoken digits of two speakers as files: indices 0, 5 and 10, so that every split has each digit."""
    folder = tmp_path_factory.mktemp("digits")
    random = np.random.default_rng(0)
    for speaker in ("ann", "bob_b"):
        for digit in range(10):
            for index in (0, 5, 10, 11):
                samples = int(random.integers(300, 900))
                sound = random.integers(-9000, 9000, samples).astype(np.int16)
                wavfile.write(folder / f"{digit}_{speaker}_{index}.wav", RATE, sound)
    return folder


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_pcm_of_any_width_is_read_to_its_precision(tmp_path, width):
    path = write_pcm(tmp_path / "tone.wav", tone(), width)
    notes = []
    sound = speech.read_wav(path, RATE, say=notes.append)
    assert sound.dtype == np.float32 and not notes
    np.testing.assert_allclose(sound, tone(), atol=0.6 * 2.0 ** (1 - 8 * width) + 1e-7)


def test_floating_point_is_read_as_it_is(tmp_path):
    wavfile.write(tmp_path / "tone.wav", RATE, tone().astype(np.float32))
    np.testing.assert_array_equal(speech.read_wav(tmp_path / "tone.wav", RATE), tone().astype(np.float32))


@pytest.mark.parametrize("rate", [16_000, 44_100, 6_000])
def test_another_rate_is_resampled_and_said(tmp_path, rate):
    path, notes = write_pcm(tmp_path / "tone.wav", tone(rate), 2, rate=rate), []
    sound = speech.read_wav(path, RATE, say=notes.append)
    assert notes == [f"{path}: resampled from {rate} to {RATE} Hz"]
    assert abs(len(sound) - RATE // 5) <= 1
    middle = slice(200, 1_400)                                     # the filter does not know what is outside
    np.testing.assert_allclose(sound[middle], tone()[middle], atol=0.01)


def test_two_channels_are_mixed_and_said(tmp_path):
    both = np.stack([tone(), tone(frequency=1_000)], axis=1)
    path, notes = write_pcm(tmp_path / "both.wav", both, 2, channels=2), []
    np.testing.assert_allclose(speech.read_wav(path, RATE, say=notes.append), both.mean(axis=1), atol=1e-4)
    assert notes == [f"{path}: mixed 2 channels into one"]


def truncated(path):
    write_pcm(path, tone(), 2)
    path.write_bytes(path.read_bytes()[:-500])


def headless(path):
    path.write_bytes(b"RIFF" + struct.pack("<I", 36) + b"WAVE")


@pytest.mark.parametrize("spoil, message", [
    (truncated, "is truncated: its header announces more sound"),
    (headless, "is not a wav file that can be read|is truncated"),
    (lambda path: path.write_bytes(b""), "is not a wav file that can be read"),
    (lambda path: path.write_text("not a sound at all, but a text"), "is not a wav file that can be read"),
    (lambda path: write_pcm(path, [], 2), "holds no sound"),
    (lambda path: path.mkdir(), "is a folder, not a wav file"),
])
def test_what_is_no_whole_sound_is_said_in_a_sentence(tmp_path, spoil, message):
    path = tmp_path / "spoilt.wav"
    spoil(path)
    with pytest.raises(ValueError, match=message) as caught:
        speech.read_wav(path, RATE)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere\.wav"):
        speech.read_wav(tmp_path / "nowhere.wav", RATE)


def test_a_file_is_read_as_training_would_have_seen_it(tmp_path):
    path, notes = write_pcm(tmp_path / "tone.wav", tone(), 2), []
    reader = speech.Reader(speech.preprocessing(RATE, 2_000))
    sound = reader.read(path, say=notes.append)
    assert sound.shape == (1_600,) and sound.dtype == np.float32 and not notes
    np.testing.assert_allclose(sound, tone(), atol=2e-5)
    both = reader.batch([sound, sound[:700]])
    assert both.shape == (2, 2_000) and not both[0, 1_600:].any() and not both[1, 700:].any()
    np.testing.assert_array_equal(both[:, :700], [sound[:700]] * 2)
    assert speech.Reader(speech.preprocessing(RATE, 1_000)).read(path, say=notes.append).shape == (1_000,)
    assert notes == [f"{path}: only the first 0.125 of 0.20 s are listened to"]
    assert speech.Reader(speech.preprocessing(RATE)).batch([sound, sound[:9]]).shape == (2, 1_600)


def test_silence_is_not_guessed_at(tmp_path):
    path = write_pcm(tmp_path / "quiet.wav", np.zeros(800), 2)
    with pytest.raises(ValueError, match="is silent"):
        speech.Reader(speech.preprocessing(RATE)).read(path)


def test_strings_are_written_as_models_greedy_decodes_them():
    from models import greedy
    outputs = np.random.default_rng(0).normal(size=(3, 12, 4)).astype(np.float32)
    reader = speech.Reader({**speech.preprocessing(RATE), "class_names": ["one", "two", "three"]})
    names = ["", "one", "two", "three"]
    assert reader.strings(outputs) == [" ".join(names[label] for label in row if label)
                                       for row in greedy(outputs).numpy()]


def test_sixteen_bits_come_back_as_they_were():
    values = np.array([-32768, -1, 0, 1, 32767], np.int16)
    np.testing.assert_array_equal(speech.sixteen_bit(speech.from_sixteen_bit(values)), values)


def test_recordings_are_split_by_index_and_a_zip_is_its_folder(digits_folder, tmp_path):
    whole = speech.recordings(str(digits_folder))
    assert len(whole.labels) == 80 and whole.sounds.shape == (80, 8_000)
    assert set(whole.speakers) == {"ann", "bob_b"}
    assert {part: set(whole.indices[whole.rows(part)]) for part in ("training", "validation", "test")} == {
        "training": {10, 11}, "validation": {5}, "test": {0}}
    first = wavfile.read(digits_folder / "0_ann_0.wav")[1]
    np.testing.assert_array_equal(whole.sounds[0, :whole.lengths[0]], first)
    assert not whole.sounds[0, whole.lengths[0]:].any()
    with zipfile.ZipFile(tmp_path / "digits.zip", "w") as archive:
        for file in digits_folder.iterdir():
            archive.write(file, f"recordings/{file.name}")
    zipped = speech.recordings(tmp_path / "digits.zip")
    for name in ("sounds", "lengths", "labels", "speakers", "indices"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(zipped, name))


def test_recordings_of_tfds_are_those_of_the_folder(digits_folder, monkeypatch):
    def examples(name, split, *, offline):
        assert (name, split, offline) == ("spoken_digit", "train", "formants")
        for file in sorted(digits_folder.iterdir(), reverse=True):
            yield {"audio": wavfile.read(file)[1].astype(np.int64), "audio/filename": file.name.encode()}
    monkeypatch.setattr(tfds_source, "examples", examples)
    np.testing.assert_array_equal(speech.recordings().sounds, speech.recordings(digits_folder).sounds)


def test_recordings_that_are_not_there_or_not_whole_are_named(digits_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no data .*nowhere: name a folder or zip"):
        speech.recordings(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no wav files"):
        speech.recordings(tmp_path)
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(ValueError, match="is not a zip archive, or it is truncated"):
        speech.recordings(tmp_path / "broken.zip")
    with zipfile.ZipFile(tmp_path / "few.zip", "w") as archive:
        archive.write(digits_folder / "3_ann_0.wav", "3_ann_0.wav")
    with pytest.raises(ValueError, match="no recording of zero, one, .* for the training split"):
        speech.recordings(tmp_path / "few.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.write(digits_folder / "3_ann_0.wav", "three.wav")
    with pytest.raises(ValueError, match=r"<digit>_<speaker>_<index>\.wav. Received: three\.wav"):
        speech.recordings(tmp_path / "other.zip")


def test_another_fold_is_another_part_of_training_and_validation(digits_folder):
    usual, other = speech.load(digits_folder, 8), speech.load(digits_folder, 8, fold=(1, 3))
    assert (len(usual.training), len(usual.validation)) == (40, 20) and len(other.validation) == 20
    np.testing.assert_array_equal(usual.test.inputs, other.test.inputs)
    assert not np.array_equal(usual.validation.inputs, other.validation.inputs)


def test_artificial_words_are_the_same_each_time_and_differ_from_each_other():
    one, other = list(speech.formants(3, 1, 2)), list(speech.formants(3, 1, 2))
    assert [name for name, _ in one] == [(digit, "voice0", index) for digit in range(3) for index in range(2)]
    for (_, sound), (_, again) in zip(one, other, strict=True):
        np.testing.assert_array_equal(sound, again)
        assert 8_000 < np.abs(sound).max() < 18_000
    assert len({len(sound) for _, sound in one}) == len(one)


@pytest.fixture(scope="module")
def strings(digits_folder):
    return speech.strings(digits_folder, 6, lengths=(2, 4), gaps=(0.0, 0.05), count=50, count_test=10, seed=3)


def test_a_string_is_its_recordings_one_after_the_other(digits_folder, strings):
    whole = speech.recordings(digits_folder)
    sounds, labels = strings.training.arrays()
    lengths = set()
    for plan, sound, string in zip(strings.training.inputs, sounds, labels, strict=True):
        rows, starts = plan[:, plan[0] >= 0]
        expected, end = np.zeros(len(sound), np.float32), 0
        for row, start in zip(rows, starts, strict=True):
            assert 0 <= start - end <= 0.05 * RATE
            end = start + whole.lengths[row]
            expected[start:end] = whole.sounds[row, :whole.lengths[row]] / 32768
        np.testing.assert_array_equal(sound, expected)
        np.testing.assert_array_equal(string[:len(rows)], whole.labels[rows] + 1)
        assert not string[len(rows):].any() and len(set(whole.speakers[rows])) == 1
        lengths.add(len(rows))
    assert lengths == {2, 3, 4} and sounds.shape[1] == max(np.flatnonzero(sounds.any(axis=0))) + 1


def test_strings_of_each_split_are_made_of_its_own_recordings(digits_folder, strings):
    whole = speech.recordings(digits_folder)
    for part in ("training", "validation", "test"):
        used = np.unique(getattr(strings, part).inputs[:, 0])
        assert set(used) - {-1} <= set(whole.rows(part))


def test_a_batch_of_strings_is_a_function_of_seed_and_number(digits_folder, strings):
    options = {"lengths": (2, 4), "gaps": (0.0, 0.05), "count": 50, "count_test": 10,
               "augment": speech.Disturbed(noise=0.1)}
    again = speech.strings(digits_folder, 6, seed=3, **options).train
    other = speech.strings(digits_folder, 6, seed=4, **options)
    sounds, labels = again.batch(7)
    in_graph = tf.function(again.batch)(tf.constant(7, tf.int64))
    np.testing.assert_array_equal(sounds, in_graph[0])
    np.testing.assert_array_equal(labels, in_graph[1])
    for k in range(2):                                             # half a batch may be shorter
        part, part_labels = again.batch(7, shard=(k, 2))
        rows = slice(3 * k, 3 * k + 3)
        np.testing.assert_array_equal(part_labels, labels[rows])
        np.testing.assert_array_equal(part, sounds[rows, :part.shape[1]])
        assert not sounds[rows, part.shape[1]:].numpy().any()
    np.testing.assert_array_equal(labels, strings.train.batch(7)[1])
    assert not np.array_equal(labels, other.train.batch(7)[1])
    np.testing.assert_array_equal(other.test.inputs, strings.test.inputs)


def test_strings_that_cannot_be_made_are_refused(digits_folder):
    with pytest.raises(ValueError, match="lengths and gaps must be"):
        speech.strings(digits_folder, 4, lengths=(4, 3))
    whole = speech.recordings(digits_folder)
    with pytest.raises(ValueError, match="recordings of every digit by every speaker"):
        speech.plans(whole, whole.rows("test")[1:], 5, 0)


def test_disturbance_moves_a_sound_and_adds_noise_until_its_end():
    sounds = np.zeros((3, 2_000), np.float32)
    sounds[:, :1_000] = np.sin(np.arange(1_000))
    seeds = np.array([[0, 5], [0, 6], [1, 5]])
    moved = speech.Disturbed(shift=0.1)(sounds, seeds).numpy()
    begins = [np.flatnonzero(row)[0] - 1 for row in moved]                  # the first sample is zero
    assert len(set(begins)) == 3 and min(begins) >= 0 and max(begins) <= 0.1 * RATE
    for row, begin in zip(moved, begins, strict=True):
        np.testing.assert_array_equal(row[begin:begin + 1_000], sounds[0, :1_000])
    noisy = speech.Disturbed(noise=0.2)(sounds, seeds).numpy()
    noise = (noisy - sounds)[:, :999]
    assert not noisy[:, 1_000:].any() and 0 < noise.std(axis=1).min() < noise.std(axis=1).max() < 0.2
    assert np.abs(np.corrcoef(noise) - np.eye(3)).max() < 0.15
    np.testing.assert_array_equal(speech.Disturbed(noise=0.2)(sounds[1:2], seeds[1:2])[0], noisy[1])


@pytest.fixture
def commands_folder(tmp_path):
    """Google's layout: every command and two other words, three files each, and two minutes of noise."""
    random = np.random.default_rng(0)
    words = [word for word in speech.COMMANDS if not word.startswith("_")] + ["cat", "tree"]
    for word in words:
        (tmp_path / word).mkdir()
        for k in range(3):
            wavfile.write(tmp_path / word / f"{k}.wav", 16_000, random.integers(-99, 99, 15_000, np.int16))
    (tmp_path / speech.NOISE).mkdir()
    wavfile.write(tmp_path / speech.NOISE / "tap.wav", 16_000, random.integers(-99, 99, 330_000, np.int16))
    (tmp_path / "validation_list.txt").write_text("".join(f"{word}/1.wav\n" for word in words))
    (tmp_path / "testing_list.txt").write_text("".join(f"{word}/2.wav\n" for word in words))
    return tmp_path


def test_commands_in_a_folder_are_split_by_its_lists(commands_folder):
    data = speech.commands(commands_folder, 4)
    assert data.input_shape == (16_000,) and data.num_classes == 12
    counts = {part: np.bincount(getattr(data, part).labels, minlength=12) for part in
              ("training", "validation", "test")}
    # 20 whole seconds of noise: numbers 0 and 10 test, 1 and 11 validate.
    for part, silence in (("training", 16), ("validation", 2), ("test", 2)):
        assert counts[part].tolist() == [1] * 10 + [silence, 1]
    yes = wavfile.read(commands_folder / "yes" / "2.wav")[1]
    found = data.test.inputs[list(data.test.labels).index(speech.COMMANDS.index("yes"))]
    np.testing.assert_array_equal(found[:15_000], yes)
    assert not found[15_000:].any()


def test_commands_that_are_not_whole_are_refused(commands_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        speech.commands(tmp_path / "nowhere")
    (commands_folder / "yes" / "1.wav").unlink()
    with pytest.raises(ValueError, match="is not whole: 1 files of its lists are missing, among them yes/1"):
        speech.commands(commands_folder)
    (commands_folder / "testing_list.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"it has no testing_list\.txt"):
        speech.commands(commands_folder)


def test_artificial_commands_have_every_class_in_every_part():
    data = speech.commands("formants", 8)
    for part in (data.training, data.validation, data.test):
        assert set(part.labels) == set(range(12))
