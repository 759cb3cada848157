"""LeCun's, Simard's and Cirešan's networks: counts, connections, layers against plain operations."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from soundness import every_weight_gets_a_gradient, saves_and_loads

import models
from models.lenet import C3_READS, H3_READS, Codes, PartialConv2D, Subsampling2D, drawn_codes


def parameters(model):
    return [layer.count_params() for layer in model.layers if layer.count_params()]


def test_parameters_to_the_digit():
    assert parameters(models.lenet1()) == [104, 8, 512, 24, 1_930]
    assert models.lenet1().count_params() == 2_578
    model = models.lenet5()
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert parameters(model) == [156, 12, 1_516, 32, 48_120, 10_164, 840]
    assert trainable == 60_000 and model.count_params() == 60_840
    assert models.lenet5(output="dense").count_params() == 60_850
    assert parameters(models.modern_lenet5()) == [156, 2_416, 48_120, 10_164, 850]
    assert models.modern_lenet5().count_params() == 61_706
    assert parameters(models.simard_convnet()) == [130, 6_300, 125_100, 1_010]
    assert models.simard_convnet().count_params() == 132_540
    assert parameters(models.mcdnn_column()) == [340, 20_040, 54_150, 1_510]
    assert models.mcdnn_column().count_params() == 76_040


@pytest.mark.parametrize(("hidden", "count"), [
    ((800,), 681_610), ((1000, 500), 1_347_510), ((1500, 1000, 500), 3_269_510),
    ((2000, 1500, 1000, 500), 6_692_010), ((2500, 2000, 1500, 1000, 500), 12_115_010),
    ((1000,) * 9, 8_860_010)])
def test_parameters_of_the_large_perceptrons(hidden, count):
    assert models.mlp((29, 29, 1), hidden=hidden).count_params() == count


def connections(model):
    """Weights and biases, each as often as it is applied."""
    total = 0
    for layer in model.layers:
        places = int(np.prod(layer.output.shape[1:-1]))
        if isinstance(layer, PartialConv2D):
            total += places * layer.count_params()
        elif isinstance(layer, Subsampling2D):
            total += places * layer.output.shape[-1] * 5                       # four inputs and a bias
        elif isinstance(layer, keras.layers.Dense | Codes):
            total += layer.count_params()
    return total


def test_published_numbers_of_connections():
    assert connections(models.lenet5()) == 340_908
    assert connections(models.lenet1()) == 98_442


def test_maps_have_the_published_sizes():
    assert models.complexity(models.modern_lenet5()).multiply_adds == 416_520
    assert [layer.output.shape[1] for layer in models.mcdnn_column().layers[:4]] == [26, 13, 9, 3]
    assert [layer.output.shape[1] for layer in models.simard_convnet().layers[:2]] == [13, 5]
    assert [layer.output.shape[1:] for layer in models.lenet5().layers[:6:3]] == [(28, 28, 6), (10, 10, 16)]


def test_connection_tables():
    assert sorted(map(len, C3_READS)) == [3] * 6 + [4] * 9 + [6]
    assert len(set(C3_READS)) == 16                                    # no two maps see the same
    assert sorted(map(len, H3_READS)) == [1] * 4 + [2] * 8
    for reads, sources in ((C3_READS, 6), (H3_READS, 4)):
        read = np.bincount([source for maps in reads for source in maps], minlength=sources)
        assert len(set(read)) == 1, "every map is read equally often"


BUILT = {"lenet1": (models.lenet1, {}, (28, 28, 1)), "lenet5": (models.lenet5, {}, (32, 32, 1)),
         "lenet5 dense": (models.lenet5, {"output": "dense"}, (32, 32, 1)),
         "modern": (models.modern_lenet5, {"activation": "tanh"}, (32, 32, 1)),
         "simard": (models.simard_convnet, {"activation": "tanh"}, (29, 29, 1)),
         "mcdnn": (models.mcdnn_column, {}, (29, 29, 1)),
         "normalised": (models.normalised_convnet, {"filters": (3, 4)}, (12, 12, 1)),
         "biases": (models.normalised_convnet, {"filters": (3, 4), "normalised": False}, (9, 8, 2))}


@pytest.fixture(params=BUILT)
def built(request):
    builder, arguments, shape = BUILT[request.param]
    return builder(shape, **arguments), np.random.default_rng(0).random((4, *shape), np.float32)


def test_every_weight_gets_a_gradient(built):
    model, images = built
    assert model(images).shape == (4, 10) and not model.compiled
    every_weight_gets_a_gradient(model, images, training=True)


def test_saves_and_loads_in_safe_mode(built, tmp_path):
    saves_and_loads(*built, tmp_path)


def test_partial_convolution_is_a_sum_over_the_maps_that_are_read():
    reads = ((0, 2), (1,), (0, 1, 2))
    layer = PartialConv2D(reads, 3)
    x = np.random.default_rng(1).normal(size=(2, 6, 5, 3)).astype(np.float32)
    out = layer(x).numpy()
    connection, kernel = 0, layer.kernel.numpy()
    for target, maps in enumerate(reads):
        expected = np.full((2, 4, 3), layer.bias.numpy()[target])
        for source in maps:
            expected += tf.nn.conv2d(x[..., source:source + 1], kernel[:, :, connection, None, None], 1,
                                     "VALID").numpy()[..., 0]
            connection += 1
        np.testing.assert_allclose(out[..., target], expected, atol=1e-5)
    with pytest.raises(ValueError, match="maps 0 to 2 of the input"):
        PartialConv2D(((0, 3),), 3)(x)


def test_subsampling_sums_scales_and_shifts():
    layer = Subsampling2D()
    x = np.random.default_rng(2).normal(size=(2, 4, 6, 3)).astype(np.float32)
    total = x.reshape(2, 2, 2, 3, 2, 3).sum(axis=(2, 4))
    np.testing.assert_allclose(layer(x), total * layer.coefficient.numpy() + layer.bias.numpy(), atol=1e-5)


def test_codes_are_squared_distances_and_differ():
    codes = np.array(drawn_codes())
    assert codes.shape == (10, 84) and set(codes.ravel()) == {-1.0, 1.0}
    apart = np.sum(codes[:, None] != codes, axis=-1)[~np.eye(10, dtype=bool)]
    assert apart.min() >= 3                                      # pixels; similar digits have similar codes
    x = np.random.default_rng(3).normal(size=(5, 84)).astype(np.float32)
    np.testing.assert_allclose(Codes()(x), -np.sum((x[:, None] - codes) ** 2, axis=-1), rtol=1e-5)


def test_scaled_tanh_keeps_plus_and_minus_one():
    x = np.array([-1.0, 0.0, 1.0, 99.0])
    np.testing.assert_allclose(models.scaled_tanh(x), [-1, 0, 1, 1.7159], atol=1e-4)


def test_first_weights_are_lecuns():
    for layer, fan_in in (("c5", 400), ("f6", 120)):
        kernel = models.lenet5().get_layer(layer).kernel.numpy()
        assert 0.98 * 2.4 / fan_in < np.abs(kernel).max() <= 2.4 / fan_in
        assert kernel.std() == pytest.approx(2.4 / fan_in / np.sqrt(3), rel=0.02)


def test_normalised_convnet():
    model = models.normalised_convnet()
    kernels = 9 * (1 * 32 + 32 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128)
    norms = 4 * 2 * (32 + 64 + 128)
    assert model.count_params() == kernels + norms + 1_290 == 289_066
    assert sum(int(np.prod(weight.shape)) for weight in model.non_trainable_weights) == 896
    assert models.complexity(model).multiply_adds == 21_429_632
    assert models.normalised_convnet(normalised=False).count_params() == kernels + norms // 4 + 1_290
    assert models.normalised_convnet((12, 12, 1)).output_shape == (None, 10)


def test_on_images_refuses_one_colour():
    with pytest.raises(ValueError, match=r"black and white must differ.*Received: 1, 1"):
        models.on_images(models.lenet5(), black=1, white=1)


def test_on_images_frames_and_scales():
    network = keras.Sequential([keras.Input((7, 8, 1)), keras.layers.Flatten()])
    image = np.random.default_rng(4).random((2, 4, 6, 1), np.float32)
    out = models.on_images(network, (4, 6, 1), black=-0.1, white=1.175)(image).numpy().reshape(2, 7, 8)
    np.testing.assert_allclose(out[:, 1:5, 1:7], image[..., 0] * 1.275 - 0.1, atol=1e-6)
    out[:, 1:5, 1:7] = -0.1
    np.testing.assert_allclose(out, -0.1, atol=1e-7)
    assert models.on_images(models.lenet5()).count_params() == 60_840
    network = models.lenet1()
    for one, other in zip(network.weights, models.on_images(network).weights, strict=True):
        np.testing.assert_array_equal(one, other)
    same = models.on_images(models.simard_convnet(), (29, 29, 1))
    assert [layer.name for layer in same.layers] == [layer.name for layer in models.simard_convnet().layers]
    network = keras.Sequential([keras.Input((7, 8, 1)), keras.layers.Flatten()])
    for shape in ((8, 6, 1), (4, 6, 3)):
        with pytest.raises(ValueError, match="at most 7x8 with 1 channels"):
            models.on_images(network, shape)


@pytest.mark.parametrize(("builder", "arguments", "message"), [
    (models.lenet1, {"input_shape": (29, 29, 1)}, "even number of pixels.*Received: 29x29"),
    (models.lenet5, {"input_shape": (28, 28, 1)}, "32x32 pixels.*Received"),
    (models.lenet5, {"output": "rbf"}, "\"codes\" or \"dense\". Received: 'rbf'"),
    (models.lenet5, {"num_classes": 47}, "the 10 digits.*Received: num_classes=47"),
    (models.modern_lenet5, {"input_shape": (15, 32, 1)}, "at least 16x16"),
    (models.simard_convnet, {"input_shape": (12, 29, 1)}, "at least 13x13"),
    (models.mcdnn_column, {"input_shape": (29, 16, 1)}, "at least 17x17"),
    (models.normalised_convnet, {"filters": ()}, "at least one width"),
    (models.normalised_convnet, {"dropout": 1.0}, "Received: 1.0"),
    (models.normalised_convnet, {"input_shape": (11, 28, 1)}, "at least 12x12"),
])
def test_bad_arguments(builder, arguments, message):
    with pytest.raises(ValueError, match=message):
        builder(**arguments)


@pytest.mark.parametrize(("builder", "shape"), [
    (models.modern_lenet5, (16, 16, 1)), (models.simard_convnet, (13, 13, 1)),
    (models.mcdnn_column, (17, 17, 1)), (models.normalised_convnet, (12, 12, 1))])
def test_the_smallest_image(builder, shape):
    assert builder(shape).output_shape == (None, 10)
