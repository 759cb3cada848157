"""The captioner: counts to the digit, its equations written out, beam search against trying everything."""
import itertools

import keras
import numpy as np
import pytest
from soundness import every_weight_gets_a_gradient, saves_and_loads, without_weights

from models import Captioner, googlenet, resnet_cifar, show_and_tell, word_detector

START, END, WORDS, SIDE = 2, 3, (4, 5, 6), 8


@pytest.fixture
def network():
    """A small captioner whose sentences are neither all alike nor all of one length."""
    keras.utils.set_random_seed(1)
    encoder = resnet_cifar((SIDE, SIDE, 3), depth=8, include_top=False)
    model = show_and_tell(encoder, 7, embedding=6, units=9, grids=(2,))
    generator = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.6 * generator.standard_normal(variable.shape))
    kernel = model.get_layer("logits").kernel
    kernel.assign(2 * kernel)
    return model


def some_images(count=5):
    return np.random.default_rng(1).random((count, SIDE, SIDE, 3), np.float32)


def inputs(count=4, steps=5):
    words = np.random.default_rng(2).integers(0, 7, (count, steps)).astype(np.int32)
    return {"image": some_images(count), "words": words}


def captioner(network, width, length=3):
    return Captioner(network, start=START, end=END, silent=(1,), width=width, length=length)


def next_words(network, image, length):
    """{words so far: log p of each next word}, for all that can be written, from whole sentences at once."""
    every = list(itertools.product(WORDS, repeat=length))
    words = np.array([(START, *sentence) for sentence in every], np.int32)
    logits = np.float64(network({"image": np.repeat(image[None], len(every), axis=0), "words": words}))
    logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return {sentence[:step]: row[step] for sentence, row in zip(every, logits, strict=True)
            for step in range(length + 1)}


def log_probability(chances, sentence, length):
    """Of a sentence and its end; no end after `length` words."""
    ended = (*sentence, END)[:length]
    return sum(chances[ended[:step]][word] for step, word in enumerate(ended))


def test_parameters_to_the_digit():
    words = 8_000
    encoder = without_weights(googlenet, batch_norm=True, include_top=False)
    model = without_weights(show_and_tell, encoder=encoder, vocabulary=words)
    assert model.get_layer("lstm").count_params() == 2_099_200
    image, table, logits = (1024 + 1) * 512, words * 512, words * (512 + 1)
    assert model.count_params() - encoder.count_params() == 2_099_200 + image + table + logits
    assert encoder.count_params() == googlenet(batch_norm=True).count_params() - 1_000 * 1_025
    assert model.output_shape == (None, None, words)
    assert model.input["image"].shape == (None, 224, 224, 3) and model.input["words"].shape == (None, None)


def test_the_equations_written_out(network):
    """Equations 4 to 12, one step after another: the image, then the words."""
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))
    batch = inputs(steps=4)
    kernel, recurrent, bias = map(np.float64, network.get_layer("lstm").get_weights())
    table, = network.get_layer("word_embedding").get_weights()
    maps = np.asarray(network.get_layer("resnet8_cifar")(batch["image"]), np.float64)    # (4, 2, 2, 64)
    projection, offset = network.get_layer("image_embedding").get_weights()
    x = maps.reshape(4, -1) @ projection + offset
    h, c, outputs = np.zeros((4, 9)), np.zeros((4, 9)), []
    for step in range(5):
        z_i, z_f, z_c, z_o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(z_f) * c + sigmoid(z_i) * np.tanh(z_c)
        h = sigmoid(z_o) * np.tanh(c)                                    # the paper prints no tanh of c
        outputs.append(h)
        x = table[batch["words"][:, step]] if step < 4 else None
    weights, offset = network.get_layer("logits").get_weights()
    wanted = np.stack(outputs[1:], axis=1) @ weights + offset        # nothing is said after the image alone
    np.testing.assert_allclose(network(batch), wanted, rtol=1e-4, atol=1e-4)


def test_the_image_is_normalised():
    encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.AveragePooling2D(2)])
    model = show_and_tell(encoder, 5, embedding=4, units=4, normalised=True)
    embedding = keras.Model(model.input["image"], model.get_layer("image_embedding").output)
    found = np.asarray(embedding(some_images(50) ** 4, training=True))
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    assert (found.std(axis=0) > .8).all()
    assert captioner(model, 2).embed.output.shape == (None, 4)


