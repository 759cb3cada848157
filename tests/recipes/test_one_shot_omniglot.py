import dataclasses

import keras
import numpy as np
import pytest

from models import siamese
from models.one_shot import VIEWS, viewed
from pipelines import omniglot
from pipelines.omniglot import trials
from recipes.__main__ import COMMANDS as commands
from recipes.images.one_shot_omniglot import (
    NAMED,
    PUBLISHED,
    SMOKE,
    EpisodeClassifier,
    compiled_model,
    judge,
    main,
    minus_squared_distances,
    nearest_pixels,
    verification,
)
from training import Run
from tuning import spaces

SIAMESE = dataclasses.replace(SMOKE, method="siamese", protocol="lake", side=20, filters=(8, 16),
                              kernels=(5, 3), features=32, turned=False, batch_size=64,
                              learning_rate=3e-3, updates=120, validate_every=40)


@pytest.mark.parametrize(("config", "least"), [
    pytest.param(SMOKE, 0.7, id="prototypical"),
    pytest.param(SIAMESE, 0.3, id="siamese", marks=pytest.mark.slow)])
def test_smoke_learns(config, least, tmp_path, drawn):
    metrics = main(config, Run(tmp_path / "run", config=config))
    assert metrics["within_alphabet_accuracy"] > least                               # of 10: chance is .1
    assert metrics["accuracy_5_way_1_shot"] > metrics["accuracy_20_way_1_shot"] > least          # chance: .05
    assert ("test_accuracy" in metrics) == (config.protocol == "vinyals")       # Lake's needs his own runs
    drawn(tmp_path / "run", "episodes")
    with pytest.raises(ValueError, match="compares images and knows no classes"):
        commands["predict"]([str(tmp_path / "run"), "drawing.png"])
    network = keras.saving.load_model(tmp_path / "run" / "model.keras")
    again = judge(config, network)
    cut = omniglot.load("strokes", side=config.side)
    result = again.evaluate(trials(cut.test, 1, config.test_episodes, way=5, turned=config.turned).dataset(),
                            return_dict=True, verbose=0)
    assert result["accuracy"] == pytest.approx(metrics["accuracy_5_way_1_shot"], abs=1e-6)


def test_distances_are_to_the_mean_of_the_support():
    random = np.random.default_rng(0)
    asked, shown = random.normal(size=(2, 7, 6)), random.normal(size=(2, 3, 4, 6))
    expected = -((asked[:, :, None] - shown.mean(axis=2)[:, None]) ** 2).sum(axis=3)
    np.testing.assert_allclose(minus_squared_distances(asked, shown), expected, atol=1e-5)


def test_a_trial_of_the_siamese_network_is_that_of_its_pairs():
    network = siamese((12, 12, 1), filters=(3, 4), kernels=(3, 3), features=5)
    model = EpisodeClassifier(network.get_layer("twin"), verification(network.get_layer("logits")))
    random = np.random.default_rng(0)
    support = random.random((2, 3, 2, 12, 12, 1), np.float32)
    queries = random.random((2, 4, 12, 12, 1), np.float32)
    logits = np.asarray(model((support, queries)))
    for b, q, character in np.ndindex(2, 4, 3):
        pairs = [queries[b, [q, q]], support[b, character]]
        np.testing.assert_allclose(logits[b, q, character], np.mean(network(pairs)), rtol=1e-4, atol=1e-6)


def test_views_are_turned_about_the_centre_and_average_the_features():
    images = np.random.default_rng(0).random((3, 9, 9, 1), np.float32)
    np.testing.assert_allclose(viewed(images, 90, 0, 1), np.rot90(images, axes=(1, 2)), atol=1e-4)
    np.testing.assert_allclose(viewed(images, 0, 45, 1)[:, 4], images[:, 4], atol=1e-4)
    np.testing.assert_allclose(viewed(images, 0, 0, 2)[:, ::2, ::2], images[:, 2:7, 2:7], atol=1e-4)
    pixels = keras.layers.Flatten()
    model = EpisodeClassifier(pixels, minus_squared_distances, VIEWS)
    support, queries = images[None, :2, None], images[None, 2:]
    means = np.mean([np.reshape(viewed(images, *view), (3, -1)) for view in VIEWS], axis=0)
    expected = -((means[2] - means[:2]) ** 2).sum(axis=1)
    np.testing.assert_allclose(model((support, queries))[0, 0], expected, rtol=1e-4)


def test_the_nearest_pixels_are_by_the_cosine():
    episodes = trials(omniglot.load("strokes").test, 1, 2, alphabets=1)
    (support, queries), _ = next(iter(episodes.dataset()))
    logits = np.asarray(nearest_pixels((28, 28, 1))((support, queries)))

    def unit(images):
        vectors = np.asarray(images).reshape(len(images), -1)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit(queries[0]) @ unit(support[0]).T
    np.testing.assert_allclose(logits[0], 2 * cosines - 2, atol=1e-5)


def test_the_named_networks_are_the_published_ones():
    cut = omniglot.load("strokes")
    network, _ = compiled_model(NAMED["prototypical"], cut.training)
    assert network.count_params() == 112_448
    koch = NAMED["koch"]
    assert (koch.filters, koch.kernels, koch.features, koch.side, koch.normalised) == (
        (64, 128, 128, 256), (10, 7, 4, 4), 4096, 105, False)                     # siamese()'s own defaults
    assert set(PUBLISHED) == set(NAMED)


def test_the_corners_of_the_search_build():
    import keras_tuner
    space, built = spaces.load("one_shot_omniglot"), set()
    for end in (0, -1):
        found = keras_tuner.HyperParameters()
        space.sample(found, space.Config())
        found.values = {one.name: list(one.values)[end] if hasattr(one, "values")
                        else (one.min_value, one.max_value)[end] for one in found.space}
        config = space.config(found, space.Config())
        cut = omniglot.load("strokes", side=config.side)
        network, model = compiled_model(config, cut.training)
        inputs, labels = omniglot.Episodes(cut.training, 4, 1, 2).batch(0)
        assert model(inputs).shape == (*labels.shape, 4) and network.built
        built.add(config)
    assert len(built) == 2


def test_lakes_runs_are_not_for_a_network_that_learned_from_their_characters(tmp_path):
    config = dataclasses.replace(SMOKE, runs="all_runs.zip")
    with pytest.raises(ValueError, match="take --protocol lake"):
        main(config, Run(tmp_path / "run", config=config))


def test_a_trial_of_a_search_sees_no_test_set(tmp_path, monkeypatch):
    run = Run(tmp_path / "run", config=SMOKE)
    run.searching = True
    monkeypatch.setattr(run, "evaluate", None)
    metrics = main(dataclasses.replace(SMOKE, updates=2, validate_every=2), run)
    assert set(metrics) == {"val_accuracy", "best_epoch"}
