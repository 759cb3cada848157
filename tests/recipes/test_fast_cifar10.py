"""fast_cifar10: it learns, its optimizer is the authors', its views are what they say, exact resume."""
import dataclasses
import json

import keras
import numpy as np
import pytest

from pipelines import cifar
from recipes.images.fast_cifar10 import (
    NAMED,
    PUBLISHED,
    SGD,
    SMOKE,
    VIEWS,
    LookaheadSGD,
    MuonSGD,
    Triangle,
    augmentation,
    compiled_model,
    draw_tricks,
    main,
    mean_logits,
    updates_of,
)
from training import Run

TINY = dataclasses.replace(SGD, data="digits", widths=(8, 8, 8), epochs=0.6, batch_size=32, lookahead=3,
                           learning_rate=2.0)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fast") / "run"
    return folder, main(SMOKE, Run(folder, recipe="fast_cifar10", config=SMOKE, seed=0))


@pytest.fixture(scope="module")
def data():
    return cifar.load("digits", 32, augment=augmentation(SMOKE))


def test_the_smoke_run_learns_and_saves_what_predicts(smoke, data):
    folder, metrics = smoke
    assert metrics["test_accuracy"] > 0.5 and metrics["single_view_accuracy"] > 0.5       # chance: .1
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    kept = np.load(folder / "predictions.npz")
    logits = mean_logits(model, data.test, 6)
    np.testing.assert_allclose(logits, kept["logits"], atol=1e-5)
    assert metrics["test_accuracy"] == pytest.approx(np.mean(logits.argmax(axis=1) == data.test.labels))


def test_the_optimizer_is_the_authors_by_hand():
    """Their rules for torch.optim.SGD and their Lookahead, written out, over twelve updates."""
    rate, momentum, decay, scale, every, updates = 0.1, 0.85, 0.02, 64.0, 2, 12

    class Holder(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(3,), initializer="ones", name="kernel")
            self.beta = self.add_weight(shape=(3,), initializer="ones", name="beta")
            self.statistic = self.add_weight(shape=(3,), initializer="zeros", trainable=False, name="mean")
    layer = Holder()
    layer.build(None)
    optimizer = LookaheadSGD(rate, momentum, decay, {layer.beta.path: scale}, every, updates,
                             [layer.statistic])
    optimizer.build(layer.trainable_variables)
    generator = np.random.default_rng(0)
    weights = {name: np.ones(3) for name in ("kernel", "beta")} | {"statistic": np.zeros(3)}
    speeds, slow = {"kernel": np.zeros(3), "beta": np.zeros(3)}, None
    for update in range(1, updates + 1):
        gradients = {name: generator.normal(size=3) / 100 for name in speeds}
        layer.statistic.assign(np.full(3, update, np.float32))
        weights["statistic"] = np.full(3, float(update))
        optimizer.apply([gradients[name].astype(np.float32) for name in speeds], layer.trainable_variables)
        for name, factor in (("kernel", 1.0), ("beta", scale)):
            pulled = gradients[name] + decay / factor * weights[name]
            speeds[name] = momentum * speeds[name] + pulled
            weights[name] = weights[name] - factor * rate * (pulled + momentum * speeds[name])
        if update == 4:                                       # .3 of 12 updates, in whole steps of two
            slow = dict(weights)
        elif update > 4 and update % every == 0:
            kept = 1.0 if update == updates else 0.95 ** 5 * (update / updates) ** 3
            slow = {name: kept * slow[name] + (1 - kept) * weights[name] for name in weights}
            weights = dict(slow)
        for name, expected in weights.items():
            np.testing.assert_allclose(getattr(layer, name), expected, rtol=1e-5, err_msg=f"{name} {update}")


def test_muons_optimizer_is_the_authors_by_hand():
    """Their Muon, with three iterations in NumPy, and their SGD, whose rate falls to 0 in 2 of 6 updates."""
    updates, end, top, part, decay = 6, 2, 0.1, 0.3, 0.02
    generator = np.random.default_rng(0)
    kernel = keras.Variable(generator.normal(size=(3, 3, 4, 8)).astype("float32"), name="kernel")
    bias = keras.Variable(np.ones(5, "float32"), name="bias")
    rate = keras.optimizers.schedules.PolynomialDecay(top, updates, 0.0)
    optimizer = MuonSGD(rate, 0.85, decay, {bias.path: 36.0}, 0, updates, early={bias.path: end},
                        relative_rate=part, kernel_momentum=0.6)
    optimizer.build([kernel, bias])
    weights, speed = np.asarray(kernel, np.float64).reshape(36, 8).T, np.zeros((8, 36))
    offsets, velocity = np.ones(5), np.zeros(5)
    for update in range(updates):
        gradients = generator.normal(size=(3, 3, 4, 8)), generator.normal(size=5)
        optimizer.apply([value.astype("float32") for value in gradients], [kernel, bias])
        flat = gradients[0].reshape(36, 8).T                  # theirs has a row for each output
        speed = 0.6 * speed + flat
        step = flat + 0.6 * speed
        step = step / np.linalg.norm(step)
        for _ in range(3):
            square = step @ step.T
            step = 3.4445 * step + (-4.7750 * square + 2.0315 * square @ square) @ step
        fallen = top * (1 - update / updates)
        weights = weights * np.sqrt(8) / np.linalg.norm(weights) - part * fallen * step
        np.testing.assert_allclose(np.asarray(kernel).reshape(36, 8), weights.T, rtol=1e-3, atol=1e-5)
        pulled = gradients[1] + decay / 36 * offsets
        velocity = 0.85 * velocity + pulled
        offsets = offsets - 36 * top * max(0, 1 - update / end) * (pulled + 0.85 * velocity)
        np.testing.assert_allclose(bias, offsets, rtol=1e-4)


