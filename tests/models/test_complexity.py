"""Complexity: published counts to the digit, and small models counted by hand."""
import keras
import numpy as np
import pytest
from keras import layers
from soundness import without_weights

import models
from models.complexity import complexity
from models.multidimensional_lstm import MultidimensionalLSTM


def sequential(shape, *chain):
    return keras.Sequential([keras.Input(shape), *chain])


@pytest.mark.parametrize("name, multiply_adds, depth", [
    ("VGG16", 15_470_264_320, 16), ("VGG19", 19_632_062_464, 19), ("ResNet50", 3_857_973_248, 50),
    ("DenseNet121", 2_834_161_664, 121), ("DenseNet201", 4_291_365_888, 201)])
def test_published_figures_of_keras_applications(name, multiply_adds, depth):
    model = without_weights(getattr(keras.applications, name), weights=None)
    counted = complexity(model)
    assert (counted.multiply_adds, counted.depth) == (multiply_adds, depth)
    assert counted.parameters == model.count_params() == sum(row.parameters for row in counted.rows)
    assert counted.multiply_adds == sum(row.multiply_adds for row in counted.rows)
    assert not counted.uncounted


def test_inception_v3_at_its_own_size():
    model = without_weights(keras.applications.InceptionV3, weights=None)
    assert complexity(model).multiply_adds == 5_713_216_096


def test_resnets_parameters_and_trainable_ones():
    counted = complexity(without_weights(keras.applications.ResNet50, weights=None))
    assert (counted.parameters, counted.trainable_parameters) == (25_636_712, 25_583_592)


@pytest.mark.parametrize("build, multiply_adds, depth", [
    (models.modern_lenet5, 416_520, 5), (models.alexnet, 724_406_816, 8),
    (models.alexnet_owt, 714_188_480, 8), (models.vgg11, 7_609_090_048, 11),
    (models.googlenet, 1_582_671_872, 22), (models.resnet50, 3_857_973_248, 50),
    (models.densenet121, 2_834_161_664, 121), (models.resnet_cifar, 40_551_040, 20),
    (models.resnet9, 379_261_952, 9)])
def test_published_figures_of_builders(build, multiply_adds, depth):
    counted = complexity(without_weights(build))
    assert (counted.multiply_adds, counted.depth, counted.uncounted) == (multiply_adds, depth, ())


