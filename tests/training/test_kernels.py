"""The faster kernels give what Keras's own give, in training, and leave no trace behind."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pipelines.stream import Examples, Stream
from training import Run, kernels, loop

IMAGES = np.random.default_rng(0).normal(size=(32, 8, 8, 3)).astype(np.float32)
LABELS = np.arange(32) % 4


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((8, 8, 3)), layers.Conv2D(8, 3, use_bias=False),
        layers.BatchNormalization(momentum=0.6), layers.Activation("gelu"),
        layers.Conv2D(8, 3, activation="gelu"),
        layers.BatchNormalization(scale=False, center=False, epsilon=1e-12), layers.Flatten(),
        layers.BatchNormalization(), layers.Dense(4, dtype="float32")])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.fixture
def precision(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 2e-6), ("mixed_bfloat16", 0.02)],
                         indirect=["precision"])
def test_training_equals_keras(precision, tolerance):
    results = []
    for wanted in (False, True):
        model = network()
        with kernels.faster(model, wanted):
            losses = [float(model.train_on_batch(IMAGES, LABELS)) for _ in range(4)]
        results.append([np.array(losses), *model.get_weights()])
    for keras_own, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=tolerance, atol=tolerance)
    assert np.abs(results[1][3]).max() > 0.01            # the first moving mean has moved


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("shape", [(6, 4, 4, 12), (6, 8, 2, 7), (6, 3, 3, 12), (6, None, None, 12)],
                         ids=["four pixels", "sixteen pixels", "no such pixels", "any size"])
def test_channels_that_the_kernel_is_slow_for(shape, dtype):
    """The normalised maps, their statistics and all gradients are those of the formula, in float64."""
    generator = np.random.default_rng(1)
    x, gradient = (tf.cast(generator.normal(size=(6, *(side or 4 for side in shape[1:3]), shape[3])), dtype)
                   for _ in range(2))
    x = 3 * x + 1
    scale, offset = (tf.constant(generator.normal(size=shape[3]), tf.float32) for _ in range(2))

    @tf.function(input_signature=[tf.TensorSpec((None, *shape[1:]), dtype)] * 2)
    def ours(x, gradient):
        with tf.GradientTape() as tape:
            tape.watch([x, scale, offset])
            y, mean, variance = kernels.normalised_unaligned(x, scale, offset, 1e-3)
        return y, mean, variance, *tape.gradient(y, [x, scale, offset], gradient)

    wide, scale64, offset64 = (tf.cast(each, tf.float64) for each in (x, scale, offset))
    with tf.GradientTape() as tape:
        tape.watch([wide, scale64, offset64])
        mean, variance = tf.nn.moments(wide, [0, 1, 2])
        y = (wide - mean) / tf.sqrt(variance + 1e-3) * scale64 + offset64
    expected = y, mean, variance, *tape.gradient(y, [wide, scale64, offset64], tf.cast(gradient, tf.float64))
    for index, (found, right) in enumerate(zip(ours(x, gradient), expected, strict=True)):
        assert found.dtype == (dtype if index in (0, 3) else "float32") and found.shape == right.shape
        tolerance = 1e-5 if dtype == "float32" else 0.02
        np.testing.assert_allclose(tf.cast(found, tf.float64), right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("optimizer", [
    keras.optimizers.Adam(0.01, beta_2=0.99, clipnorm=1.0, use_ema=True, ema_momentum=0.9),
    keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.02, 20), weight_decay=0.1, epsilon=1e-3)],
    ids=["Adam", "AdamW"])
def test_adam_s_update_equals_keras_s(tmp_path, monkeypatch, optimizer):
    """The weights, both moments and the average, after updates whose rate and weights differ."""
    used, own, results, stream = [], kernels.update, [], Stream(Examples(IMAGES, LABELS), 16, seed=3)
    monkeypatch.setattr(kernels, "update", lambda optimizer, gradient, variable, rate: (
        used.append(variable.name), own(optimizer, gradient, variable, rate))[1])
    original = kernels.faster
    for wanted in (False, True):
        monkeypatch.setattr(kernels, "faster", lambda model, only=wanted, **_: original(model, only))
        model = network()
        model.compile(type(optimizer).from_config(optimizer.get_config()), model.loss)
        loop.fit(model, stream, folder=tmp_path / str(wanted), strategy=tf.distribute.get_strategy(),
                 updates=12, verbose=0)
        assert bool(used) == wanted and len(used) % len(model.trainable_variables) == 0    # for each trace
        assert "update_step" not in vars(model.optimizer)
        results.append([*model.get_weights(), *(np.array(each) for each in model.optimizer.variables)])
    assert len(results[0]) > 3 * len(model.trainable_variables)
    for keras_own, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-4, atol=1e-5)


class Counted(keras.optimizers.schedules.CosineDecay):
    """Counts how often it is asked for a rate in a graph."""
    traced = 0

    def __call__(self, step):
        Counted.traced += not tf.executing_eagerly()
        return super().__call__(step)


@pytest.mark.parametrize("devices", [1, 2])
def test_weights_decay_as_in_keras_by_one_rate(tmp_path, monkeypatch, devices):
    """Of one network and two devices, too, where Keras's own code runs."""
    stream, results, traced, original = Stream(Examples(IMAGES, LABELS), 16, seed=3), [], [], kernels.faster
    for wanted in (False, True):
        monkeypatch.setattr(kernels, "faster", lambda model, only=wanted, **_: original(model, only))
        run = Run(tmp_path / str(wanted), seed=0, strategy="mirrored" if devices == 2 else "none")
        with run.scope():
            keras.utils.set_random_seed(0)
            model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(6, "tanh"),
                                      layers.Dense(4)])
            optimizer = keras.optimizers.SGD(Counted(0.2, 12), momentum=0.9, weight_decay=0.3)
            optimizer.exclude_from_weight_decay(var_names=["bias"])
            model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        Counted.traced = 0
        run.fit(model, stream, updates=6, validate_every=6, verbose=0)
        traced.append(Counted.traced)
        assert "_apply_weight_decay" not in vars(model.optimizer)
        results.append([*model.get_weights(), *(np.array(each) for each in model.optimizer.variables)])
    assert traced[1] == traced[0] if devices == 2 else traced[1] < traced[0]
    for keras_own, ours in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, keras_own)