def test_muons_optimizer_is_read_back_from_its_configuration():
    optimizer = MuonSGD(0.2, rates={"a": 3.0}, early={"b": 4}, relative_rate=0.3, kernel_momentum=0.7)
    again = MuonSGD.from_config(json.loads(json.dumps(optimizer.get_config())))
    assert again.get_config() == optimizer.get_config()


def test_the_published_rates_per_example(data):
    """Of airbench94_muon: .24 for kernels, .053 for biases, .67 for the head, decay 2e-6; logits over 256."""
    model = compiled_model(dataclasses.replace(NAMED["muon"], data="digits"), data)
    optimizer, head = model.optimizer, model.get_layer("logits").kernel
    rate = float(optimizer.learning_rate)
    assert optimizer.relative_rate * rate == pytest.approx(0.24)
    offsets = {optimizer.rates[layer.beta.path] for layer in model.layers if hasattr(layer, "beta")}
    offsets.add(optimizer.rates[model.get_layer("whitening_bias").bias.path])
    assert [rate * offset / 2000 for offset in offsets] == pytest.approx([0.053], rel=2e-3)
    assert rate * optimizer.rates[head.path] / 2000 == pytest.approx(0.67, rel=2e-3)
    assert rate * optimizer.decay / 2000 == pytest.approx(2e-6, rel=2e-3)
    assert float(keras.ops.std(head)) == pytest.approx(1) and model.get_layer("features").scale == 1 / 256
    assert float(optimizer.early[model.get_layer("whitening_bias").bias.path]) == pytest.approx(
        3 / 8 * updates_of(NAMED["muon"], data), abs=1)


def test_without_slow_weights_there_are_none():
    weight = keras.Variable(np.ones(2, np.float32))
    optimizer = LookaheadSGD(0.5, momentum=0.0)
    optimizer.build([weight])
    optimizer.apply([np.ones(2, np.float32)], [weight])
    np.testing.assert_allclose(weight, 0.5)
    assert not [variable for variable in optimizer.variables if "slow" in variable.path]


def test_the_rate_rises_and_falls_in_lines():
    rates = np.array([float(Triangle(10.0, 100)(step)) for step in (0, 23, 61.5, 100)])
    np.testing.assert_allclose(rates, [2.0, 10.0, 5.35, 0.7], rtol=1e-5)


def test_views_are_mirrored_and_moved_by_a_pixel(data):
    model = compiled_model(SMOKE, data)
    some = data.test[:20]
    images = some.arrays()[0]
    margin = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)], "reflect")
    places = {"middle": images, "up": margin[:, :32, :32], "down": margin[:, 2:, 2:]}
    logits = {name: (model.predict(values, verbose=0), model.predict(values[:, :, ::-1], verbose=0))
              for name, values in places.items()}
    expected = {1: logits["middle"][0], 2: np.mean(logits["middle"], axis=0)}
    expected[6] = 0.5 * expected[2] + 0.25 * np.mean(logits["up"], axis=0) + 0.25 * np.mean(
        logits["down"], axis=0)
    for views, values in expected.items():
        np.testing.assert_allclose(mean_logits(model, some, views), values, atol=1e-5)
        assert sum(weight for *_, weight in VIEWS[views]) == 1
    assert np.abs(expected[6] - expected[1]).max() > 1e-4


def test_the_whitening_layer_is_fixed_and_whitens(data):
    model = compiled_model(SMOKE, data)
    names = [variable.path for variable in model.trainable_variables]
    assert [name for name in names if "whitening" in name] == ["whitening_bias/bias"]
    frozen = compiled_model(dataclasses.replace(SMOKE, bias_epochs=0.0), data)
    assert not [each.path for each in frozen.trainable_variables if "whitening" in each.path]
    maps = model.get_layer("whitening")(data.training[:5000].arrays()[0]).numpy().reshape(-1, 24)[:, :12]
    covariance = maps.T @ maps / len(maps)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.01 * covariance.max()
    trained = compiled_model(dataclasses.replace(SMOKE, whitening=False), data)
    assert len(trained.trainable_variables) == len(names) + 1


