import keras
import numpy as np
import pytest
from keras import layers

from models import nielsen_convnet
from pipelines import mnist
from probes.dead_units import dead_units


def rows(count=40):
    return np.random.default_rng(0).random((count, 6), np.float32)


def dense(biases, activation):
    """Three units of zero weights, so that each is its bias alone."""
    hidden = layers.Dense(3, activation, kernel_initializer="zeros", name="h")
    model = keras.Sequential([keras.Input((6,)), hidden, layers.Dense(2, name="logits")])
    model.get_layer("h").bias.assign(biases)
    return model


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_a_unit_that_never_fires_is_dead(activation):
    found = dead_units(dense([-1.0, 0.0, 1.0], activation), rows())
    assert list(found) == ["h"] and found["h"].tolist() == [True, True, False]


def test_one_input_in_the_last_batch_brings_a_unit_to_life():
    model = dense([-1.0, -1.0, -1.0], "relu")
    kernel = np.zeros((6, 3), np.float32)
    kernel[0, 1] = 1
    model.get_layer("h").kernel.assign(kernel)
    inputs = rows(23)
    assert dead_units(model, inputs, batch_size=5)["h"].all()
    inputs[-1, 0] = 2
    assert dead_units(model, inputs, batch_size=5)["h"].tolist() == [True, False, True]


def test_a_feature_map_lives_if_it_fires_anywhere():
    model = keras.Sequential([keras.Input((5, 5, 1)), layers.Conv2D(2, 1, name="c"), layers.ReLU(name="r")])
    model.get_layer("c").set_weights([np.array([[[[1.0, -1.0]]]]), np.zeros(2)])
    image = np.zeros((1, 5, 5, 1), np.float32)
    image[0, 3, 2] = 1
    assert dead_units(model, image)["r"].tolist() == [False, True]


def test_what_cannot_die_is_left_out():
    assert dead_units(dense([-1.0, 0.0, 1.0], "sigmoid"), rows()) == {}
    assert dead_units(dense([-1.0, 0.0, 1.0], "leaky_relu"), rows()) == {}
    model = keras.Sequential([keras.Input((6,)), layers.ReLU(negative_slope=0.1), layers.Dense(2)])
    assert dead_units(model, rows()) == {}


def test_dropout_is_off_and_weights_stay():
    model = nielsen_convnet(filters=(4,), hidden=(30,), dropout=0.9, bias_stddev=0.0)
    before = [np.asarray(weight) for weight in model.weights]
    images = np.random.default_rng(1).random((10, 28, 28, 1), np.float32)
    one, other = (dead_units(model, images) for _ in range(2))
    assert set(one) == {"stage1", "hidden1"}
    for name, found in one.items():
        np.testing.assert_array_equal(found, other[name])
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_several_inputs_and_half_precision():
    one, other = keras.Input((6,), name="one"), keras.Input((6,), name="other")
    hidden = layers.Dense(4, "relu", bias_initializer=keras.initializers.Constant(-100.0), name="h",
                          dtype="mixed_bfloat16")(layers.Concatenate()([one, other]))
    model = keras.Model({"one": one, "other": other}, layers.Dense(2)(hidden))
    assert dead_units(model, {"one": rows(), "other": rows()})["h"].all()


@pytest.mark.parametrize("batch_size", [0, -5])
def test_batches_of_nothing_are_refused(batch_size):
    with pytest.raises(ValueError, match=f"at least 1. Received: {batch_size}"):
        dead_units(dense([0.0, 0.0, 0.0], "relu"), rows(), batch_size=batch_size)


def test_nothing_to_answer_to():
    with pytest.raises(ValueError, match="Received: no inputs"):
        dead_units(dense([0.0, 0.0, 0.0], "relu"), rows(0))


def test_the_books_first_biases_silence_filters_from_the_start(real_mnist):
    images = mnist.load("mnist").validation[:2000].arrays()[0]
    found = {}
    for stddev in (1.0, 0.0):
        for seed in range(5):
            keras.utils.set_random_seed(seed)
            model = nielsen_convnet(hidden=(1000, 1000), bias_stddev=stddev)
            found.setdefault(stddev, []).append(int(dead_units(model, images)["stage1"].sum()))
    assert found == {1.0: [7, 11, 4, 4, 2], 0.0: [0, 0, 0, 0, 0]}         # of 20, in rung 7's network
