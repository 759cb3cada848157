"""fast_convnet: count, shapes, gradients, saving, bad arguments."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from soundness import every_weight_gets_a_gradient, images_for, saves_and_loads

from models import complexity, fast_convnet


def test_parameters_to_the_digit():
    # Kernels, then an offset, a mean and a variance per normalised channel, then the logits' layer.
    model = fast_convnet()
    assert model.count_params() == 600 + 6_912 + 204_800 + 3 * (24 + 32 + 256) + 2_570 == 215_818
    assert sum(int(np.prod(w.shape)) for w in model.non_trainable_variables) == 624


def test_multiplications_and_additions_per_image():
    assert complexity(fast_convnet()).multiply_adds == 1_244_160


def test_stages_against_plain_operations():
    model = fast_convnet((14, 14, 1), filters=(3, 4), hidden=5)
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(generator.uniform(0.5, 1.5, weight.shape) - (0 if "variance" in weight.path else 1))
    images = generator.uniform(size=(2, 14, 14, 1)).astype(np.float32)
    x = images
    for stage in (1, 2):
        norm = model.get_layer(f"stage{stage}_bn")
        x = tf.nn.conv2d(x, model.get_layer(f"stage{stage}_conv").kernel, 1, "VALID")
        x = tf.reduce_max(tf.stack([x[:, i::2, j::2][:, :x.shape[1] // 2, :x.shape[2] // 2]
                                    for i in (0, 1) for j in (0, 1)]), axis=0)
        x = np.maximum((x - norm.moving_mean) / np.sqrt(norm.moving_variance + 1e-3) + norm.beta, 0)
    features = keras.Model(model.inputs[0], model.get_layer("stage2").output)
    np.testing.assert_allclose(features(images), x, rtol=1e-4, atol=1e-5)


def test_every_weight_gets_a_gradient():
    model = fast_convnet(num_classes=7)
    every_weight_gets_a_gradient(model, images_for(model), training=True)


def test_saves_and_loads_in_safe_mode(tmp_path):
    model = fast_convnet()
    saves_and_loads(model, images_for(model), tmp_path)


@pytest.mark.parametrize("arguments, said", [
    ({"filters": (24,)}, "two widths"), ({"hidden": 0}, "at least 1"), ({"num_classes": 0}, "at least 1"),
    ({"input_shape": (11, 28, 1)}, "at least 12x12"),
])
def test_bad_arguments(arguments, said):
    with pytest.raises(ValueError, match=said):
        fast_convnet(**arguments)


def test_the_smallest_image():
    assert fast_convnet((12, 12, 1)).output_shape == (None, 10)
