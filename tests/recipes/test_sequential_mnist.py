"""sequential_mnist: it learns, predict takes an image, the opinions end in the network's answer."""
import dataclasses

import numpy as np
import pytest
from PIL import Image

from pipelines import digits
from recipes.__main__ import main as command
from recipes.sequences.sequential_mnist import NAMED, SMOKE, compiled_model, network, opinions
from training.run import load_network


def test_smoke_learns_and_reads_an_image(smoke_run, drawn, tmp_path, capsys):
    folder, metrics = smoke_run("sequential_mnist")
    assert metrics["val_accuracy"] > 0.85 and metrics["test_accuracy"] > 0.7                # chance: .1
    drawn(folder, *({path.stem for path in (folder / "figures").glob("*.png")} | {"opinions"}))
    data = digits.load(10, size=28)
    files = [tmp_path / f"{index}.png" for index in range(10)]
    for file, image in zip(files, data.test.inputs, strict=False):
        Image.fromarray(image[..., 0]).save(file)
    status = command(["predict", str(folder), *map(str, files)])
    out = capsys.readouterr().out.splitlines()[-10:]
    answers = load_network(folder / "model.keras").predict(data.test[:10].arrays()[0], verbose=0).argmax(-1)
    assert status == 0 and [int(line.split()[1]) for line in out] == list(answers)
    assert np.mean(answers == data.test.labels[:10]) > 0.5


@pytest.mark.parametrize("order", ["pixels", "permuted", "rows"])
def test_opinions_end_in_the_answer(order):
    data = digits.load(4)
    config = dataclasses.replace(SMOKE, order=order, units=(5, 6))
    model = network(config, data.input_shape, data.num_classes)
    images = data.validation[:3].arrays()[0]
    found = opinions(model, images)
    assert found.shape == (3, 8 if order == "rows" else 64, 10)
    logits = np.asarray(model(images))
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(found[:, -1], expected, atol=1e-5)


def test_what_the_network_reads():
    """By pixel it answers to one that is moved; in a permuted order it is another network."""
    data = digits.load(4)
    images = data.validation[:2].arrays()[0]
    config = dataclasses.replace(NAMED["pixels"], units=(6,), chrono=False)
    by_pixel, permuted = (network(dataclasses.replace(config, order=order), (8, 8, 1), 10)
                          for order in ("pixels", "permuted"))
    permuted.set_weights(by_pixel.get_weights())
    order = np.random.RandomState(0).permutation(64)
    shuffled = images.reshape(2, 64, 1)[:, order].reshape(2, 8, 8, 1)
    np.testing.assert_allclose(permuted(images), by_pixel(shuffled), atol=1e-6)
    assert np.abs(np.asarray(permuted(images) - by_pixel(images))).max() > 1e-3


def test_published_counts_of_weights():
    for name, count in (("pixels-irnn", 11_210), ("permuted-irnn", 11_210)):
        assert network(NAMED[name], (28, 28, 1), 10).count_params() == count


def test_one_cycle_of_the_rate():
    data = digits.load(32)
    rate = compiled_model(SMOKE, data).optimizer._learning_rate
    values = [float(rate(update)) for update in range(SMOKE.epochs * data.train.batches_per_epoch + 1)]
    assert max(values) == pytest.approx(SMOKE.learning_rate) and values[-1] == pytest.approx(0, abs=1e-6)
    assert values.index(max(values)) == round(0.1 * (len(values) - 1))
