"""Dense networks: counts, block arithmetic, shapes, saving, bad arguments, equal references."""
import importlib.util

import keras
import numpy as np
import pytest
from references import filled, of_torchvision, same_layers
from soundness import counts, every_weight_gets_a_gradient, images_for, saves_and_loads, without_weights

from models import densenet121, densenet161, densenet169, densenet201, densenet264, densenet_cifar

IMAGENET = {                     # total, trainable, multiply-adds at 224x224
    densenet121: (8_062_504, 7_978_856, 2_834_161_664),
    densenet161: (28_900_936, 28_681_000, 7_727_907_072),
    densenet169: (14_307_880, 14_149_480, 3_359_843_328),
    densenet201: (20_242_984, 20_013_928, 4_291_365_888),
    densenet264: (33_736_232, 33_337_704, 5_751_653_376),
}
BC = {"bottleneck": True, "compression": 0.5}
CIFAR = [                        # arguments, trainable for 10 and 100 classes, multiply-adds for 10
    ({}, 1_019_722, 1_060_132, 264_812_928),
    ({"depth": 100}, 6_979_642, 7_084_852, 1_769_516_448),
    ({"depth": 100, "growth_rate": 24}, 27_249_082, 27_457_972, 6_889_347_744),
    ({"depth": 100, **BC}, 769_162, 800_032, 287_929_692),
    ({"depth": 250, "growth_rate": 24, **BC}, 15_324_406, 15_480_556, 5_418_785_724),
    ({"depth": 190, "growth_rate": 40, **BC}, 25_624_430, 25_821_620, 9_301_945_740),
]
TINY = [{"depth": 7, "growth_rate": 4}, {"depth": 16, "growth_rate": 4, **BC},
        {"depth": 7, "growth_rate": 4, "compression": 0.7, "dropout": 0.2}]


@pytest.mark.parametrize("builder", IMAGENET)
def test_counts_to_the_digit(builder):
    assert counts(without_weights(builder)) == IMAGENET[builder]
    assert all(f"{count:,}" in builder.__doc__ for count in IMAGENET[builder])


@pytest.mark.parametrize("arguments, ten, hundred, multiply_adds", CIFAR)
def test_counts_of_table_2(arguments, ten, hundred, multiply_adds):
    model = without_weights(densenet_cifar, **arguments)
    assert counts(model)[1:] == (ten, multiply_adds)
    # One more output per class: a weight for each feature, and a bias.
    assert ten + 90 * (model.get_layer("features").output.shape[-1] + 1) == hundred
    assert all(f"{count:,}" in densenet_cifar.__doc__ for count in (ten, hundred, multiply_adds))


@pytest.mark.parametrize("arguments", TINY)
def test_every_weight_gets_a_gradient(arguments):
    model = densenet_cifar((8, 8, 3), 3, **arguments)
    every_weight_gets_a_gradient(model, images_for(model), training=True)


@pytest.mark.parametrize("arguments", TINY)
def test_saves_and_loads_in_safe_mode(arguments, tmp_path):
    model = densenet_cifar((8, 8, 3), 3, **arguments)
    saves_and_loads(model, images_for(model), tmp_path)


def test_stages_of_densenet121():
    model = without_weights(densenet121)
    shapes = [model.get_layer(f"stage{stage}").output.shape[1:] for stage in (1, 2, 3, 4)]
    assert shapes == [(56, 56, 256), (28, 28, 512), (14, 14, 1024), (7, 7, 1024)]
    assert model.get_layer("stem").output.shape == (None, 56, 56, 64)
    assert model.get_layer("features").output.shape == (None, 1024) and model.layers[-1].name == "logits"


