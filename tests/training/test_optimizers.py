"""Muon by hand, by its singular values, and read back."""
import keras
import numpy as np
import pytest

from training.optimizers import Muon


def test_muon_takes_orthogonal_steps_of_a_part_of_the_kernels_length():
    generator = np.random.default_rng(0)
    kernel = keras.Variable(generator.normal(size=(3, 3, 4, 8)).astype("float32"))
    bias = keras.Variable(np.ones(5, "float32"))
    optimizer = Muon(0.5, momentum=0.9, nesterov=True, relative_rate=0.1, kernel_momentum=0.8)
    reference = keras.optimizers.SGD(0.5, momentum=0.9, nesterov=True)
    plain = keras.Variable(np.ones(5, "float32"))
    optimizer.build([kernel, bias])
    reference.build([plain])
    velocity = np.zeros((36, 8))
    for _ in range(3):
        gradient = generator.normal(size=(3, 3, 4, 8)).astype("float32")
        before = np.asarray(kernel).reshape(36, 8)
        optimizer.apply([keras.ops.convert_to_tensor(gradient), bias * 0.3], [kernel, bias])
        reference.apply([plain * 0.3], [plain])
        flat = gradient.reshape(36, 8)
        velocity = 0.8 * velocity + 0.2 * flat
        left, _, right = np.linalg.svd(0.2 * flat + 0.8 * velocity, full_matrices=False)
        step = (before * np.sqrt(8) / np.linalg.norm(before) - np.asarray(kernel).reshape(36, 8)) / 0.05
        assert np.linalg.norm(step) == pytest.approx(np.sqrt(8), rel=1e-4)
        # Newton and Schulz leave the singular values near 1, in the directions of the gradient's own.
        inner = left.T @ step @ right.T
        assert np.abs(inner - np.diag(np.diag(inner))).max() < 1e-3
        assert np.diag(inner).min() > 0.6 and np.diag(inner).max() < 1.4
    np.testing.assert_allclose(bias, plain)


def test_muon_is_read_back_from_its_configuration():
    optimizer = Muon(0.2, relative_rate=0.3, kernel_momentum=0.7)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, Muon) and again.get_config() == optimizer.get_config()
