"""Adding, temporal order, copying: their definitions on generated sequences; pure functions; baselines."""
import math

import numpy as np
import pytest

from pipelines import memory_problems
from pipelines.memory_problems import ORDER_SYMBOLS, PAIRS, PROBLEMS


def test_adding():
    data = memory_problems.load("adding", 8, steps=20, validation=50, test=4_000)
    x, y = data.test.arrays()
    values, marks = x[..., 0], x[..., 1]
    assert x.shape == (4_000, 20, 2) and y.shape == (4_000, 1) and data.input_shape == (20, 2)
    assert (marks.sum(axis=1) == 2).all() and set(np.unique(marks)) == {0, 1}
    np.testing.assert_allclose(y[:, 0], (values * marks).sum(axis=1), rtol=1e-6)
    assert values.min() >= 0 and values.max() < 1 and values.mean() == pytest.approx(0.5, abs=0.01)
    assert np.mean((y - 1) ** 2) == pytest.approx(data.baseline, rel=0.05) and data.baseline == 1 / 6
    assert np.all(np.abs(marks.mean(axis=0) - 0.1) < 0.03)               # each step is marked as often


def test_temporal_order():
    data = memory_problems.load("temporal_order", 8, steps=100, validation=50, test=600)
    x, classes = data.test.arrays()
    assert x.shape == (600, 110, 8) and classes.dtype == np.int64 and data.class_names == PAIRS
    lengths, pairs, places = set(), [], []
    for row, label in zip(x, classes, strict=True):
        present = row.sum(axis=1)
        length = int(present.sum())
        assert (present[:length] == 1).all() and not present[length:].any()
        text = "".join(ORDER_SYMBOLS[index] for index in row[:length].argmax(axis=1))
        assert text[0] == "E" and text[-1] == "B" and not set(text[1:-1]) & set("EB")
        found = [place for place, symbol in enumerate(text) if symbol in "XY"]
        assert "".join(text[place] for place in found) == PAIRS[label]
        lengths.add(length)
        pairs.append(label)
        places.append(found)
    assert lengths == set(range(100, 111))
    first, second = np.transpose(places)
    assert set(first) == set(range(10, 21)) and set(second) == set(range(50, 61))
    assert np.bincount(pairs).min() > 100 and data.baseline == math.log(4)


def test_copy():
    data = memory_problems.load("copy", 8, steps=30, validation=50, test=200)
    x, y = data.test.arrays()
    assert x.shape == y.shape == (200, 50)
    np.testing.assert_array_equal(x[:, :10], y[:, -10:])
    assert set(np.unique(x[:, :10])) == set(range(8))
    assert (x[:, 10:39] == 8).all() and (x[:, 39] == 9).all() and (x[:, 40:] == 8).all()
    assert (y[:, :40] == 8).all()
    assert data.baseline == pytest.approx(10 * math.log(8) / 50)


@pytest.mark.parametrize("name", PROBLEMS)
def test_batches_are_pure_functions_of_seed_and_number(name):
    stream, again, other = (memory_problems.load(name, 6, steps=10, seed=seed, validation=6, test=6).train
                            for seed in (3, 3, 4))
    for i in (0, 7):
        for one, two in zip(stream.batch(i), again.batch(i), strict=True):
            np.testing.assert_array_equal(one, two)
            assert one.shape[0] == 6
        assert not np.array_equal(stream.batch(i)[0], other.batch(i)[0])
    assert not np.array_equal(stream.batch(0)[0], stream.batch(1)[0])
    halves = [stream.batch(5, shard=(part, 2)) for part in range(2)]
    for whole, *parts in zip(stream.batch(5), *halves, strict=True):
        np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_fixed_splits_are_those_of_every_seed_and_apart():
    one, other = (memory_problems.load("copy", 50, steps=10, seed=seed, validation=50, test=50)
                  for seed in (0, 1))
    for split in ("validation", "test"):
        np.testing.assert_array_equal(getattr(one, split).inputs, getattr(other, split).inputs)
    seen = [{row.tobytes() for row in np.asarray(inputs)} for inputs in
            (one.validation.inputs, one.test.inputs, one.train.batch(0)[0], one.train.batch(1)[0])]
    assert len(set.union(*seen)) == 200                    # of 8 ** 10 that there are


def test_bad_arguments():
    for arguments, message in (
            ({"name": "xor"}, "must be one of adding, temporal_order, copy. Received: xor"),
            ({"steps": 9}, "steps must be at least 10. Received: 9"),
            ({"seed": -1}, "a seed of at least 0.*Received: seed=-1"),
            ({"batch_size": 0}, "batch size of at least 1")):
        with pytest.raises(ValueError, match=message):
            memory_problems.load(**{"validation": 4, "test": 4, **arguments})
    with pytest.raises(ValueError, match="multiple of the 4 devices. Received: 6"):
        memory_problems.load(batch_size=6, validation=4, test=4).train.batch(0, shard=(0, 4))