@pytest.mark.parametrize("builder, arguments, stride", [(densenet121, {}, 32), (densenet_cifar, TINY[1], 4)])
def test_without_top_and_for_images_of_any_size(builder, arguments, stride):
    model = builder((None, None, 1), include_top=False, **arguments)
    assert model.layers[-1].name == ("stage4" if stride == 32 else "stage3")
    assert model(np.ones((1, 64, 96, 1), "float32")).shape[1:3] == (64 // stride, 96 // stride)


@pytest.mark.parametrize("arguments", TINY)
def test_mixed_precision_and_the_classifier_activation(arguments):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = densenet_cifar((8, 8, 1), 3, classifier_activation="softmax", **arguments)
    outputs = keras.ops.convert_to_numpy(model(images_for(model)))
    assert outputs.dtype == np.float32 and model.get_layer("stage1").compute_dtype == "bfloat16"
    np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)


def test_every_layer_keeps_all_maps_before_it():
    model = densenet_cifar((8, 8, 3), depth=10, growth_rate=5)
    wanted = [model.get_layer(name).output for name in ("stem", "stage1_layer0_conv1", "stage1")]
    stem, new, block = keras.Model(model.inputs[0], wanted)(images_for(model))
    np.testing.assert_array_equal(block[..., :21], np.concatenate([stem, new], axis=-1))
    assert block.shape[-1] == 16 + 2 * 5


def test_dropout_acts_in_training_only():
    model = densenet_cifar((8, 8, 3), 3, depth=7, growth_rate=4, dropout=0.5)
    dropped = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert len(dropped) == 3 + 2                       # after each convolution but the first
    images = images_for(model)
    np.testing.assert_array_equal(model(images), model(images))
    assert np.abs(np.asarray(model(images, training=True)) - model(images, training=True)).max() > 1e-3


@pytest.mark.parametrize("builder, arguments, said", [
    (densenet_cifar, {"depth": 41}, "3n [+] 4"), (densenet_cifar, {"depth": 4}, "7, 10, 13"),
    (densenet_cifar, {"depth": 13, "bottleneck": True}, "6n [+] 4"),
    (densenet_cifar, {"compression": 0.0}, "compression"), (densenet_cifar, {"dropout": 1.0}, "dropout"),
    (densenet_cifar, {"growth_rate": 0}, "growth_rate"), (densenet_cifar, {"input_shape": (3, 4, 3)}, "4x4"),
    (densenet121, {"reference": "caffe"}, '"keras" or "torchvision"'),
    (densenet121, {"input_shape": (31, 31, 3)}, "32x32"),
])
def test_bad_arguments(builder, arguments, said):
    with pytest.raises(ValueError, match=said):
        builder(**arguments)


def test_weights_of_keras_applications_give_the_same_logits_layer_by_layer():
    reference = filled(keras.applications.DenseNet121(weights=None, input_shape=(64, 64, 3), classes=11,
                                                      classifier_activation=None))
    same_layers(densenet121((64, 64, 3), 11), reference)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
def test_weights_of_torchvision_give_the_same_logits():
    import torch
    import torchvision
    torch.manual_seed(0)
    reference = torchvision.models.densenet121(num_classes=11)
    model = densenet121((64, 64, 3), 11, reference="torchvision")
    of_torchvision(model, reference, torch_name)
    images = images_for(model, 2)
    for training in (False, True):
        reference.train(training)
        with torch.no_grad():
            expected = reference(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
        np.testing.assert_allclose(model(images, training=training), expected, atol=1e-4)


def torch_name(name):
    """stage2_layer0_conv1 -> features.denseblock2.denselayer1.conv1, and so on."""
    if name in ("stem_conv", "stem_bn", "stage4_bn", "logits"):
        return {"stem_conv": "features.conv0", "stem_bn": "features.norm0", "stage4_bn": "features.norm5",
                "logits": "classifier"}[name]
    parts = name.replace("bn", "norm").split("_")
    if name.startswith("transition"):
        return ".".join(["features", *parts])
    return f"features.denseblock{parts[0][5:]}.denselayer{int(parts[1][5:]) + 1}.{parts[2]}"
