"""Residual and plain networks: counts, block arithmetic, shapes, saving, bad arguments, equal references."""
import importlib.util
import re

import keras
import numpy as np
import pytest
from references import filled, same_as_torchvision, same_layers
from soundness import counts, every_weight_gets_a_gradient, images_for, saves_and_loads, without_weights

import models
from models import (
    plain18,
    plain34,
    plain_cifar,
    resnet9,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnet_cifar,
)
from models.resnet import PaddedShortcut

IMAGENET = {                     # total, trainable, multiply-adds at 224x224
    (resnet18, "v1"): (11_699_112, 11_689_512, 1_814_073_344),
    (resnet18, "v1.5"): (11_699_112, 11_689_512, 1_814_073_344),
    (resnet18, "v2"): (11_698_408, 11_690_600, 1_293_848_576),
    (resnet34, "v1.5"): (21_814_696, 21_797_672, 3_663_761_408),
    (resnet34, "v2"): (21_815_848, 21_800_616, 3_143_536_640),
    (resnet50, "v1"): (25_636_712, 25_583_592, 3_857_973_248),
    (resnet50, "v1.5"): (25_610_152, 25_557_032, 4_089_184_256),
    (resnet50, "v2"): (25_613_800, 25_568_360, 3_482_255_360),
    (resnet101, "v1"): (44_707_176, 44_601_832, 7_570_194_432),
    (resnet101, "v1.5"): (44_654_504, 44_549_160, 7_801_405_440),
    (resnet101, "v2"): (44_675_560, 44_577_896, 7_194_476_544),
    (resnet152, "v1"): (60_419_944, 60_268_520, 11_282_415_616),
    (resnet152, "v1.5"): (60_344_232, 60_192_808, 11_513_626_624),
    (resnet152, "v2"): (60_380_648, 60_236_904, 10_906_697_728),
}
CIFAR = {                        # depth: total and trainable with shortcut A and with B, multiply-adds of A
    20: (271_098, 269_722, 274_042, 272_474, 40_551_040),
    32: (466_426, 464_154, 469_370, 466_906, 68_862_592),
    44: (661_754, 658_586, 664_698, 661_338, 97_174_144),
    56: (857_082, 853_018, 860_026, 855_770, 125_485_696),
    110: (1_736_058, 1_727_962, 1_739_002, 1_730_714, 252_887_680),
}
SMALL = [(resnet18, {"version": "v1"}), (resnet50, {"version": "v1"}), (resnet50, {"version": "v1.5"}),
         (resnet18, {"version": "v2"}), (resnet50, {"version": "v2"}), (plain18, {})]
TINY = [(resnet_cifar, {"depth": 8}), (resnet_cifar, {"depth": 8, "shortcut": "B"}),
        (resnet_cifar, {"depth": 11, "version": "v2"}),
        (resnet_cifar, {"depth": 20, "version": "preactivation"}),
        (plain_cifar, {"depth": 8}), (resnet9, {"widths": (4, 6, 8, 8)})]


@pytest.mark.parametrize("builder, version", IMAGENET)
def test_counts_to_the_digit(builder, version):
    assert counts(without_weights(builder, version=version)) == IMAGENET[builder, version]
    for count in IMAGENET[builder, version]:
        assert f"{count:,}" in builder.__doc__


@pytest.mark.parametrize("builder, expected", [(plain18, (11_523_496, 11_515_688, 1_794_805_760)),
                                               (plain34, (21_639_080, 21_623_848, 3_644_493_824)),
                                               (resnet9, (6_577_600, 6_573_120, 379_261_952))])
def test_counts_of_plain_networks_and_resnet9(builder, expected):
    assert counts(without_weights(builder)) == expected
    assert all(f"{count:,}" in builder.__doc__ for count in expected)


@pytest.mark.parametrize("depth", CIFAR)
def test_counts_of_table_6(depth):
    total, trainable, total_b, trainable_b, multiply_adds = CIFAR[depth]
    assert counts(without_weights(resnet_cifar, depth=depth)) == (total, trainable, multiply_adds)
    assert counts(without_weights(plain_cifar, depth=depth)) == (total, trainable, multiply_adds)
    assert counts(without_weights(resnet_cifar, depth=depth, shortcut="B"))[:2] == (total_b, trainable_b)
    assert all(f"{count:,}" in resnet_cifar.__doc__ for count in (trainable, trainable_b, multiply_adds))


