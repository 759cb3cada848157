"""One-shot learning on Omniglot: a character seen once, to be found again among twenty.

Source     Snell, Swersky and Zemel 2017, Prototypical networks for few-shot learning,
           arXiv:1703.05175, equations 1 and 2; Koch, Zemel and Salakhutdinov 2015, Siamese neural
           networks for one-shot image recognition; runs: Lake et al. 2015, Human-level concept learning.
Run        python -m recipes run one_shot_omniglot --config lake --runs all_runs.zip    (--smoke: seconds)
Published  96.0 (Vinyals' split, 20-way 1-shot), 98.9 % (5-shot), both prototypical; 92.0 % on Lake's 20
           runs within an alphabet (siamese), where people reach 95.5 and the nearest pixels 21.7 %.
Departs    Adam along a cosine of far fewer episodes; pooling before normalisation. 172 characters, Snell's
           validation alphabets, choose the epoch and are not learned from in the end. lake is a
           prototypical network, wider and on 35x35 pixels, beside Koch's figure: it learns from
           alphabets of 20 characters, turned and distorted, and is tested on the mean features of seven
           views of each image. siamese is a twin network small enough for two cores, with batch
           normalisation and Adam; koch has the paper's layers and first weights, but Adam, no layer-wise
           rates, penalties or momenta, and its pairs drawn anew forever.
"""
import dataclasses
from typing import Literal

import keras
import numpy as np
from keras import ops

from models import prototypical, siamese
from models.one_shot import VIEWS, viewed
from pipelines import omniglot
from pipelines.omniglot import trials
from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    method: Literal["prototypical", "siamese"] = "prototypical"
    data: str = "omniglot"       # or strokes: generated characters, no download
    protocol: Literal["vinyals", "lake"] = "vinyals"     # which characters are learned from and tested on
    runs: str = ""               # Lake's all_runs.zip or its folder, for his 400 trials
    side: int = 28               # pixels; area averages of the original 105
    filters: tuple[int, ...] = (64, 64, 64, 64)
    way: int = 60                # characters in a training episode
    shot: int = 1                # drawings of each that are shown
    queries: int = 5             # drawings of each that are asked for
    alphabets: int = 0           # that an episode's characters are of; 0: drawn from all at once
    turned: bool = True          # quarter turns count as further characters
    distorted: bool = False      # Koch's affine distortions
    kernels: tuple[int, ...] = (5, 3, 3)       # of the siamese network's convolutions
    features: int = 512          # sigmoids that it compares
    normalised: bool = True      # its batch normalisation, which the paper has not
    batch_size: int = 128        # pairs; over all devices
    learning_rate: float = 2e-3
    updates: int = 4_000         # episodes, or batches of pairs
    validate_every: int = 200    # updates
    views: bool = False          # tested on the mean features of seven affine views of each image
    test_episodes: int = 400


LAKE = Config(protocol="lake", side=35, filters=(32, 64, 128, 128), alphabets=3, distorted=True,
              updates=5_000, views=True)
SIAMESE = Config(method="siamese", protocol="lake", filters=(32, 64, 128), turned=False, distorted=True,
                 learning_rate=1e-3, updates=6_000)
NAMED = {
    "prototypical": Config(),
    "prototypical-5-shot": Config(shot=5),
    "lake": LAKE,
    "siamese": SIAMESE,
    "koch": dataclasses.replace(SIAMESE, side=105, filters=(64, 128, 128, 256), kernels=(10, 7, 4, 4),
                                features=4096, normalised=False, learning_rate=1e-4, updates=100_000,
                                validate_every=1_000),
}
PUBLISHED = {"prototypical": 96.0, "prototypical-5-shot": 98.9, "lake": 92.0, "siamese": 92.0, "koch": 92.0}
SMOKE = Config(data="strokes", filters=(8, 16, 16), way=10, queries=2, updates=60, validate_every=20,
               test_episodes=10)

class EpisodeClassifier(keras.Model):
    """Names an episode's queries by comparing their features with those of the support.

    (support (B, way, shot, H, W, 1), queries (B, Q, H, W, 1)) -> (B, Q, way) logits. All weights
    are the network's: nothing is learned from the support but its features.
    views: of VIEWS, over which the features of an image are averaged.
    """

    def __init__(self, network, compare, views=VIEWS[:1]):
        super().__init__(name="episode_classifier")
        self.network, self.compare, self.views = network, compare, views

    def call(self, inputs, training=None):
        support, queries = inputs
        shape, asked = ops.shape(support), ops.shape(queries)[:2]
        images = ops.concatenate([ops.reshape(support, (-1, *shape[3:])),      # normalised as one batch
                                  ops.reshape(queries, (-1, *shape[3:]))], axis=0)
        features = sum(self.network(viewed(images, *view), training=training) for view in self.views)
        features = features / len(self.views)
        count = shape[0] * shape[1] * shape[2]
        return self.compare(ops.reshape(features[count:], (*asked, -1)),             # (B, Q, D)
                            ops.reshape(features[:count], (*shape[:3], -1)))         # (B, way, shot, D)


def minus_squared_distances(asked, shown):
    """Equations 1 and 2: a class's prototype is the mean of its support, its logit minus the distance."""
    prototypes = ops.mean(shown, axis=2)                                             # (B, way, D)
    products = ops.matmul(asked, ops.transpose(prototypes, (0, 2, 1)))
    lengths = [ops.sum(ops.square(vectors), axis=2) for vectors in (asked, prototypes)]
    return 2 * products - lengths[0][:, :, None] - lengths[1][:, None]


