"""best_mnist: the smoke network and ensemble learn, views are what they say, nothing is trained twice."""
import dataclasses

import numpy as np
import pytest

from pipelines import mnist
from recipes.images.best_mnist import (
    NAMED,
    PUBLISHED,
    SMOKE,
    compiled_model,
    draw_ingredients,
    main,
    probabilities,
)
from training import Run


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    folder = tmp_path_factory.mktemp("best") / "run"
    config = dataclasses.replace(SMOKE, members=2, epochs=5, views=2)
    return folder, config, main(config, Run(folder, recipe="best_mnist", config=config, seed=0))


def test_the_smoke_network_and_its_ensemble_learn(ensemble):
    folder, _, metrics = ensemble
    accuracies = [metrics[f"member{index}_test_accuracy"] for index in (1, 2)]
    assert min(accuracies) > 0.7                                      # chance: .1
    assert metrics["test_accuracy"] >= np.mean(accuracies) - 0.01
    assert metrics["errors"] == round(360 * (1 - metrics["test_accuracy"]))
    assert (folder / "predictions.npz").exists() and (folder / "member2" / "model.keras").exists()


def test_resume_trains_nothing_twice(ensemble):
    folder, config, metrics = ensemble
    written = [(folder / name / "model.keras").stat().st_mtime_ns for name in ("member1", "member2")]
    again = main(config, Run(folder, recipe="best_mnist", config=config, seed=0, resume=True))
    assert again == metrics
    assert written == [(folder / name / "model.keras").stat().st_mtime_ns for name in ("member1", "member2")]


def test_without_validation_images_all_train(tmp_path):
    config = dataclasses.replace(SMOKE, validation=0, epochs=2, views=1)
    metrics = main(config, Run(tmp_path / "run", config=config))
    assert set(metrics) == {"test_accuracy", "single_view_accuracy"}
    [*_, last] = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert last.startswith("2,142,")                                  # two epochs of 1,437 images, 20 at once


def test_the_weights_at_the_end_are_the_average(tmp_path):
    config = dataclasses.replace(SMOKE, epochs=1, average=0.9, views=1)
    data = mnist.load("digits", 20, seed=0)
    run = Run(tmp_path / "run", config=config)
    model = compiled_model(config, data)
    run.fit(model, data.train, epochs=1)
    average = {variable.path: variable.numpy() for variable in model.optimizer.variables
               if "average" in variable.path}
    assert len(average) == len(model.trainable_variables)
    found, weights = (sorted(float(np.sum(np.abs(value))) for value in values)
                      for values in (average.values(), model.trainable_variables))
    assert found == pytest.approx(weights, rel=1e-5)


def test_views_begin_with_the_image_itself_and_differ():
    data = mnist.load("digits", 20)
    model = compiled_model(SMOKE, data)
    some = data.test[:50]
    views = probabilities(model, some, 3)
    assert views.shape == (3, 50, 10)
    np.testing.assert_allclose(views.sum(axis=-1), 1, rtol=1e-5)
    logits = model.predict(some.arrays()[0], verbose=0)
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(views[0], expected, atol=1e-5)
    assert np.abs(views[1] - views[0]).max() > 1e-6 and np.abs(views[2] - views[1]).max() > 1e-6
    np.testing.assert_array_equal(probabilities(model, some, 3), views)


def test_each_ablation_leaves_out_what_it_names():
    short = dataclasses.asdict(NAMED["short"])
    for name, config in NAMED.items():
        changed = {field for field, value in dataclasses.asdict(config).items() if value != short[field]}
        expected = {"without-elastic": {"alpha"}, "without-affine": {"rotation", "shear", "scale", "shift"},
                    "without-distortion": {"alpha", "rotation", "shear", "scale", "shift"},
                    "without-normalisation": {"normalised", "learning_rate"}, "without-dropout": {"dropout"},
                    "without-average": {"average"}, "without-views": {"views"}}.get(name)
        assert expected is None or changed == expected, name
    assert set(PUBLISHED) <= set(NAMED)


def test_the_drawing_of_the_ingredients(tmp_path, drawn):
    results = {name: {"val_accuracy": 0.99 + index / 2000, "test_accuracy": 0.991}
               for index, name in enumerate(NAMED)}
    run = Run(tmp_path / "run")
    draw_ingredients(run, results)
    drawn(tmp_path / "run", "ingredients")


def test_refuses_no_members_and_no_views(tmp_path):
    for changed in ({"members": 0}, {"views": 0}):
        with pytest.raises(ValueError, match="members and views must be at least 1"):
            main(dataclasses.replace(SMOKE, **changed), Run(tmp_path / str(changed), config=SMOKE))
