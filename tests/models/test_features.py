"""Outputs of the stages by name."""
import keras
import numpy as np
import pytest
from soundness import images_for

import models
from models import features

BUILT = {
    "resnet18": (lambda: models.resnet18((32, 32, 3), 5), "stem stage1 stage2 stage3 stage4 features"),
    "resnet50 v2": (lambda: models.resnet50((32, 32, 3), 5, version="v2"),
                    "stem stage1 stage2 stage3 stage4 features"),
    "densenet": (lambda: models.densenet_cifar((8, 8, 3), depth=7, growth_rate=3),
                 "stem stage1 stage2 stage3 features"),
    "vgg11": (lambda: models.vgg11((32, 32, 3), 5, hidden=(6,)),
              "stage1 stage2 stage3 stage4 stage5 features"),
    "alexnet": (lambda: models.alexnet((19, 19, 3), 5, stem_kernel=5, stem_stride=1, hidden=(7, 6)),
                "stage1 stage2 stage3 features"),
    "googlenet": (lambda: models.googlenet((31, 31, 3), 5), "stem stage3 stage4 stage5 features"),
    "resnet9": (lambda: models.resnet9((8, 8, 3), widths=(2, 3, 4, 5)), "stem stage1 stage2 stage3 features"),
    "airbench94": (lambda: models.airbench94((9, 9, 3), widths=(3, 4, 5)),
                   "stem stage1 stage2 stage3 features"),
    "nielsen": (lambda: models.nielsen_convnet((16, 16, 1)), "stage1 stage2 features")}


@pytest.mark.parametrize("name", BUILT)
def test_stages_by_name(name):
    build, names = BUILT[name]
    model = build()
    stages = features(model)
    images = images_for(model, 2)
    outputs = stages(images)
    assert list(outputs) == names.split() and all(len(output) == 2 for output in outputs.values())
    sides = [output.shape[1] for output in outputs.values() if len(output.shape) == 4]
    assert sides == sorted(sides, reverse=True)
    # What the layers after the features make of them are the model's own logits.
    x = outputs["features"]
    for layer in model.layers[[layer.name for layer in model.layers].index("features") + 1:]:
        x = layer(x)
    np.testing.assert_allclose(x, model(images), rtol=1e-5, atol=1e-5)
    assert stages.weights[0] is model.weights[0]


def test_without_the_top_and_for_any_size():
    stages = features(models.resnet18((None, None, 3), include_top=False))
    outputs = stages(np.zeros((1, 64, 32, 3), np.float32))
    assert {name: output.shape[1:3] for name, output in outputs.items()} == {
        "stem": (16, 8), "stage1": (16, 8), "stage2": (8, 4), "stage3": (4, 2), "stage4": (2, 1)}


def test_names_of_other_makers():
    model = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=3)
    outputs = features(model, ["block_3_expand_relu", "out_relu"])(images_for(model, 2))
    assert list(outputs) == ["block_3_expand_relu", "out_relu"]
    assert outputs["out_relu"].shape == (2, 1, 1, 1280)
    with pytest.raises(ValueError, match="has no layers named stem, stage1.*Pass names"):
        features(model)
    with pytest.raises(ValueError, match="has no layer named 'stage9'"):
        features(model, ["out_relu", "stage9"])
    for names in ([], "out_relu"):
        with pytest.raises(ValueError, match="a list of at least one"):
            features(model, names)


def test_a_model_that_is_not_built():
    with pytest.raises(ValueError, match="is not built"):
        features(keras.Sequential([keras.layers.Dense(3, name="features")]))


def test_the_first_of_several_calls():
    x = keras.Input((3,))
    twice = keras.layers.Dense(3, name="features")
    outputs = features(keras.Model(x, twice(twice(x))))(np.ones((1, 3), np.float32))
    np.testing.assert_allclose(outputs["features"], twice(np.ones((1, 3), np.float32)), rtol=1e-6)