CHAINS = {           # layer, input shape: multiply-adds, elements of its output
    "Conv1D": (layers.Conv1D(4, 3, dilation_rate=2), (11, 2), 7 * 3 * 2 * 4, 7 * 4),
    "Conv2D, a stride": (layers.Conv2D(4, 3, 2, "same"), (7, 8, 2), 4 * 4 * 9 * 2 * 4, 4 * 4 * 4),
    "Conv2D, groups": (layers.Conv2D(4, 3, groups=2), (5, 5, 6), 9 * 9 * 3 * 4, 9 * 4),
    "Conv3D": (layers.Conv3D(2, 2), (3, 4, 5, 3), 2 * 3 * 4 * 8 * 3 * 2, 2 * 3 * 4 * 2),
    "DepthwiseConv2D": (layers.DepthwiseConv2D(3, depth_multiplier=2), (5, 6, 4), 3 * 4 * 9 * 4 * 2, 12 * 8),
    "SeparableConv2D": (layers.SeparableConv2D(5, 3, 2), (5, 7, 4), 2 * 3 * (9 * 4 + 4 * 5), 2 * 3 * 5),
    "Conv2DTranspose": (layers.Conv2DTranspose(3, 4, 2, "same"), (5, 6, 2), 5 * 6 * 16 * 2 * 3, 10 * 12 * 3),
    "Dense": (layers.Dense(7), (5,), 35, 7),
    "Dense, at each step": (layers.Dense(7), (3, 5), 3 * 35, 3 * 7),
    "EinsumDense": (layers.EinsumDense("abc,cde->abde", (None, 2, 6), bias_axes="e"), (3, 4),
                    3 * 4 * 2 * 6, 3 * 2 * 6),
    "EinsumDense, an ellipsis": (layers.EinsumDense("...x,xy->...y", 6), (2, 3, 4), 2 * 3 * 4 * 6, 2 * 3 * 6),
    "EinsumDense, a sum": (layers.EinsumDense("abc,cd->ad", 6), (5, 4), 5 * 4 * 6, 6),
    "Embedding": (layers.Embedding(50, 8), (9,), 0, 9 * 8),
    "SimpleRNN": (layers.SimpleRNN(6), (9, 4), 9 * 6 * (4 + 6), 9 * 6),
    "GRU": (layers.GRU(6, return_sequences=True), (9, 4), 9 * 3 * 6 * (4 + 6), 9 * 6),
    "LSTM": (layers.LSTM(6), (9, 4), 9 * 4 * 6 * (4 + 6), 9 * 2 * 6),
    "stacked cells": (layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]), (5, 4),
                      5 * (4 * 3 * (4 + 3) + 3 * 2 * (3 + 2)), 5 * (2 * 3 + 2)),
    "ConvLSTM2D": (layers.ConvLSTM2D(3, 2, padding="same"), (4, 5, 6, 2),
                   4 * 5 * 6 * (4 * 2 * 12 + 4 * 3 * 12), 4 * 5 * 6 * 2 * 3),
    "Bidirectional": (layers.Bidirectional(layers.GRU(6)), (9, 4), 2 * 9 * 3 * 6 * 10, 2 * 9 * 6),
    "TimeDistributed": (layers.TimeDistributed(layers.Conv2D(4, 3)), (2, 5, 5, 3), 2 * 9 * 27 * 4,
                        2 * 9 * 4),
    "BatchNormalization": (layers.BatchNormalization(), (4, 4, 3), 0, 48),
    "MaxPooling2D": (layers.MaxPooling2D(2), (4, 4, 3), 0, 12),
    "Flatten": (layers.Flatten(), (4, 4, 3), 0, 0),
    "PartialConv2D": (models.lenet.PartialConv2D(((0, 2), (1,), (0, 1, 2)), 3), (6, 5, 3), 4 * 3 * 9 * 6, 36),
}


@pytest.mark.parametrize("case", CHAINS)
def test_layers_counted_by_hand(case):
    layer, shape, multiply_adds, elements = CHAINS[case]
    layer = type(layer).from_config(layer.get_config())      # built here, under this test's precision
    counted = complexity(sequential(shape, layer))
    assert counted.multiply_adds == multiply_adds
    assert counted.activations == elements and counted.activation_bytes == 4 * elements
    assert counted.depth == (multiply_adds > 0) and counted.uncounted == ()


def test_a_residual_network_counted_by_hand():
    image = x = keras.Input((8, 8, 3))
    x = shortcut = layers.Conv2D(4, 3, padding="same", activation="relu")(x)           # 256 elements
    x = layers.Conv2D(4, 3, padding="same")(x)                                         # 256
    x = layers.ReLU()(layers.BatchNormalization()(x))                                  # 512
    x = layers.Add()([x, layers.Conv2D(4, 1)(shortcut)])                               # 512
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x))                        # 8
    counted = complexity(keras.Model(image, layers.Dense(2)(x)))                       # 2
    assert counted.multiply_adds == 64 * (27 * 4 + 36 * 4 + 4 * 4) + 8
    assert counted.activations == 1_536 + 10 and counted.depth == 3
    assert counted.rows[-1].output_shape == (2,) and counted.rows[-1].parameters == 10


def test_shared_layers_and_several_inputs():
    left, right = keras.Input((6,), name="left"), keras.Input((6,), name="right")
    shared = layers.Dense(5, name="shared")
    output = layers.Dense(1)(layers.Concatenate()([shared(left), shared(right)]))
    counted = complexity(keras.Model([left, right], output))
    assert counted.multiply_adds == 2 * 30 + 10 and counted.parameters == 35 + 11
    assert [row.parameters for row in counted.rows if row.name == "shared"] == [35, 0]
    assert counted.depth == 2 and counted.activations == 5 + 5 + 10 + 1


def test_a_model_within_a_model_at_another_size():
    inner = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3, name="conv")], name="inner")
    image = keras.Input((9, 9, 3))
    small = layers.AveragePooling2D(3)(image)
    model = keras.Model(image, [inner(image), inner(small)])
    counted = complexity(model)
    assert counted.multiply_adds == (49 + 1) * 27 * 4 and counted.depth == 1
    assert [row.name for row in counted.rows if row.multiply_adds] == ["inner/conv"] * 2
    assert counted.parameters == sum(row.parameters for row in counted.rows) == 112


