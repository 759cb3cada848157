"""Short reviews from a small grammar, labelled by it: the offline twin of review data. No download.

    the story was not bad at all                                     positive
    i expected a great film , but the acting was really dull         negative

A denied word means its opposite, and what follows "but" decides: counting words does not tell.
"""
import numpy as np

from pipelines.stream import Examples

GOOD = ("good", "great", "brilliant", "charming", "gripping", "funny", "moving", "superb", "clever", "fine")
BAD = ("bad", "dull", "awful", "boring", "clumsy", "weak", "terrible", "silly", "poor", "tedious")
PARTS = ("story", "acting", "music", "plot", "film", "script", "ending", "cast", "camera work", "dialogue")
DEGREES = ("", "", "really ", "very ", "quite ", "rather ", "truly ")
OPENINGS = ("", "", "well , ", "in my opinion ", "to be honest ", "all in all ", "i saw it twice : ")
CLASSES = ("negative", "positive")


def sentence(generator):
    """(a review, its label: 1 for positive)."""
    label = int(generator.integers(2))
    opening = choice(generator, OPENINGS)
    if generator.random() < 0.5:
        return opening + clause(generator, label), label
    other = int(generator.integers(2))
    return f"{opening}{clause(generator, other)} , but {clause(generator, label)}", label


def clause(generator, label):
    """Something that was good (1) or bad (0), a third of the time by the denial of the opposite."""
    part, degree = choice(generator, PARTS), choice(generator, DEGREES)
    if generator.random() < 1 / 3:
        return f"the {part} was not {choice(generator, (GOOD, BAD)[label])}"
    return f"the {part} was {degree}{choice(generator, (BAD, GOOD)[label])}"


def choice(generator, values):
    """One of the values. Generator.choice would make an array of them, and its strings, first."""
    return values[generator.integers(len(values))]


def reviews(training=3000, validation=500, test=500):
    """Three Examples of str (N,) and int64 (N,), always the same; no review is in two of them."""
    generator, found = np.random.default_rng(0), {}
    while len(found) < training + validation + test:
        text, label = sentence(generator)
        found.setdefault(text, label)
    texts = np.array(list(found), dtype=object)
    labels = np.array(list(found.values()), np.int64)
    ends = training, training + validation
    return [Examples(texts[a:b], labels[a:b]) for a, b in ((0, ends[0]), ends, (ends[1], None))]