@pytest.mark.parametrize(("optimizer", "ours"), [
    (keras.optimizers.SGD(weight_decay=0.1), True), (keras.optimizers.SGD(), False),
    (keras.optimizers.Muon(weight_decay=0.1), False)], ids=["decays", "does not", "in a way of its own"])
def test_which_optimizers_decay_by_one_rate(optimizer, ours):
    model = network()
    model.compile(optimizer, model.loss)
    with kernels.faster(model):
        assert ("_apply_weight_decay" in vars(optimizer)) == ours
    assert "_apply_weight_decay" not in vars(optimizer)


def test_rows_of_an_embedding_and_other_optimizers_are_updated_by_keras(monkeypatch):
    applied = set()
    monkeypatch.setattr(tf.raw_ops, "ResourceApplyAdam",
                        lambda **named: applied.add(tuple(named["grad"].shape)))
    model = keras.Sequential([keras.Input((3,), dtype="int32"), layers.Embedding(5, 2), layers.Flatten(),
                              layers.Dense(4)])
    for optimizer, shapes in ((keras.optimizers.Adam(), {(6, 4), (4,)}), (keras.optimizers.Nadam(), set()),
                              (keras.optimizers.Adam(amsgrad=True), set())):
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        with kernels.faster(model):
            model.train_on_batch(np.arange(12).reshape(4, 3) % 5, np.arange(4))
        assert applied == shapes
        applied.clear()


def test_the_fused_kernels_run_in_fit_and_not_under_xla_and_are_gone_afterwards(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(kernels, "normalise", lambda layer, *arguments, **named: (
        called.append(layer.name), keras.layers.BatchNormalization.call(layer, *arguments, **named))[1])
    monkeypatch.setattr(kernels, "gelu", lambda x: (called.append("gelu"), keras.activations.gelu(x))[1])
    stream = Stream(Examples(IMAGES, LABELS), 8)
    for jit in (False, True):
        model = network()
        loop.fit(model, stream, folder=tmp_path / str(jit), strategy=tf.distribute.get_strategy(), updates=2,
                 jit=jit, verbose=0)
        normalisations = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
        assert set(called) == (set() if jit else {"gelu", *(layer.name for layer in normalisations[:2])})
        assert all("call" not in vars(layer) for layer in normalisations)
        assert all(layer.activation is keras.activations.gelu for layer in model.layers[2:4])
        called.clear()


def test_two_devices_train_as_they_do_with_keras_own_kernels(tmp_path, monkeypatch):
    """Each replica normalises its own half of the batch; the moving statistics are the mean of both."""
    stream, results, used = Stream(Examples(IMAGES, LABELS), 16, seed=3), [], []
    original, own = kernels.faster, kernels.normalise
    for wanted in (False, True):
        monkeypatch.setattr(kernels, "faster", lambda model, only=wanted, **_: original(model, only))
        run = Run(tmp_path / str(wanted), seed=0, strategy="mirrored")
        with run.scope():
            model = network()
        monkeypatch.setattr(kernels, "normalise", lambda layer, *arguments, **named: (
            used.append(layer.name), own(layer, *arguments, **named))[1])
        history = run.fit(model, stream, updates=6, validate_every=6, verbose=0)
        results.append([np.array(history[-1]["loss"]), *model.get_weights()])
        assert bool(used) == wanted
    assert run.strategy.num_replicas_in_sync == 2 and len(set(used)) == 2
    for keras_own, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-4, atol=1e-5)


def test_gelu_and_its_slope_are_keras_own():
    x = tf.constant(np.linspace(-8, 8, 1001, dtype=np.float32))
    found = {}
    for function in (keras.activations.gelu, kernels.gelu):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        found[function] = y.numpy(), tape.gradient(y, x).numpy()
    for theirs, ours in zip(*found.values(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(kernels.gelu(x, approximate=True), keras.activations.gelu(x, approximate=True))


class Own(layers.BatchNormalization):
    pass


@pytest.mark.parametrize(("layer", "shape"), [
    (layers.BatchNormalization(axis=1), (None, 8, 8, 3)), (layers.BatchNormalization(), (None, 8)),
    (layers.BatchNormalization(renorm=True), (None, 8, 8, 3)), (Own(), (None, 8, 8, 3)),
    (layers.BatchNormalization(synchronized=True), (None, 8, 8, 3))],
    ids=["axis", "dimensions", "renorm", "subclass", "synchronized"])
def test_leaves_alone_what_the_kernel_does_not_compute(layer, shape):
    layer.build(shape)
    assert not kernels.fusible(layer)
    usual = layers.BatchNormalization()
    assert not kernels.fusible(usual)                     # its weights are not there yet
    usual.build((None, 8, 8, 3))
    assert kernels.fusible(usual)


def test_a_frozen_normalisation_keeps_its_statistics():
    model = network()
    layer = model.layers[1]
    layer.trainable = False
    before = [value.copy() for value in layer.get_weights()]
    with kernels.faster(model):
        expected = keras.layers.BatchNormalization.call(layer, model.layers[0](IMAGES), training=True)
        np.testing.assert_allclose(layer(model.layers[0](IMAGES), training=True), expected, atol=1e-6)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
