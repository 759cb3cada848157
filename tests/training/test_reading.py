"""Training from files: what an interrupted run sees again, several devices, and a file that breaks midway."""
import keras
import numpy as np
import pytest
from interrupting import InterruptAfter, Interrupted
from PIL import Image

from pipelines import image_folder
from pipelines.mixing import Mixup
from training import Run
from training.objectives import Accuracy, CrossEntropy


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for number, name in enumerate(("red", "green", "blue")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(10):
            pixels = generator.integers(0, 100, (40, 50, 3), np.uint8)
            pixels[..., number] += 100
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{index}.png")
    return tmp_path / "images"


def network():
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3, 2), keras.layers.ReLU(),
                              keras.layers.Dropout(0.2), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), CrossEntropy(), metrics=[Accuracy()])
    return model


def load(folder, **options):
    return image_folder.load(folder, 6, size=16, seed=4, **options)


def trained(folder, data, *, strategy="none", build=network, **options):
    run = Run(folder, seed=7, strategy=strategy, resume=(folder / "config.json").exists())
    with run.scope():
        model = build()
    options = {"updates": 20, "validate_every": 8, "checkpoint_every": 3, "verbose": 0, **options}
    return model, run.fit(model, data.train, data.validation, **options), run


def assert_same(model, other, atol=0.0):
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=atol, rtol=0)


def test_it_learns_and_equals_updates_one_by_one(tmp_path, folder):
    data = load(folder)
    model, history, _ = trained(tmp_path / "run", data, updates=60, validate_every=30)
    assert history[-1]["val_accuracy"] == 1.0
    few, _, _ = trained(tmp_path / "few", data)
    Run(tmp_path / "plain", seed=7, strategy="none")
    plain = network()
    for i in range(20):
        plain.train_on_batch(*data.train.batch(i))
    assert_same(few, plain, atol=1e-5)


@pytest.mark.parametrize("calls", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path, folder, calls):
    data = load(folder, mix=Mixup(3))
    options = {"steps_per_execution": 2, "keep_best": "val_accuracy"}
    whole, history, _ = trained(tmp_path / "whole", data, **options)
    with pytest.raises(Interrupted):
        trained(tmp_path / "cut", data, callbacks=[InterruptAfter(calls)], **options)
    again, resumed, _ = trained(tmp_path / "cut", data, **options)
    assert_same(whole, again)
    assert resumed == history


@pytest.mark.slow
def test_two_devices_give_what_one_gives(tmp_path, folder):
    def undropped():
        model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3, 2),
                                  keras.layers.Flatten(), keras.layers.Dense(3)])
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), CrossEntropy(), metrics=[Accuracy()])
        return model
    one, first, _ = trained(tmp_path / "one", load(folder), build=undropped)
    two, second, _ = trained(tmp_path / "two", load(folder), build=undropped, strategy="mirrored")
    assert_same(one, two, atol=1e-5)
    for a, b in zip(first, second, strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def break_body(path):
    """Header and end of the PNG stay as they are."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle:middle + 60] = bytes(60)
    path.write_bytes(data)


def test_a_file_that_breaks_in_the_middle_of_an_epoch_is_named_and_nothing_is_lost(tmp_path, folder):
    data = load(folder)
    whole, history, _ = trained(tmp_path / "whole", data)
    seen = np.concatenate([(data.train._order(np.arange(6 * i, 6 * i + 6))) for i in range(2)])
    path = folder / data.training.paths[next(iter(set(range(len(data.training))) - set(seen.tolist())))]
    kept = path.read_bytes()
    break_body(path)
    name = f"{path.parent.name}/{path.name}"
    with pytest.raises(ValueError, match=rf"1 of \d+ image files cannot be read: .*{name} is damaged .*"
                                         r"saved at update [1-9]\d* of 20.*resume"):
        trained(tmp_path / "run", load(folder), checkpoint_every="1h")
    path.write_bytes(kept)
    again, resumed, _ = trained(tmp_path / "run", load(folder), checkpoint_every="1h")
    assert_same(whole, again)
    assert resumed == history


@pytest.mark.slow
def test_a_file_that_breaks_in_the_validation_or_the_test_is_named(tmp_path, folder):
    data = load(folder)
    whole, history, _ = trained(tmp_path / "whole", data)
    path = folder / data.validation.paths[1]
    kept = path.read_bytes()
    break_body(path)
    with pytest.raises(ValueError, match=rf"{path.name} is damaged.*saved at update 8 of 20"):
        trained(tmp_path / "run", load(folder), checkpoint_every="1h")
    path.write_bytes(kept)
    again, resumed, run = trained(tmp_path / "run", load(folder), checkpoint_every="1h")
    assert_same(whole, again)
    assert resumed == history
    path = folder / data.test.paths[0]
    path.unlink()
    with pytest.raises(ValueError, match=rf"{path.name} does not exist .*Put readable images in their place"):
        run.evaluate(again, data.test)


def test_evaluation_keeps_the_logits_and_the_pictures_that_it_got_wrong(tmp_path, folder):
    data = load(folder)
    model, _, run = trained(tmp_path / "run", data, updates=1, validate_every=1)
    model.set_weights([0 * weight for weight in model.get_weights()])              # all is class 0
    metrics = run.evaluate(model, data.test)
    stored = np.load(tmp_path / "run" / "predictions.npz")
    assert metrics["test_accuracy"] == pytest.approx(np.mean(data.test.labels == 0))
    np.testing.assert_array_equal(stored["labels"], data.test.labels)
    wrong = stored["mistakes"]
    assert len(wrong) == np.sum(data.test.labels != 0)
    np.testing.assert_array_equal(stored["mistake_inputs"], data.test.inputs[wrong])
