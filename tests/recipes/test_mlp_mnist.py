"""mlp_mnist: the book's costs and update rule in NumPy, its baselines, its table of figures."""
import ast
import dataclasses
import inspect

import keras
import numpy as np
import pytest

from pipelines import digits
from recipes.images import mlp_mnist
from recipes.images.mlp_mnist import FIGURES, PUBLISHED, SIZES, SMOKE, Config
from training import Run


def test_the_smoke_run_learns(tmp_path):
    run = Run(tmp_path / "run", config=SMOKE)
    metrics = mlp_mnist.main(SMOKE, run)
    assert metrics["val_accuracy"] > 0.85                        # chance: 0.1
    assert metrics["test_accuracy"] > 0.75
    assert metrics["figure"] == metrics["val_accuracy"]
    tested = dataclasses.replace(SMOKE, epochs=1, compared_on="test", epoch="last")
    metrics = mlp_mnist.main(tested, Run(tmp_path / "tested", config=tested))
    assert metrics["figure"] == metrics["test_accuracy"] and metrics["best_updates"] == 125


def test_the_best_of_several_starts_counts(tmp_path):
    config = dataclasses.replace(SMOKE, epochs=2, starts=2)
    run = Run(tmp_path / "run", config=config, seed=4)
    metrics = mlp_mnist.main(config, run)
    single = dataclasses.replace(config, starts=1)
    alone = [mlp_mnist.main(single, Run(tmp_path / str(seed), config=single, seed=seed)) for seed in (8, 9)]
    found = [metrics["start1_val_accuracy"], metrics["start2_val_accuracy"]]
    assert found == [one["val_accuracy"] for one in alone] and found[0] != found[1]
    assert metrics["val_accuracy"] == max(found)
    assert metrics["test_accuracy"] == alone[found.index(max(found))]["test_accuracy"]
    assert (run.folder / "history.csv").exists()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_costs_are_the_books_formulas():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(0, 3, (6, 10)), rng.integers(0, 10, 6)
    y, a = np.eye(10)[labels], sigmoid(logits)
    quadratic = [sum((y[i, j] - a[i, j]) ** 2 for j in range(10)) / 2 for i in range(6)]
    entropy = [-sum(y[i, j] * np.log(a[i, j]) + (1 - y[i, j]) * np.log(1 - a[i, j]) for j in range(10))
               for i in range(6)]
    for shape in ((6,), (6, 1)):
        given = labels.reshape(shape), logits.astype("float32")
        np.testing.assert_allclose(mlp_mnist.quadratic_cost(*given), quadratic, rtol=1e-4)
        np.testing.assert_allclose(mlp_mnist.cross_entropy_cost(*given), entropy, rtol=1e-4)


def test_cross_entropy_stays_finite_where_the_sigmoid_saturates():
    cost = mlp_mnist.cross_entropy_cost(np.array([0]), np.array([[-200.0, 300.0]], "float32"))
    np.testing.assert_allclose(cost, [500.0])


@pytest.mark.parametrize("cost", ["quadratic", "cross_entropy"])
def test_an_update_is_that_of_network2(cost):
    """w -> (1 - eta lambda / n) w - eta / m sum over the mini-batch of dC/dw; biases do not decay."""
    data = digits.load(10, size=28)
    config = Config(cost=cost, hidden=(7,), learning_rate=0.5, weight_decay=0.01, initialisation="large")
    model = mlp_mnist.compiled_model(config, data)
    images, labels = (np.asarray(part) for part in data.train.batch(0))
    w1, b1, w2, b2 = (np.float64(weight) for weight in model.get_weights())
    loss = model.train_on_batch(images, labels, return_dict=True)["loss"]

    x, y, m = np.float64(images.reshape(10, -1)), np.eye(10)[labels], 10
    hidden = sigmoid(x @ w1 + b1)
    a = sigmoid(hidden @ w2 + b2)
    if cost == "quadratic":
        expected = np.sum((y - a) ** 2) / (2 * m)                # C = 1/2n sum |y - a|^2
        delta2 = (a - y) * a * (1 - a)
    else:
        expected = -np.sum(y * np.log(a) + (1 - y) * np.log(1 - a)) / m
        delta2 = a - y
    delta1 = delta2 @ w2.T * hidden * (1 - hidden)
    eta, shrink = 0.5, 1 - 0.5 * 0.01
    updated = (shrink * w1 - eta / m * x.T @ delta1, b1 - eta / m * delta1.sum(axis=0),
               shrink * w2 - eta / m * hidden.T @ delta2, b2 - eta / m * delta2.sum(axis=0))
    assert loss == pytest.approx(expected, rel=1e-4)
    for weight, wanted in zip(model.get_weights(), updated, strict=True):
        np.testing.assert_allclose(weight, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("start", "deviation"), [("large", 1.0), ("scaled", 1 / 28)])