def test_operations_between_layers():
    x = keras.Input((4,))
    y = keras.ops.reshape(keras.ops.relu(layers.Dense(6)(x) * 2), (-1, 3, 2))
    counted = complexity(keras.Model(x, layers.Dense(5)(y)))
    assert counted.multiply_adds == 24 + 3 * 2 * 5 and counted.activations == 6 + 6 + 6 + 15


def test_attention_has_the_products_of_its_kernels():
    query = keras.Input((7, 8))
    counted = complexity(keras.Model(query, layers.MultiHeadAttention(2, 3)(query, query)))
    assert counted.multiply_adds == 4 * 7 * 8 * 2 * 3 and counted.uncounted == ()
    assert counted.parameters == sum(row.parameters for row in counted.rows)


class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = layers.Dense(5), sequential((5,), layers.Dense(3))

    def build(self, input_shape):
        self.first.build(input_shape)
        self.scale = self.add_weight(shape=(3,), name="scale")

    def call(self, x):
        return self.second(self.first(x)) * self.scale


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.block = Block()

    def call(self, x):
        return self.block(x[:, :4])


def test_layers_and_models_of_ones_own():
    counted = complexity(sequential((4,), Block()))
    assert counted.multiply_adds == 20 + 15 and counted.depth == 2
    assert counted.parameters == sum(row.parameters for row in counted.rows) == 25 + 18 + 3
    model = Own()
    model(np.zeros((1, 6)))
    counted = complexity(model, (6,))
    assert counted.multiply_adds == 20 + 15 and counted.parameters == 46
    assert counted.parameters == sum(row.parameters for row in counted.rows)


class Bilinear(layers.Layer):
    def build(self, input_shape):
        self.matrix = self.add_weight(shape=(input_shape[-1], input_shape[-1]), name="matrix")

    def call(self, x):
        return keras.ops.sum(x * (x @ self.matrix), axis=-1, keepdims=True)


def test_what_is_not_known_is_named():
    assert complexity(sequential((4,), Bilinear(name="bilinear"))).uncounted == ("bilinear",)


def test_bytes_follow_the_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    counted = complexity(sequential((4,), layers.Dense(6), layers.Dense(3, dtype="float32")))
    assert counted.activations == 9 and counted.activation_bytes == 6 * 2 + 3 * 4


def test_channels_first():
    model = sequential((3, 5, 6), layers.Conv2D(4, 3, data_format="channels_first"))
    assert complexity(model).multiply_adds == 3 * 4 * 27 * 4


def test_input_shape_is_what_counts():
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3, padding="same")])
    assert complexity(model, (5, 6, 3)).multiply_adds == 30 * 27 * 4


@pytest.mark.parametrize("call, message", [
    (lambda: complexity(keras.Sequential([layers.Dense(3)])), "built"),
    (lambda: complexity(sequential((None, None, 3), layers.Conv2D(4, 3))), r"None is no size.*input_shape"),
    (lambda: complexity(sequential((None, 3), layers.GRU(4)), (None, 3)), "None is no size"),
    (lambda: complexity(sequential((8, 8, 3), layers.Conv2D(4, 3)), (9, 9, 3)), r"\(8, 8, 3\).*\(9, 9, 3\)"),
    (lambda: complexity(sequential((8,), layers.Dense(4)), [(8,), (8,)]), "input_shape="),
    (lambda: complexity(sequential((8,), layers.Dense(4)), 8), "input_shape=8"),
])
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_multidimensional_lstm_by_hand():
    image = keras.Input((8, 6, 1))
    layer = MultidimensionalLSTM(3, block=(4, 3))
    counted = complexity(keras.Model(image, layer(image)))
    # 2x2 places, each read from 4 corners: 5 gates of 3 units see 12 pixels and 2 neighbours' 3 outputs.
    assert counted.multiply_adds == 2 * 2 * 4 * 5 * 3 * (12 + 2 * 3) and counted.depth == 1
    assert not counted.uncounted
