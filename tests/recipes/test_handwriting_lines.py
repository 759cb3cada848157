import dataclasses

import matplotlib.image
import pytest

from pipelines import handwriting
from recipes.sequences.handwriting_lines import NAMED, SMOKE, compiled_model, main, text, windows
from training import Run


@pytest.mark.parametrize("changes, bound", [
    # Always the same digit, at the right places: .9; nothing: 1
    pytest.param({}, 0.88, marks=pytest.mark.slow),
    ({"network": "blstm", "cells": (48,), "columns": 4}, 0.6),
])
def test_smoke_learns(tmp_path, changes, bound):
    config = dataclasses.replace(SMOKE, **changes)
    run = Run(tmp_path / "run", config=config)
    metrics = main(config, run)
    assert max(metrics["val_label_error_rate"], metrics["test_label_error_rate"]) < bound
    picture = matplotlib.image.imread(run.figure("lines"))[..., :3]
    assert picture.shape[0] > 400 and picture.std() > 0.1


def test_the_networks_read_a_line_in_forty_steps():
    data = handwriting.load("digits", 8, count=16)
    for config in NAMED.values():
        assert compiled_model(config, data).output_shape[1:] == (40, 11)


def test_a_step_is_whole_blocks():
    with pytest.raises(ValueError, match="columns of a step must be a multiple of those of a block"):
        windows(dataclasses.replace(NAMED["mdlstm"], block=(4, 3)))
    assert windows(NAMED["mdlstm"]) == ((3, 2), (3, 1))


def test_labels_are_written_as_characters():
    assert text([4, 8, 2, 0, 0], tuple("0123456789")) == "371" and text([0, 0], ("a",)) == ""
