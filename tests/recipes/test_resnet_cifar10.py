"""resnet_cifar10: the smoke run learns, the schedules are what they say, the series is drawn."""
import dataclasses

import keras
import numpy as np
import pytest

from pipelines import cifar
from recipes.images.resnet_cifar10 import (
    NAMED,
    PAPER,
    PUBLISHED,
    SMOKE,
    Config,
    compiled_model,
    draw_degradation,
    learning_rate,
    main,
)
from training import Run


def test_the_smoke_network_learns(tmp_path):
    metrics = main(SMOKE, Run(tmp_path / "run", recipe="resnet_cifar10", config=SMOKE))
    assert metrics["val_accuracy"] > 0.7 and metrics["test_accuracy"] > 0.6           # chance: .1
    assert (tmp_path / "run" / "model.keras").exists()


def test_without_validation_all_images_train(tmp_path):
    config = dataclasses.replace(SMOKE, validation=0, updates=2, warm_up=1)
    assert set(main(config, Run(tmp_path / "run", config=config))) == {"test_accuracy", "test_loss"}
    assert PAPER.validation == 0


def test_curves_against_depth_need_validation(tmp_path):
    config = dataclasses.replace(SMOKE, compared=(8,), validation=0)
    with pytest.raises(ValueError, match=r"validation images\. Received: validation=0"):
        main(config, Run(tmp_path / "run", config=config))


def rates(config, *updates):
    schedule = learning_rate(config)
    return [float(schedule(update)) for update in updates]


def test_the_papers_schedule():
    assert rates(PAPER, 0, 31_999, 32_001, 47_999, 48_001, 63_999) == pytest.approx(
        [.1, .1, .01, .01, .001, .001])
    assert rates(NAMED["paper-110"], 399, 401, 32_001) == pytest.approx([.01, .1, .01])
    assert (PAPER.batch_size, PAPER.momentum, PAPER.weight_decay, PAPER.nesterov) == (128, .9, 1e-4, False)


def test_the_cycle_rises_and_falls_to_zero():
    config = Config(warm_up=100, updates=1_000, learning_rate=.2)
    first, early, top, middle, last = rates(config, 0, 50, 100, 550, 1_000)
    assert first == pytest.approx(.2 / 25) and first < early < top == pytest.approx(.2)
    assert middle == pytest.approx(.1) and last == pytest.approx(0, abs=1e-6)
    assert rates(dataclasses.replace(config, warm_up=0), 0) == pytest.approx([.2])


def test_a_warm_up_as_long_as_the_training_is_refused():
    with pytest.raises(ValueError, match="warm_up must be a number of updates, less than all"):
        learning_rate(Config(updates=100, warm_up=100))


@pytest.mark.parametrize("plain, shortcut, trainable", [(False, "A", 269_722), (False, "B", 272_474),
                                                        (True, "A", 269_722)])
def test_the_network_is_the_papers(plain, shortcut, trainable):
    data = cifar.load("digits", 32)
    model = compiled_model(Config(plain=plain, shortcut=shortcut), data)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == trainable
    sums = [layer for layer in model.layers if layer.name.endswith("_add")]
    assert len(sums) == (0 if plain else 9)


def test_decay_is_that_of_the_gradient_after_momentum():
    # With no gradient but the decay's, momentum takes 1 / (1 - .9) steps of rate x decay.
    config = dataclasses.replace(SMOKE, optimizer="sgd", weight_decay=0.01)
    model = compiled_model(config, cifar.load("digits", 32))
    before = [np.asarray(variable) for variable in model.trainable_variables]
    rate = 0.1 / 25
    model.optimizer.apply([variable * 0 for variable in model.trainable_variables], model.trainable_variables)
    for old, variable in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_allclose(variable, old * (1 - rate * 0.01 * 10), rtol=1e-6)


def test_the_saved_network_takes_images_of_full_size(tmp_path):
    config = dataclasses.replace(SMOKE, updates=4, warm_up=1)
    main(config, Run(tmp_path / "run", config=config))
    assert keras.models.load_model(tmp_path / "run" / "model.keras").input_shape == (None, 32, 32, 3)


@pytest.mark.parametrize(("change", "message"), [
    ({"small_part": 4000}, r"small_part must be in \[0, 1\] .* Received: 4000 and 24"),
    ({"small_side": 2}, "small_side at least 4 pixels. Received: 0.6 and 2"),
    ({"kernel_rate": -1.0}, "positive numbers. Received: 0.1 and -1"),
    ({"learning_rate": 0.0}, "positive numbers. Received: 0.0 and 0.01"),
    ({"momentum": 1.0}, r"momentum must be in \[0, 1\) and weight_decay .* Received: 1.0 and 0.0005"),
    ({"weight_decay": -1.0}, "Received: 0.9 and -1.0"),
    ({"parts": 3}, "multiple of the number of parts, 3. Received: 32")])
def test_numbers_that_make_no_sense_are_refused(tmp_path, change, message):
    config = dataclasses.replace(SMOKE, **change)
    with pytest.raises(ValueError, match=message):
        main(config, Run(tmp_path / "run", config=config))


def test_configurations_have_the_depths_of_their_names():
    assert all(name == f"paper-{config.depth}" for name, config in NAMED.items() if "paper-" in name)
    assert set(PUBLISHED) - {""} == {name for name in NAMED if name.startswith("paper")}
    assert NAMED["paper"].depth == Config().depth == 20


@pytest.mark.slow
def test_degradation_trains_and_draws_plain_and_residual_networks(tmp_path, drawn):
    config = dataclasses.replace(SMOKE, compared=(8,), updates=4, warm_up=1)
    run = Run(tmp_path / "run", recipe="resnet_cifar10", config=config)
    metrics = main(config, run)
    drawn(tmp_path / "run", "degradation")
    assert set(metrics) == {"val_accuracy", "test_accuracy"} | {
        f"{kind}8_{split}_accuracy" for kind in ("plain", "residual") for split in ("val", "test")}
    assert metrics["test_accuracy"] == metrics["residual8_test_accuracy"]
    written = [path.stat().st_mtime_ns for path in sorted(run.folder.glob("*/model.keras"))]
    again = main(config, Run(tmp_path / "run", recipe="resnet_cifar10", config=config, resume=True))
    assert again == pytest.approx(metrics)
    assert written == [path.stat().st_mtime_ns for path in sorted(run.folder.glob("*/model.keras"))]
    assert len(written) == len(list(run.folder.glob("*/metrics.json"))) == 2


def test_the_curves_are_drawn(tmp_path, drawn):
    run = Run(tmp_path / "run")
    draw_degradation(run, {
        (kind, depth): [{"updates": 351 * epoch, "accuracy": 1 - depth ** worse / 100 / epoch,
                         "val_accuracy": 1 - depth ** worse / 90 / epoch} for epoch in (1, 2, 3)]
        for kind, worse in (("plain", 1), ("residual", .8)) for depth in (20, 32, 44, 56)})
    drawn(tmp_path / "run", "degradation")
