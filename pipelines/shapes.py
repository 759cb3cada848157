"""Coloured shapes and what can be said of them: the offline twin of photographs with captions. No download.

    a large red circle                                          one shape
    a large red circle above a small blue square                two; as well: a small blue square below a ...
    a large red circle above a small blue square and left of a small green triangle           three, or two

Every sentence that is true and has this form is a right one, up to six for three shapes. A relation is
said only where it is plain: as far as it goes sideways it goes at least so much further up or down.
"""
import dataclasses
import itertools
import zlib

import numpy as np

COLOURS = {"red": (215, 45, 45), "green": (50, 170, 60), "blue": (45, 75, 220), "yellow": (240, 220, 50),
           "purple": (150, 50, 170), "white": (245, 245, 245)}
SIZES = {"large": (0.175, 0.21), "small": (0.105, 0.13)}         # least and greatest radius, of the side
RELATIONS = {(0, -1): "above", (0, 1): "below", (-1, 0): "left of", (1, 0): "right of"}
PLAIN = 1.4                      # of a relation: how much further along it than across it
COUNTS = (0.15, 0.45, 0.4)       # of all images those with one, two and three shapes
LAYOUTS = 40                     # that are tried for each image
PART = {8: "validation", 9: "test"}      # of ten parts of all that can be said; the other eight train


def bars(x, y, thick):
    """Distance to a cross of two bars of half-length 1."""
    x, y = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(x - 1, y - thick), np.maximum(x - thick, y - 1))


# How far a point lies outside (negative: inside) a shape of radius 1 about the origin, y downwards.
KINDS = {"circle": lambda x, y: np.hypot(x, y) - 1,
         "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) - 0.85,
         "triangle": lambda x, y: np.maximum(y - 0.7, (np.abs(x) * 1.7 - y - 1.0) / np.hypot(1.7, 1)),
         "cross": lambda x, y: bars(x, y, 0.33)}
THINGS = [(size, colour, kind) for size in SIZES for colour in COLOURS for kind in KINDS]


@dataclasses.dataclass(frozen=True)
class World:
    """Images uint8 (N, side, side, 3), and of each the tuple of all right sentences, sorted."""
    images: np.ndarray
    sentences: tuple[tuple[str, ...], ...]


def worlds(training=20_000, validation=1_000, test=2_000, *, side=48, most=3, seed=0):
    """{"training": World, "validation": World, "test": World}, always the same for the same arguments.

    No sentence is right in two of them: what can be said of an image is new in each, only the words
    and their forms are the same. most: shapes in an image, 1 to 3.
    Raises ValueError for no images, most outside [1, 3], or a side below 16.
    """
    if min(training, validation, test) < 1 or not 1 <= most <= 3 or side < 16:
        raise ValueError("shapes need at least one image in each part, 1 to 3 shapes in an image, and a side "
                         f"of at least 16 pixels. Received: training={training}, validation={validation}, "
                         f"test={test}, most={most}, side={side}")
    wanted = {"training": training, "validation": validation, "test": test}
    found = {part: [] for part in wanted}
    generator = np.random.default_rng(seed)
    while any(len(found[part]) < count for part, count in wanted.items()):
        for scene in scenes(generator, 2_000, most):
            part = part_of(scene[2])
            if len(found[part]) < wanted[part]:
                found[part].append(scene)
    return {part: World(drawn([scene[:2] for scene in chosen], side, generator),
                        tuple(scene[2] for scene in chosen)) for part, chosen in found.items()}


def part_of(sentences):
    """The part that an image with these right sentences belongs to: a hash decides, the same everywhere."""
    return PART.get(zlib.crc32(sentences[0].encode()) % 10, "training")


def scenes(generator, count, most):
    """[(things, places, right sentences)]: indices of THINGS (n,), float (n, 3) of x, y and radius, of 1."""
    numbers = generator.choice(most, count, p=np.array(COUNTS[:most]) / sum(COUNTS[:most])) + 1
    things = generator.integers(len(THINGS), size=(count, most))
    bounds = np.array([SIZES[size] for size, _, _ in THINGS])[things]                         # (N, most, 2)
    radius = bounds[..., 0] + generator.random((count, most)) * (bounds[..., 1] - bounds[..., 0])
    reach = radius[:, None, :, None] + 0.01
    centres = reach + generator.random((count, LAYOUTS, most, 2)) * (1 - 2 * reach)
    made = []
    for number in range(1, most + 1):
        rows = np.flatnonzero(numbers == number)
        apart = np.ones((len(rows), LAYOUTS), bool)
        plain = np.ones((len(rows), LAYOUTS, number, number), bool)
        for one, other in itertools.combinations(range(number), 2):
            gaps = np.abs(centres[rows, :, one] - centres[rows, :, other])
            longer, shorter = gaps.max(axis=-1), gaps.min(axis=-1)
            apart &= longer > (radius[rows, one] + radius[rows, other])[:, None] + 0.02
            plain[..., one, other] = plain[..., other, one] = longer > PLAIN * shorter + 0.03
        good = apart & plain.all(axis=-1).any(axis=-1)           # one at least that all others are related to
        for row, layouts, clear in zip(rows, good, plain, strict=True):
            if layouts.any():
                layout = np.argmax(layouts)
                places = np.concatenate([centres[row, layout, :number], radius[row, :number, None]], axis=1)
                names = [" ".join(("a", *THINGS[thing])) for thing in things[row, :number]]
                made.append((row, (things[row, :number], places, said(names, places, clear[layout]))))
    return [scene for _, scene in sorted(made, key=lambda pair: pair[0])]


def said(names, places, plain):
    """All right sentences of one form about an image, sorted."""
    sentences = set()
    for first in range(len(names)):
        others = [other for other in range(len(names)) if other != first]
        if plain[first, others].all():
            related = [f"{relation(places[first], places[other])} {names[other]}" for other in others]
            sentences |= {" ".join([names[first], " and ".join(order)]).strip()
                          for order in itertools.permutations(related)}
    return tuple(sorted(sentences))


def relation(place, other):
    """Where a place is, seen from another: "above" and so on."""
    x, y = place[0] - other[0], place[1] - other[1]
    return RELATIONS[(int(np.sign(x)), 0) if abs(x) > abs(y) else (0, int(np.sign(y)))]


def drawn(scenes, side, generator):
    """[(things, places)] -> uint8 (N, side, side, 3): on grey of any shade, with noise; edges are smooth."""
    pixels = (np.arange(side) + 0.5) / side
    images = np.empty((len(scenes), side, side, 3), np.uint8)
    for image, (things, places) in zip(images, scenes, strict=True):
        canvas = np.full((side, side, 3), generator.uniform(60, 170), np.float32)
        for thing, (x, y, radius) in zip(things, places, strict=True):
            _, colour, kind = THINGS[thing]
            (left, top), (right, bottom) = (np.int64(side * (np.array([x, y]) + sign * (radius + 1 / side)))
                                            for sign in (-1, 1))
            part = canvas[max(top, 0):bottom + 1, max(left, 0):right + 1]
            outside = radius * side * KINDS[kind](
                (pixels[None, max(left, 0):right + 1] - x) / radius,
                (pixels[max(top, 0):bottom + 1, None] - y) / radius)
            cover = np.clip(0.5 - outside, 0, 1)[..., None]                    # of each pixel, by the shape
            part += cover * (COLOURS[colour] + generator.uniform(-12, 12, 3) - part)
        image[:] = np.clip(canvas + 6 * generator.standard_normal(canvas.shape, np.float32), 0, 255)
    return images