@pytest.mark.slow
@pytest.mark.parametrize("base", [TINY, dataclasses.replace(SMOKE, widths=(8, 8, 8))], ids=["sgd", "muon"])
def test_the_whitening_layers_biases_are_trained_for_the_first_epochs_only(base):
    config = dataclasses.replace(base, epochs=2.0, bias_epochs=1.0, lookahead=0)
    data = cifar.load("digits", config.batch_size, augment=augmentation(config), validation=0)
    model = compiled_model(config, data)
    bias, others = model.get_layer("whitening_bias").bias, model.get_layer("stage1_conv1").kernel
    seen = []
    for i in range(updates_of(config, data)):
        model.train_on_batch(*data.train.batch(i))
        seen.append((bias.numpy(), others.numpy()))
    last = round(len(seen) / 2)
    for one, other in zip(seen[:last - 1], seen[1:last], strict=True):
        assert np.abs(one[0] - other[0]).max() > 0
    for one, other in zip(seen[last - 1:-1], seen[last:], strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert np.abs(one[1] - other[1]).max() > 0


def test_without_dirac_no_map_is_a_copy(data):
    model = compiled_model(dataclasses.replace(SMOKE, dirac=False), data)
    kernel = model.get_layer("stage2_conv1").kernel.numpy()
    assert np.abs(kernel).max() <= 1 / np.sqrt(9 * kernel.shape[2]) + 1e-6
    np.testing.assert_array_equal(
        compiled_model(SMOKE, data).get_layer("stage2_conv1").kernel[1, 1, 0, :2], [1, 0])


def test_each_ablation_leaves_out_what_it_names():
    short = dataclasses.asdict(NAMED["short"])
    fields = {"without-whitening": "whitening", "without-dirac": "dirac", "without-alternation": "flip",
              "without-translation": "translate", "without-smoothing": "label_smoothing",
              "without-bias-rate": "bias_rate", "without-lookahead": "lookahead",
              "without-triangle": "schedule"}
    assert set(fields) == {name for name in NAMED if name.startswith("without")}
    for name, field in fields.items():
        values = dataclasses.asdict(NAMED[name])
        assert [key for key in values if values[key] != short[key]] == [field]
    assert NAMED["paper"].lookahead * NAMED["paper"].batch_size == 5 * 1024
    assert set(PUBLISHED) <= set(NAMED) and NAMED["fast"].validation == 0 < NAMED["short"].validation


@pytest.mark.slow
def test_resumed_between_two_steps_of_the_slow_weights_ends_as_if_it_had_not_been_stopped(tmp_path):
    main(TINY, Run(tmp_path / "whole", config=TINY))

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) >= 20:
                raise RuntimeError("stopped")
    run = Run(tmp_path / "cut", config=TINY, checkpoint_every="10")
    part = cifar.load("digits", 32, augment=augmentation(TINY), validation=0)
    model = compiled_model(TINY, part)
    with pytest.raises(RuntimeError, match="stopped"):
        run.fit(model, part.train, updates=27, callbacks=[Stop()])
    assert [path for path in (tmp_path / "cut" / "checkpoints").glob("0*10-*.npz")]
    main(TINY, Run(tmp_path / "cut", config=TINY, resume=True))
    one, other = (keras.saving.load_model(tmp_path / name / "model.keras", compile=False).get_weights()
                  for name in ("whole", "cut"))
    for weight, again in zip(one, other, strict=True):
        np.testing.assert_array_equal(weight, again)


def test_the_drawing_of_the_tricks(tmp_path, drawn):
    results = {name: {"val_accuracy": 0.9 + index / 200, "test_accuracy": 0.91,
                      "val_single_view_accuracy": 0.89, "single_view_accuracy": 0.9}
               for index, name in enumerate(NAMED)}
    for name, some in (("all", results), ("part", {"without-dirac": results["without-dirac"]})):
        draw_tricks(Run(tmp_path / name), some)
        drawn(tmp_path / name, "tricks")


def test_refuses_a_number_of_views_that_there_is_not(tmp_path):
    with pytest.raises(ValueError, match="views must be one of 1, 2, 6. Received: 3"):
        main(dataclasses.replace(SMOKE, views=3), Run(tmp_path, config=SMOKE))


@pytest.mark.parametrize(("changes", "message"), [
    ({"learning_rate": 0.0}, "rates must be positive numbers .*learning_rate=0.0"),
    ({"bias_rate": 0.0}, "rates must be positive numbers .*bias_rate=0.0"),
    ({"kernel_rate": -1.0}, "rates must be positive numbers .*kernel_rate=-1.0"),
    ({"momentum": 1.0}, r"momentum in \[0, 1\).*momentum=1.0"),
    ({"widths": (8, 8, 0)}, "widths must be at least 1")])
def test_refuses_rates_and_widths_that_divide_by_zero(data, changes, message):
    with pytest.raises(ValueError, match=message):
        compiled_model(dataclasses.replace(SMOKE, **changes), data)
