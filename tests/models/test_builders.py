"""What holds for every builder: shapes, gradients, save and load; and each one's exact counts."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from soundness import every_weight_gets_a_gradient, saves_and_loads

import models
from models.convnet import Bias, L2Pooling2D

SMALL = {                                             # builder, arguments, input shape
    "mlp": (models.mlp, {"hidden": (5, 4)}, (6, 6, 1)),
    "mlp linear": (models.mlp, {"hidden": ()}, (6, 6, 1)),
    "mlp large": (models.mlp, {"initialisation": "large"}, (6, 6, 1)),
    "mlp dropout": (models.mlp, {"hidden": (5, 4), "dropout": 0.5}, (6, 6, 1)),
    "nielsen": (models.nielsen_convnet, {"filters": (2, 3), "hidden": (5,)}, (16, 16, 1)),
    "nielsen l2 sigmoid": (models.nielsen_convnet,
                           {"filters": (2,), "pooling": "l2", "activation": "sigmoid"}, (12, 12, 2)),
    "nielsen dropout": (models.nielsen_convnet,
                        {"filters": (2,), "hidden": (5, 4), "dropout": 0.5}, (12, 12, 1)),
}


@pytest.fixture(params=SMALL)
def built(request):
    builder, arguments, shape = SMALL[request.param]
    return builder(shape, 3, **arguments), np.random.default_rng(0).random((4, *shape), np.float32)


def test_logits_of_the_right_shape(built):
    model, images = built
    assert model(images).shape == (4, 3) and not model.compiled


def test_every_weight_gets_a_gradient(built):
    every_weight_gets_a_gradient(*built)


def test_saves_and_loads_in_safe_mode(built, tmp_path):
    saves_and_loads(*built, tmp_path)


@pytest.mark.parametrize(("builder", "arguments", "count"), [
    (models.mlp, {}, 23_860),
    (models.mlp, {"hidden": (100,)}, 79_510),
    (models.nielsen_convnet, {"filters": ()}, 79_510),
    (models.nielsen_convnet, {"filters": (20,), "hidden": ()}, 29_330),
    (models.nielsen_convnet, {"filters": (20,)}, 289_630),
    (models.nielsen_convnet, {}, 85_670),
    (models.nielsen_convnet, {"hidden": (300,)}, 215_870),
    (models.nielsen_convnet, {"hidden": (1000,)}, 671_570),
    (models.nielsen_convnet, {"hidden": (100, 100)}, 95_770),
    (models.nielsen_convnet, {"hidden": (300, 300)}, 306_170),
    (models.nielsen_convnet, {"hidden": (1000, 1000), "dropout": 0.5}, 1_672_570),
])
def test_parameters_to_the_digit(builder, arguments, count):
    assert builder(**arguments).count_params() == count


def test_nielsen_initialisation():
    model = models.nielsen_convnet(hidden=(1000,))
    spread = {weight.path.split("/", 1)[1]: np.std(weight) for weight in model.weights}
    assert spread["stage1_conv/kernel"] == pytest.approx(1 / np.sqrt(125), rel=0.15)
    assert spread["stage2_conv/kernel"] == pytest.approx(1 / np.sqrt(250), rel=0.05)
    assert spread["hidden1/kernel"] == pytest.approx(1 / np.sqrt(1000), rel=0.05)
    assert spread["hidden1/bias"] == pytest.approx(1, rel=0.1)
    assert spread["logits/kernel"] == 0 and spread["logits/bias"] == 0


def test_mlp_initialisations():
    for name, scale in (("large", 1), ("scaled", 1 / 28)):
        hidden = models.mlp(hidden=(100,), initialisation=name).get_layer("hidden1")
        assert np.std(hidden.kernel) == pytest.approx(scale, rel=0.05)
        assert np.std(hidden.bias) == pytest.approx(1, rel=0.3)


def test_bias_after_max_pooling_is_bias_before_it():
    images = np.random.default_rng(1).random((2, 12, 12, 1), np.float32)
    model = models.nielsen_convnet((12, 12, 1), filters=(3,), hidden=(4,))
    kernel, bias = model.get_layer("stage1_conv").kernel, model.get_layer("stage1_bias").bias
    expected = tf.nn.relu(tf.nn.max_pool2d(tf.nn.conv2d(images, kernel, 1, "VALID") + bias, 2, 2, "VALID"))
    stage = keras.Model(model.inputs[0], model.get_layer("stage1").output)
    np.testing.assert_allclose(stage(images), expected, atol=1e-6)


def test_l2_pooling_equals_numpy_and_has_a_finite_gradient_at_zero():
    x = np.random.default_rng(2).normal(size=(2, 4, 6, 3)).astype(np.float32)
    expected = np.sqrt((x.reshape(2, 2, 2, 3, 2, 3) ** 2).sum(axis=(2, 4)))
    np.testing.assert_allclose(L2Pooling2D(2)(x), expected, rtol=1e-5)
    zeros = tf.zeros((1, 4, 4, 1))
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        total = tf.reduce_sum(L2Pooling2D(2)(zeros))
    assert np.isfinite(tape.gradient(total, zeros)).all()


def test_bias_adds_one_number_per_channel():
    layer = Bias()
    x = np.ones((2, 3, 3, 4), np.float32)
    np.testing.assert_allclose(layer(x) - x, np.broadcast_to(np.asarray(layer.bias), x.shape), atol=1e-6)


def test_first_biases_are_as_wide_as_asked():
    for stddev in (0.0, 1.0, 3.0):
        model = models.nielsen_convnet(filters=(200,), hidden=(400,), bias_stddev=stddev)
        for network in (model, keras.models.clone_model(model)):
            layers = network.get_layer("stage1_bias"), network.get_layer("hidden1")
            biases = np.concatenate([layer.bias for layer in layers])
            assert biases.std() == pytest.approx(stddev, rel=0.15)


def test_zero_biases_leave_no_filter_silent():
    strokes = np.where(np.random.default_rng(0).random((50, 28, 28, 1)) < 0.1, 1, 0).astype(np.float32)
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        model = models.nielsen_convnet(bias_stddev=0.0)
        stages = keras.Model(model.inputs, [model.get_layer(name).output for name in ("stage1", "stage2")])
        for activations in stages(strokes):
            assert (np.asarray(activations).max(axis=(0, 1, 2)) > 0).all()


@pytest.mark.parametrize(("arguments", "message"), [
    ({"filters": (0,)}, "at least 1. Received: filters=\\(0,\\)"),
    ({"pooling": "min"}, "max, l2. Received: 'min'"),
    ({"dropout": 1.0}, "Received: 1.0"),
    ({"bias_stddev": -1.0}, "at least 0 and finite. Received: -1.0"),
    ({"bias_stddev": float("nan")}, "at least 0 and finite. Received: nan"),
    ({"input_shape": (15, 28, 1)}, "at least 16x16 pixels. Received: input_shape=\\(15, 28, 1\\)"),
])
def test_nielsen_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.nielsen_convnet(**arguments)


def test_mlp_refuses():
    with pytest.raises(ValueError, match="Received: hidden=\\(30, 0\\)"):
        models.mlp(hidden=(30, 0))
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\). Received: 1.0"):
        models.mlp(dropout=1.0)


def test_mlp_dropout_acts_on_hidden_units_in_training_alone():
    model = models.mlp((3,), 2, hidden=(400,), dropout=0.5)
    x = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(model(x), model(x))
    kept = keras.Model(model.inputs[0], model.get_layer("hidden1_dropout").output)(x, training=True)
    assert 0.4 < np.mean(np.asarray(kept) == 0) < 0.6
