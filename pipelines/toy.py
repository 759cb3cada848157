"""Two classes in the plane: moons, circles and spirals, drawn once and for all, with no download.

1,000 examples to train on, 200 to validate and 1,000 to test; each coordinate about in [-2, 2].
"""
import numpy as np

from pipelines.stream import Examples, Splits, Stream

TRAIN, VALIDATION, TEST = 1_000, 200, 1_000


def load(name="moons", batch_size=20, *, noise=None, seed=0, **stream_options):
    """-> Splits of float32 points (N, 2) and int64 labels 0 and 1, about as many of each.

    noise: standard deviation added to each coordinate; by default 0.2 for moons, 0.1 for circles
    and 0.05 for spirals. The points are the same for every seed, which orders the batches.
    Raises ValueError for an unknown name or negative noise.
    """
    if name not in DRAWN:
        raise ValueError(f"data must be one of {', '.join(DRAWN)}. Received: {name}")
    draw, usual = DRAWN[name]
    noise = usual if noise is None else noise
    if noise < 0:
        raise ValueError(f"noise must not be negative. Received: {noise}")
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.arange(TRAIN + VALIDATION + TEST) % 2)
    points = draw(generator.uniform(size=len(labels)), labels)
    points = (points + noise * generator.normal(size=points.shape)).astype(np.float32)
    cut = [slice(0, TRAIN), slice(TRAIN, TRAIN + VALIDATION), slice(TRAIN + VALIDATION, None)]
    training, validation, test = (Examples(points[part], labels[part].astype(np.int64)) for part in cut)
    return Splits(Stream(training, batch_size, seed=seed, **stream_options), training, validation, test,
                  ("orange", "blue"))


# (places t in [0, 1] along the figure, labels) -> points (N, 2)

def moons(t, labels):
    """Two half circles of radius 1, each with an end in the other's hollow."""
    angle = np.pi * t
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.where(labels[:, None] == 0, upper, [1, 0.5] - upper)
    return points - [0.5, 0.25]


def circles(t, labels):
    """A circle of radius 0.5 within one of radius 1."""
    radius = np.where(labels == 0, 1.0, 0.5)[:, None]
    return radius * np.stack([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)], axis=1)


def spirals(t, labels):
    """Two arms of one and a half turns around each other, as dense outside as inside."""
    radius = np.sqrt(0.03 + 0.97 * t)
    angle = 3 * np.pi * radius + np.pi * labels
    return 1.5 * radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


DRAWN = {"moons": (moons, 0.2), "circles": (circles, 0.1), "spirals": (spirals, 0.05)}