def test_what_is_seen_at_the_first_step_lasts():
    """Of an image some trace is left in the first LSTM's cells after 15 words; Keras's biases lose it."""
    def trace(memory):
        keras.utils.set_random_seed(0)
        encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.AveragePooling2D(2)])
        model = show_and_tell(encoder, 5, embedding=8, units=32, normalised=True, memory=memory)
        cell = model.get_layer("lstm").cell
        cells = [np.zeros((2, 32), np.float32)] * 2
        for step in range(16):
            x = np.eye(2, 8, dtype=np.float32) * (step == 0)
            cells = cell(x, cells)[1]
        return float(np.mean(np.abs(cells[1][0] - cells[1][1])))
    assert trace(400) > 20 * trace(None)
    biases = np.asarray(show_and_tell(resnet_cifar((8, 8, 3), depth=8, include_top=False), 5, embedding=4,
                                      units=9, memory=50).get_layer("lstm").cell.bias)
    assert not biases[:9].any() and not biases[18:].any() and (biases[9:18] >= 0).all()


def test_words_detected_are_those_of_the_likeliest_place():
    encoder = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.AveragePooling2D(4)])
    model = word_detector(encoder, 3)
    images = np.zeros((2, 8, 8, 1), np.float32)
    images[0, :4, 4:] = 2
    kernel = np.array([1.0, -1.0, 0.5], np.float32).reshape(1, 1, 1, 3)
    model.get_layer("detectors").set_weights([kernel, np.array([-3.0, 0.0, 1.0], np.float32)])
    found = model({"image": images, "words": np.zeros((2, 4), np.int32)})
    np.testing.assert_allclose(found, [[-1, 0, 2], [-3, 0, 1]])
    other = model({"image": images, "words": np.ones((2, 4), np.int32)})
    np.testing.assert_array_equal(found, other)
    flat = word_detector(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]), 3)
    assert flat.output_shape == (None, 3)


def test_a_word_detector_is_sound(tmp_path):
    model = word_detector(resnet_cifar((SIDE, SIDE, 3), depth=8, include_top=False), 7)
    every_weight_gets_a_gradient(model, inputs())
    saves_and_loads(model, inputs(), tmp_path)


def test_a_word_is_told_from_the_image_and_those_before(network):
    batch = inputs()
    before, changed = np.asarray(network(batch)), batch["words"].copy()
    changed[:, 3] = (changed[:, 3] + 1) % 7
    after = np.asarray(network({**batch, "words": changed}))
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert np.abs(before[:, 3:] - after[:, 3:]).max(axis=(1, 2)).min() > 1e-3
    other = np.asarray(network({**batch, "image": batch["image"][::-1]}))
    assert np.abs(before - other).max(axis=2).min() > 1e-4


def test_where_things_are_is_told_by_fields_of_the_image():
    def features(images, **options):
        encoder = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.AveragePooling2D(2)])
        model = show_and_tell(encoder, 5, embedding=4, units=4, **options)
        return keras.Model(model.input["image"], model.get_layer("features").output)(images)
    images = np.zeros((2, 8, 8, 1), np.float32)
    images[0, :4, :4] = images[1, 4:, 4:6] = 1               # a square above on the left, and half of one
    np.testing.assert_allclose(features(images), [[1 / 4], [1 / 8]])
    np.testing.assert_allclose(features(images, grids=(2,)), [[1, 0, 0, 0], [0, 0, 0, 1 / 2]])
    np.testing.assert_allclose(features(images, grids=(1, 2), pooling="max"),
                               [[1, 1, 0, 0, 0], [1, 0, 0, 0, 1]])


@pytest.mark.parametrize("options", [
    {}, {"normalised": True, "memory": 30},
    {"hoisted": True, "dropout": 0.3, "grids": (1, 2), "pooling": "max", "hidden": 5}])
def test_sound(options, tmp_path):
    model = show_and_tell(resnet_cifar((SIDE, SIDE, 3), depth=8, include_top=False), 7, embedding=6, units=9,
                          **options)
    batch = {**inputs(), "words": np.resize(np.arange(7, dtype=np.int32), (4, 5))}
    every_weight_gets_a_gradient(model, batch)
    saves_and_loads(model, batch, tmp_path)