def test_first_weights_are_the_books(start, deviation):
    config = Config(hidden=(100,), initialisation=start)
    model = mlp_mnist.compiled_model(config, digits.load(10, size=28))
    assert model.count_params() == 79_510
    kernel, bias, output_kernel, output_bias = model.get_weights()
    assert kernel.std() == pytest.approx(deviation, rel=0.02)
    assert output_kernel.std() == pytest.approx(1.0 if start == "large" else 0.1, rel=0.1)
    assert 0.75 < bias.std() < 1.25
    # No variable repeats the numbers of another, as those of a shared initialiser would.
    assert not np.allclose(kernel.ravel()[:100], bias)
    assert not np.allclose(output_kernel.ravel()[:10], output_bias)


def test_published_figures_and_configurations_belong_together():
    assert set(PUBLISHED) == set(FIGURES)
    source = ast.parse(inspect.getsource(mlp_mnist))
    literal = next(node.value for node in source.body
                   if isinstance(node, ast.Assign) and node.targets[0].id == "PUBLISHED")
    assert ast.literal_eval(literal) == PUBLISHED                # read so without importing TensorFlow


def test_training_size_curve_has_the_books_budget():
    for size in SIZES:
        config = FIGURES[f"size-{size}"]
        assert config.epochs * size == 1_500_000
        assert config.weight_decay * size == pytest.approx(size * 1e-4)          # lambda
        assert FIGURES[f"svm-{size}"].training_size == config.training_size == size


def test_darkness_equals_a_recomputation(tmp_path):
    config = dataclasses.replace(FIGURES["darkness"], data="digits", training_size=900)
    metrics = mlp_mnist.main(config, Run(tmp_path, config=config))
    data = digits.load(size=28)
    totals = {digit: [] for digit in range(10)}
    for image, label in zip(data.training.inputs[:900], data.training.labels[:900], strict=True):
        totals[int(label)].append(float(np.sum(image, dtype=np.float64)))
    averages = {digit: sum(values) / len(values) for digit, values in totals.items()}
    right = 0
    for image, label in zip(data.test.inputs, data.test.labels, strict=True):
        total = float(np.sum(image, dtype=np.float64))
        right += min(averages, key=lambda digit: abs(averages[digit] - total)) == label
    assert metrics["figure"] == metrics["test_accuracy"] == pytest.approx(right / 360)


def test_svm_improves_with_more_data(tmp_path):
    found = []
    for size in (20, 1_000):
        config = dataclasses.replace(FIGURES["svm"], data="digits", training_size=size)
        found.append(mlp_mnist.main(config, Run(tmp_path / str(size), config=config))["figure"])
    assert found[1] > 0.85 and found[0] < found[1] - 0.1


def test_bad_training_sizes_are_refused(tmp_path):
    for size, message in ((0, "training_size must be at least 1"), (5, "batch_size must be in")):
        config = dataclasses.replace(SMOKE, training_size=size)
        with pytest.raises(ValueError, match=message):
            mlp_mnist.main(config, Run(tmp_path / str(size), config=config))


def test_the_comparison_prints_gaps_and_draws(tmp_path, capsys):
    run = Run(tmp_path)
    for width in (30, 100):
        for start in ("scaled", "large"):
            (tmp_path / f"{start}-{width}").mkdir()
            (tmp_path / f"{start}-{width}" / "history.csv").write_text("epoch,val_accuracy\n1,0.9\n2,0.95\n")
    results = {name: {"figure": value / 100} for name, value in PUBLISHED.items()}
    results["decay-100"] = {"figure": 0.97}
    mlp_mnist.draw_figures(run, results)
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line}
    assert rows["decay-100"] == ["97.92", "97.00", "-0.92"]
    assert rows["darkness"] == ["22.25", "22.25", "+0.00"]
    assert len(rows) == len(PUBLISHED) + 1
    for name in ("gaps", "training_size", "initialisation"):
        assert keras.utils.img_to_array(keras.utils.load_img(run.figure(name))).std() > 10       # not blank
