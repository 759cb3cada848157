import numpy as np
import pytest

from models import greedy
from training.label_errors import LabelErrorRate, errors


def distance(written, string):
    """Edits between two lists, by the textbook's table."""
    table = np.zeros((len(written) + 1, len(string) + 1), int)
    table[:, 0], table[0] = range(len(written) + 1), range(len(string) + 1)
    for i, one in enumerate(written, 1):
        for j, other in enumerate(string, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (one != other))
    return table[-1, -1]


def strings(count, longest, seed):
    random = np.random.default_rng(seed)
    lengths = random.integers(0, longest + 1, count)
    return [random.integers(1, 4, length).tolist() for length in lengths]


def filled(rows, width):
    return np.array([row + [0] * (width - len(row)) for row in rows])


def test_errors_are_edit_distances_of_strings_of_any_length():
    written, right = strings(40, 9, seed=0), strings(40, 6, seed=1)
    written[0], right[0], written[1], right[2] = [], [], [], []
    expected = [distance(one, other) for one, other in zip(written, right, strict=True)]
    np.testing.assert_array_equal(errors(filled(written, 9), filled(right, 6)), expected)


def test_the_rate_is_over_all_labels_of_all_batches():
    metric = LabelErrorRate(lambda outputs: outputs)
    metric.update_state(np.array([[1, 2, 3]]), np.array([[1, 2, 3, 0]]))
    metric.update_state(np.array([[1, 0, 0], [2, 2, 0]]), np.array([[0, 0, 0, 0], [2, 3, 2, 0]]))
    assert float(metric.result()) == pytest.approx(2 / 6)          # one missing, one surplus, of six
    metric.reset_state()
    assert float(metric.result()) == 0


def test_it_reads_the_logits_of_a_network():
    logits = np.full((1, 5, 3), -9.0, np.float32)
    for step, label in enumerate([1, 1, 0, 1, 2]):                 # reads 1 1 2
        logits[0, step, label] = 9
    metric = LabelErrorRate(greedy)
    metric.update_state(np.array([[1, 1, 2]]), logits)
    assert float(metric.result()) == 0
    metric.update_state(np.array([[2, 1, 2]]), logits)
    assert float(metric.result()) == pytest.approx(1 / 6)