def verification(head):
    """Koch's section 4.1: the character whose drawings the siamese network holds for the same most surely."""
    def logits(asked, shown):
        return ops.mean(head(ops.absolute(asked[:, :, None, None] - shown[:, None]))[..., 0], axis=3)
    return logits


def compiled_model(config, data):
    """(network to keep, model to train): one embeds an image or compares two, the other learns.

    data: a split with an input_shape.
    """
    rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, config.updates)
    if config.method == "siamese":
        network = siamese(data.input_shape, filters=config.filters, kernels=config.kernels,
                          features=config.features, normalised=config.normalised)
        network.compile(keras.optimizers.Adam(rate), keras.losses.BinaryCrossentropy(from_logits=True),
                        metrics=[keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)])
        return network, network
    network = prototypical(data.input_shape, filters=config.filters, pool_first=True)
    model = EpisodeClassifier(network, minus_squared_distances)
    model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    return network, model


def judge(config, network):
    """The trained network as an EpisodeClassifier, by which both methods are measured alike."""
    if config.method == "siamese":
        network, compare = network.get_layer("twin"), verification(network.get_layer("logits"))
    else:
        compare = minus_squared_distances
    model = EpisodeClassifier(network, compare, VIEWS if config.views else VIEWS[:1])
    model.compile(metrics=["accuracy"], loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def nearest_pixels(input_shape):
    """What needs no training: the image whose pixels are the nearest, by the cosine."""
    pixels = keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(),
                               keras.layers.UnitNormalization()])
    return judge(Config(), pixels)


def streams(config, data, seed):
    """(endless training stream, finite validation split) of episodes, or of pairs."""
    augment = omniglot.koch_distortion(config.side) if config.distorted else None
    if config.method == "siamese":
        return (omniglot.Pairs(data.training, config.batch_size, seed=seed, augment=augment,
                               batches_per_epoch=config.validate_every),
                omniglot.Pairs(data.validation, 500).first(10))
    train = omniglot.Episodes(data.training, config.way, config.shot, config.queries, seed=seed,
                              alphabets=config.alphabets, turned=config.turned, augment=augment,
                              batches_per_epoch=config.validate_every)
    return train, trials(data.validation, config.shot, 40, alphabets=1 if config.alphabets else 0,
                         turned=config.turned and not config.alphabets)


def main(config, run):
    if config.runs and config.protocol != "lake":
        raise ValueError("Lake's runs show characters that Vinyals' split learns from: take --protocol lake, "
                         f"or no --runs. Received: protocol={config.protocol}, runs={config.runs}")
    data = omniglot.load(config.data, config.protocol, side=config.side)
    runs = omniglot.lake_runs(config.runs, side=config.side) if config.runs else None
    train, validation = streams(config, data, run.seed)
    with run.scope():
        network, model = compiled_model(config, data.training)
        named = judge(config, network)
    history = run.fit(model, train, validation, updates=config.updates, validate_every=config.validate_every,
                      keep_best="val_accuracy")
    run.save(network, kind="comparison")                     # which predict does not take for classes
    best = max(history, key=lambda row: row["val_accuracy"])
    metrics = {"val_accuracy": best["val_accuracy"], "best_epoch": best["epoch"]}
    if run.searching:
        return metrics
    # Test characters: the last 423 are Vinyals', which no protocol here learns from.
    vinyals = data.test[-423:]
    for way in (5, 20):
        for shot in (1, 5):
            episodes = trials(vinyals, shot, config.test_episodes, way=way, turned=config.turned)
            metrics[f"accuracy_{way}_way_{shot}_shot"] = run.evaluate(named, episodes)["test_accuracy"]
    alike = trials(data.test, 1, config.test_episodes // 4 or 1, alphabets=1)
    metrics["within_alphabet_accuracy"] = run.evaluate(named, alike)["test_accuracy"]
    if runs is not None:
        metrics["test_accuracy"] = run.evaluate(named, runs)["test_accuracy"]
        pixels = omniglot.lake_runs(config.runs, side=omniglot.SIDE)             # as published: at full size
        metrics["nearest_pixels_accuracy"] = run.evaluate(
            nearest_pixels((omniglot.SIDE, omniglot.SIDE, 1)), pixels)["test_accuracy"]
    elif config.protocol == "lake":
        print("Lake's own runs were not given (--runs all_runs.zip), so there is no test_accuracy; "
              "within_alphabet_accuracy is of runs built alike from the evaluation alphabets")
    else:
        metrics["test_accuracy"] = metrics[f"accuracy_20_way_{config.shot}_shot"]
        metrics["nearest_pixels_accuracy"] = run.evaluate(nearest_pixels(data.test.input_shape), trials(
            vinyals, config.shot, config.test_episodes, turned=config.turned))["test_accuracy"]
    draw_episodes(run, named, (runs or alike).dataset())
    return metrics


def draw_episodes(run, model, episodes, rows=6):
    """Queries beside the support they are compared with: some answered rightly, and wrongly where any are.

    episodes: of (inputs, labels); at most one query of each kind is taken from an episode.
    """
    from training import figures
    right, wrong = [], []
    for (support, queries), labels in episodes.unbatch():
        answers = np.asarray(ops.argmax(model((support[None], queries[None]), training=False)[0], axis=1))
        labels = np.asarray(labels)
        for kept, found in ((right, np.flatnonzero(answers == labels)),
                            (wrong, np.flatnonzero(answers != labels))):
            if len(found) and len(kept) < rows:
                one = found[len(kept) * 7 % len(found)]                     # not always the first character
                kept.append((queries[one], support[:, 0], labels[one], answers[one]))
        if len(right) == len(wrong) == rows:
            break
    figures.save(figures.episodes(right + wrong), run.figure("episodes"))


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
