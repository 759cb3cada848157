import dataclasses

import pytest

from models import commands_convnet
from pipelines import speech
from recipes.sequences.speech_commands import NAMED, SMOKE, compiled_model, main
from training import Run


@pytest.fixture(scope="module")
def data():
    return speech.commands("formants", 8)


def test_smoke_learns(tmp_path):
    metrics = main(SMOKE, Run(tmp_path / "run", config=SMOKE))
    assert metrics["val_accuracy"] > 0.6 and metrics["test_accuracy"] > 0.6         # chance: .08


def test_conv_is_the_published_network(data):
    model = compiled_model(NAMED["conv"], data)
    # 100 frames in place of 98, and so 50 in place of 49 behind the pooling.
    assert model.count_params() == commands_convnet().count_params() + 20 * 64 * 12
    assert [layer.name for layer in model.layers[1:]] == [
        "log_mel", *(layer.name for layer in commands_convnet().layers[1:])]


def test_the_small_network_is_smaller(data):
    small, conv = (compiled_model(config, data).count_params() for config in NAMED.values())
    assert small < conv / 5
    wide = compiled_model(dataclasses.replace(NAMED["small"], filters=(64, 128, 256)), data)
    assert wide.count_params() > 2 * small
