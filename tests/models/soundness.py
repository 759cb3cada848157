"""What the tests of every builder ask of its models, once."""
import keras
import numpy as np
import tensorflow as tf

from models import complexity


def without_weights(builder, **arguments):
    """A large model in a tenth of the time: its variables have shapes and no values."""
    with keras.StatelessScope(initialize_variables=False):
        return builder(**arguments)


def counts(model):
    """(parameters, trainable ones, multiply-adds of convolutions and dense layers per image)."""
    counted = complexity(model)
    return counted.parameters, counted.trainable_parameters, counted.multiply_adds


def images_for(model, count=4):
    """float32 (count, ...) in [0, 1), the same ones each time."""
    return np.random.default_rng(0).random((count, *model.input_shape[1:]), np.float32)


def every_weight_gets_a_gradient(model, images, training=False):
    """With the zeros moved away that some layers start with."""
    for variable in model.trainable_variables:
        variable.assign(variable + 0.1 * keras.random.normal(variable.shape, seed=1))
    with tf.GradientTape() as tape:
        outputs = tf.nest.flatten(model(images, training=training))
        loss = sum(tf.reduce_mean((output - 0.5 * tf.cast(tf.range(output.shape[-1]), output.dtype)) ** 2)
                   for output in outputs)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None and np.abs(tf.convert_to_tensor(gradient)).max() > 0, variable.path


def saves_and_loads(model, images, folder):
    """In safe mode, with the same outputs to the bit and the same layer names."""
    model.save(folder / "model.keras")
    again = keras.saving.load_model(folder / "model.keras", safe_mode=True)
    for before, after in zip(tf.nest.flatten(model(images)), tf.nest.flatten(again(images)), strict=True):
        np.testing.assert_array_equal(before, after)
    assert [layer.name for layer in model.layers] == [layer.name for layer in again.layers]


def logits_are_float32(build, policy):
    """Under mixed precision: the convolutions narrow, what leaves the network float32 and finite."""
    keras.config.set_dtype_policy(policy)
    model = build()
    narrow = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.compute_dtype for layer in narrow} == {policy.removeprefix("mixed_")}
    for output in tf.nest.flatten(model(images_for(model))):
        assert output.dtype == tf.float32 and np.isfinite(output).all()