def test_counts_grow_by_the_same_for_every_six_layers():
    for depth, expected in ((44, CIFAR[44]), (56, CIFAR[56]), (110, CIFAR[110]),
                            (1202, (None, 19_421_274, None, 19_424_026, 2_829_238_912))):
        for first, second, count in zip(CIFAR[20], CIFAR[32], expected, strict=True):
            assert count in (None, first + (depth - 20) // 6 * (second - first) // 2)


@pytest.mark.slow
def test_1202_layers_are_built_saved_loaded_and_trained(tmp_path):
    model = resnet_cifar((4, 4, 3), depth=1202)
    assert counts(model)[1] == 19_421_274
    saves_and_loads(model, images_for(model, 1), tmp_path)
    model.compile(keras.optimizers.SGD(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  run_eagerly=True)                           # tracing takes minutes, for one update
    before = model.get_weights()
    assert np.isfinite(model.train_on_batch(images_for(model, 2), np.array([0, 1])))
    changed = [np.any(one != other) for one, other in zip(before, model.get_weights(), strict=True)]
    assert np.mean(changed) > 0.95


@pytest.mark.parametrize("depth, version, total, trainable", [
    (56, "v2", 1_673_738, 1_663_338), (110, "v2", 3_323_210, 3_302_442),
    (164, "preactivation", 1_727_482, 1_703_258)])
def test_counts_of_preactivated_bottlenecks(depth, version, total, trainable):
    assert counts(without_weights(resnet_cifar, depth=depth, version=version))[:2] == (total, trainable)


def test_depth_counts_the_weighted_layers():
    for builder, depth in ((resnet18, 18), (resnet50, 50), (resnet152, 152)):
        weighty = [layer.name for layer in without_weights(builder).layers
                   if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]
        assert sum("shortcut" not in name for name in weighty) == depth


@pytest.mark.parametrize("builder, arguments", TINY)
def test_every_weight_gets_a_gradient(builder, arguments):
    model = builder((8, 8, 3), 3, **arguments)
    every_weight_gets_a_gradient(model, images_for(model), training=True)


@pytest.mark.parametrize("builder, arguments", TINY)
def test_saves_and_loads_in_safe_mode(builder, arguments, tmp_path):
    model = builder((8, 8, 3), 3, **arguments)
    saves_and_loads(model, images_for(model), tmp_path)


def test_a_large_network_saves_and_loads(tmp_path):
    model = resnet18((32, 32, 3), 3)
    saves_and_loads(model, images_for(model, 2), tmp_path)


@pytest.mark.parametrize("builder, arguments", SMALL)
def test_stages_of_the_large_networks(builder, arguments):
    model = without_weights(builder, input_shape=(224, 224, 3), num_classes=7, **arguments)
    wide = 4 if builder is resnet50 else 1
    # v2 of keras.applications halves the size at the end of a stage.
    sides = (28, 14, 7, 7) if arguments.get("version") == "v2" else (56, 28, 14, 7)
    assert model.get_layer("stem").output.shape == (None, 56, 56, 64)
    for stage, side in enumerate(sides, 1):
        shape = model.get_layer(f"stage{stage}").output.shape
        assert shape == (None, side, side, wide * 64 * 2 ** (stage - 1))
    assert model.get_layer("features").output.shape == (None, 512 * wide)
    assert model.output_shape == (None, 7) and model.layers[-1].name == "logits"


@pytest.mark.parametrize("builder, arguments", [(resnet18, {}), (resnet18, {"version": "v2"}), *TINY])
def test_without_top_and_for_images_of_any_size(builder, arguments):
    model = builder((None, None, 1), include_top=False, **arguments)
    last = "stage4" if builder is resnet18 else "stage3"
    assert model.layers[-1].name == last
    stride = {resnet18: 32, resnet9: 8}.get(builder, 4)
    output = model(np.ones((1, 64, 40, 1), "float32"))
    assert output.shape[1:3] == (64 // stride, -(-40 // stride) if builder is resnet18 else 40 // stride)


@pytest.mark.parametrize("builder, arguments", TINY)
def test_mixed_precision_and_the_classifier_activation(builder, arguments):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = builder((8, 8, 1), 3, classifier_activation="softmax", **arguments)
    outputs = keras.ops.convert_to_numpy(model(images_for(model)))
    assert outputs.dtype == np.float32 and model.layers[-1].name == "predictions"
    assert model.get_layer("stage1").compute_dtype == "bfloat16"
    np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)


def test_option_a_drops_pixels_and_appends_zeros():
    x = np.random.default_rng(0).random((2, 5, 4, 3)).astype("float32")
    y = np.asarray(PaddedShortcut(7, 2)(x))
    assert y.shape == (2, 3, 2, 7) == PaddedShortcut(7, 2).compute_output_shape((2, 5, 4, 3))
    np.testing.assert_array_equal(y[..., :3], x[:, [0, 2, 4]][:, :, [0, 2]])
    assert not y[..., 3:].any()


@pytest.mark.parametrize("arguments", [{"shortcut": "A"}, {"shortcut": "B"}])
def test_a_block_whose_last_scale_is_zero_is_its_shortcut(arguments):
    model = resnet_cifar((8, 8, 3), depth=14, **arguments)
    model.get_layer("stage1_block0_bn2").gamma.assign(np.zeros(16))
    wanted = keras.Model(model.inputs[0], [model.get_layer("stem").output,
                                        model.get_layer("stage1_block0").output])
    stem, block = wanted(images_for(model))
    np.testing.assert_allclose(stem, block, atol=1e-6)


def test_plain_networks_have_no_shortcut():
    model = plain_cifar((8, 8, 3), depth=14)
    model.get_layer("stage2_block0_bn2").gamma.assign(np.zeros(32))
    block = keras.Model(model.inputs[0], model.get_layer("stage2_block0").output)(images_for(model))
    assert not np.asarray(block).any()


def test_a_residual_block_against_plain_operations():
    model = resnet_cifar((8, 8, 3), depth=8)
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(generator.uniform(0.5, 1.5, weight.shape) - (0 if "variance" in weight.path else 1))
    stages = [model.get_layer(name).output for name in ("stage1", "stage2")]
    before, after = (np.asarray(x) for x in keras.Model(model.inputs[0], stages)(images_for(model)))

    def convolved(x, name, stride):                    # sums over shifted images, one pixel of zeros around
        layer = model.get_layer(f"stage2_block0_conv{name}")
        kernel, padded = np.asarray(layer.kernel), np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        y = sum(padded[:, i:i + x.shape[1]:stride, j:j + x.shape[2]:stride] @ kernel[i, j]
                for i in range(3) for j in range(3))
        norm = model.get_layer(f"stage2_block0_bn{name}")
        gamma, beta, mean, variance = norm.get_weights()
        return (y - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    expected = convolved(np.maximum(convolved(before, 1, 2), 0), 2, 1)
    expected[..., :16] += before[:, ::2, ::2]
    np.testing.assert_allclose(after, np.maximum(expected, 0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("builder, arguments, said", [
    (resnet50, {"version": "v3"}, '"v1", "v1.5" or "v2"'), (resnet50, {"input_shape": (31, 32, 3)}, "32x32"),
    (resnet50, {"input_shape": (32, 32)}, "height, width, channels"),
    (resnet18, {"num_classes": 0}, "at least 1"), (resnet_cifar, {"shortcut": "C"}, '"A" or "B"'),
    (resnet_cifar, {"depth": 21}, "6n [+] 2"), (resnet_cifar, {"depth": 2}, "8, 14, 20"),
    (resnet_cifar, {"depth": 32, "version": "v2"}, "9n [+] 2"),
    (resnet_cifar, {"version": "v1.5"}, "preactivation"), (plain_cifar, {"depth": 20.0}, "6n [+] 2"),
    (resnet_cifar, {"input_shape": (3, 3, 3)}, "4x4"), (resnet9, {"widths": (1, 2, 3)}, "four"),
    (resnet9, {"input_shape": (7, 8, 3)}, "8x8"),
])
def test_bad_arguments(builder, arguments, said):
    with pytest.raises(ValueError, match=said):
        builder(**arguments)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_weights_of_keras_applications_give_the_same_logits_layer_by_layer(version):
    reference = filled({"v1": keras.applications.ResNet50, "v2": keras.applications.ResNet50V2}[version](
        weights=None, input_shape=(64, 64, 3), classes=11, classifier_activation=None))
    same_layers(resnet50((64, 64, 3), 11, version=version), reference)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_weights_of_torchvision_give_the_same_logits(name):
    import torch
    import torchvision
    torch.manual_seed(0)
    reference = getattr(torchvision.models, name)(num_classes=11)
    model = getattr(models, name)((64, 64, 3), 11, version="v1.5")
    same_as_torchvision(model, reference, torch_name)


def torch_name(name):
    """stage2_block0_conv1 -> layer2.0.conv1; _shortcut_conv -> downsample.0; stem_conv -> conv1."""
    found = re.fullmatch(r"stage(\d)_block(\d+)_(\w+)", name)
    if found:
        part = {"shortcut_conv": "downsample.0", "shortcut_bn": "downsample.1"}.get(found[3], found[3])
        return f"layer{found[1]}.{found[2]}.{part}"
    return {"stem_conv": "conv1", "stem_bn": "bn1", "logits": "fc"}[name]
