"""fast_convnet: count, shapes, gradients, saving, bad arguments."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from models import fast_convnet
from models.convnet import Bias


def test_parameters_to_the_digit():
    # 24 x 25 + 24, 32 x 24 x 9 + 32, 800 x 256 + 256, 256 x 10 + 10
    assert fast_convnet().count_params() == 624 + 6_944 + 205_056 + 2_570 == 215_194


def test_multiplications_and_additions_per_image():
    model, total = fast_convnet(), 0
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            positions = np.prod(layer.output.shape[1:-1], dtype=int)
            total += int(positions) * layer.kernel.shape.num_elements()
    assert total == 1_244_160


def test_relu_and_bias_after_pooling_equal_the_usual_order():
    model = fast_convnet((14, 14, 1), filters=(3, 4), hidden=5)
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(generator.normal(size=weight.shape))
    images = generator.uniform(size=(2, 14, 14, 1)).astype(np.float32)
    first, bias, second, bias2 = [np.asarray(w) for w in model.weights[:4]]
    x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(images, first, 1, "VALID") + bias), 2, 2, "VALID")
    x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, second, 1, "VALID") + bias2), 2, 2, "VALID")
    features = keras.Model(model.inputs[0], model.get_layer("stage2").output)
    np.testing.assert_allclose(features(images), x, rtol=1e-4, atol=1e-5)


def test_every_weight_has_a_gradient():
    model = fast_convnet(num_classes=7)
    images = np.random.default_rng(0).uniform(size=(8, 28, 28, 1)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(
            np.arange(8) % 7, model(images), from_logits=True))
    for weight, gradient in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables),
                                strict=True):
        assert np.abs(gradient).max() > 0, weight.path


def test_saved_and_loaded(tmp_path):
    model = fast_convnet()
    images = np.random.default_rng(0).uniform(size=(4, 28, 28, 1)).astype(np.float32)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))
    assert isinstance(loaded.get_layer("stage1_bias").initializer, keras.initializers.Zeros)
    assert isinstance(Bias.from_config(Bias(name="b").get_config()).initializer, keras.initializers.RandomNormal)


@pytest.mark.parametrize("arguments, said", [
    ({"filters": (24,)}, "two widths"), ({"hidden": 0}, "at least 1"), ({"num_classes": 0}, "at least 1"),
    ({"input_shape": (11, 28, 1)}, "at least 12x12"),
])
def test_bad_arguments(arguments, said):
    with pytest.raises(ValueError, match=said):
        fast_convnet(**arguments)


def test_the_smallest_image():
    assert fast_convnet((12, 12, 1)).output_shape == (None, 10)