@pytest.mark.parametrize("length", [1, 3])
def test_a_beam_of_full_width_finds_what_trying_everything_finds(network, length):
    every = [sentence for words in range(length + 1) for sentence in itertools.product(WORDS, repeat=words)]
    found = captioner(network, width=len(every) + 5, length=length).predict(some_images(), verbose=0)
    for image, rows, scores in zip(some_images(), found["words"], found["log_probability"], strict=True):
        chances = next_words(network, image, length)
        right = np.array([log_probability(chances, sentence, length) for sentence in every])
        order = np.argsort(-right)
        np.testing.assert_allclose(scores[:len(every)], right[order], rtol=1e-4, atol=1e-5)
        assert [tuple(row[row > 0]) for row in rows[:len(every)]] == [every[index] for index in order]
        assert np.isneginf(scores[len(every):]).all() and not rows[len(every):].any()
        assert np.logaddexp.reduce(scores[:len(every)]) < 1e-6           # below 1: some words are forbidden


def test_a_beam_of_width_one_is_greedy(network):
    found = captioner(network, width=1).predict(some_images(), verbose=0)
    lengths = set()
    for image, (row,), score in zip(some_images(), found["words"], found["log_probability"], strict=True):
        chances, sentence = next_words(network, image, 3), ()
        while len(sentence) < 3:
            word = max((END, *WORDS), key=chances[sentence].__getitem__)
            if word == END:
                break
            sentence = (*sentence, word)
        assert tuple(row[row > 0]) == sentence
        np.testing.assert_allclose(score, log_probability(chances, sentence, 3), rtol=1e-4)
        lengths.add(len(sentence))
    assert len(lengths) > 1                                              # else the test says little


@pytest.mark.parametrize("width", [2, 4])
def test_a_narrow_beam_is_the_paper_s(network, width):
    """Sentences as Python tuples, sorted: at each step the best of all continuations."""
    found = captioner(network, width).predict(some_images(), batch_size=2, verbose=0)
    for image, rows, scores in zip(some_images(), found["words"], found["log_probability"], strict=True):
        chances, beams = next_words(network, image, 3), [((), 0.0, False)]
        for _ in range(3):
            going = [(words if word == END else (*words, word), score + chances[words][word], word == END)
                     for words, score, ended in beams if not ended for word in (END, *WORDS)]
            going += [beam for beam in beams if beam[2]]
            beams = sorted(going, key=lambda beam: -beam[1])[:width]
        assert [tuple(row[row > 0]) for row in rows] == [words for words, _, _ in beams]
        np.testing.assert_allclose(scores, [score for _, score, _ in beams], rtol=1e-4)


def test_images_do_not_influence_each_other(network):
    search = captioner(network, 3)
    together, one = search.predict(some_images(), verbose=0), search.predict(some_images()[3:4], verbose=0)
    np.testing.assert_array_equal(together["words"][3], one["words"][0])
    np.testing.assert_allclose(together["log_probability"][3], one["log_probability"][0], rtol=1e-5)


def test_bad_arguments_are_told(network):
    encoder = resnet_cifar((None, None, 3), depth=8, include_top=False)
    assert show_and_tell(encoder, 7).output_shape == (None, None, 7)
    for arguments, message in (({"grids": (2,)}, "must be known: NonexNone"), ({"units": 0}, "units=0"),
                               ({"grids": ()}, r"grids=\(\)"), ({"pooling": "sum"}, "one of mean, max"),
                               ({"hidden": -1}, "hidden=-1"), ({"memory": 2}, "at least 3 steps"),
                               ({"dropout": 1.0}, r"dropout must be in \[0, 1\)")):
        with pytest.raises(ValueError, match=message):
            show_and_tell(encoder, 7, **arguments)
    with pytest.raises(ValueError, match="include_top=False do. Received: output of shape"):
        show_and_tell(keras.Sequential([keras.Input((8, 3)), keras.layers.Dense(2)]), 7)
    with pytest.raises(ValueError, match="include_top=False do. Received: output of shape"):
        word_detector(keras.Sequential([keras.Input((8, 3)), keras.layers.Dense(2)]), 7)
    for arguments, message in (({"width": 0}, "width=0"), ({"end": 7}, r"symbols must be in \[0, 7\)"),
                               ({"end": 0}, "which stands behind it"), ({"silent": (9,)}, r"silent=\(9,\)")):
        with pytest.raises(ValueError, match=message):
            Captioner(network, **{"start": START, "end": END, **arguments})
