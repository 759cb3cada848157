import keras
import numpy as np
import pytest
from soundness import every_weight_gets_a_gradient, images_for, saves_and_loads

from models.multidimensional_lstm import (
    MultidimensionalLSTM,
    columns_blstm,
    multidimensional_lstm,
    skewed,
    unskewed,
)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def place_by_place(layer, images):
    """The four LSTMs in plain loops, as the docstring of the layer has them: (B, H, W, 4 units)."""
    kernel, recurrent, bias = (np.asarray(weight, np.float64) for weight in layer.get_weights())
    units, (batch, height, width, _) = layer.units, images.shape
    outputs = np.zeros((batch, height, width, 4 * units))
    for corner, (down, right) in enumerate([(1, 1), (1, -1), (-1, 1), (-1, -1)]):
        own = slice(corner * 5 * units, (corner + 1) * 5 * units)
        cells, nothing = {}, (np.zeros((batch, units)), np.zeros((batch, units)))
        for i in range(height)[::down]:
            for j in range(width)[::right]:
                beside, above = cells.get((i, j - right), nothing), cells.get((i - down, j), nothing)
                gates = (images[:, i, j] @ kernel[0, 0][:, own] + bias[own]
                         + beside[0] @ recurrent[corner, :units] + above[0] @ recurrent[corner, units:])
                write, keep_beside, keep_above, candidate, read = np.split(gates, 5, axis=1)
                cell = (sigmoid(write) * np.tanh(candidate) + sigmoid(keep_beside) * beside[1]
                        + sigmoid(keep_above) * above[1])
                cells[i, j] = sigmoid(read) * np.tanh(cell), cell
                outputs[:, i, j, corner * units:(corner + 1) * units] = cells[i, j][0]
    return outputs


@pytest.mark.parametrize("height, width", [(4, 6), (5, 3), (1, 4), (3, 1)])
def test_diagonal_by_diagonal_is_place_by_place(height, width):
    layer = MultidimensionalLSTM(3)
    images = np.random.default_rng(0).normal(size=(2, height, width, 2)).astype(np.float32)
    layer.build(images.shape)
    for variable in layer.weights:
        variable.assign(variable + 0.5 * keras.random.normal(variable.shape, seed=1))
    np.testing.assert_allclose(layer(images), place_by_place(layer, images), atol=1e-5)


def test_a_block_is_seen_as_one_place():
    wide, layer = MultidimensionalLSTM(2, block=(2, 3)), MultidimensionalLSTM(2)
    images = np.random.default_rng(0).normal(size=(2, 4, 6, 1)).astype(np.float32)
    wide.build(images.shape)
    blocks = images.reshape(2, 2, 2, 2, 3).transpose(0, 1, 3, 2, 4).reshape(2, 2, 2, 6)
    layer.build(blocks.shape)
    kernel, *others = wide.get_weights()
    layer.set_weights([kernel.reshape(1, 1, 6, -1), *others])
    np.testing.assert_allclose(wide(images), layer(blocks), atol=1e-6)


def test_skewed_rows_come_back():
    rows = np.arange(2 * 3 * 4 * 2, dtype=np.float32).reshape(2, 3, 4, 2)
    diagonals = np.asarray(skewed(rows, -1.0))
    assert diagonals.shape == (2, 3, 6, 2)
    assert diagonals[0, :, :, 0].tolist() == [[0, 2, 4, 6, -1, -1], [-1, 8, 10, 12, 14, -1],
                                              [-1, -1, 16, 18, 20, 22]]
    np.testing.assert_array_equal(unskewed(diagonals), rows)


def test_together_the_four_directions_see_the_whole_image():
    import tensorflow as tf
    layer = MultidimensionalLSTM(2)
    images = tf.random.stateless_normal((1, 3, 5, 1), [0, 1])
    with tf.GradientTape() as tape:
        tape.watch(images)
        middle = layer(images)[0, 1, 2]
    seen = tape.jacobian(middle, images).numpy()[:, 0, ..., 0]              # (8, 3, 5)
    upper_left = np.abs(seen[:2]).max(axis=0) > 0
    assert upper_left.tolist() == [[True] * 3 + [False] * 2] * 2 + [[False] * 5]
    assert (np.abs(seen).max(axis=0) > 0).all()


def test_networks_for_lines_are_sound(tmp_path):
    model = multidimensional_lstm((12, None, 1), 4, block=(2, 2), cells=(2, 3, 4), features=(3, 4),
                                  windows=((2, 2), (2, 1)))
    images = np.random.default_rng(0).random((2, 12, 16, 1), np.float32)
    assert model(images).shape == (2, 4, 5) and model(images[:, :, :9]).shape == (2, 3, 5)
    every_weight_gets_a_gradient(model, images)
    saves_and_loads(model, images, tmp_path)
    rival = columns_blstm((12, 16, 1), 4, columns=4, units=(3, 2))
    assert rival.output_shape == (None, 4, 5)
    every_weight_gets_a_gradient(rival, images_for(rival))
    saves_and_loads(rival, images, tmp_path)


def test_the_papers_network_has_these_parameters():
    def mdlstm(inputs, units):                     # four directions, five gates, two neighbours, a bias
        return 4 * 5 * units * (inputs + 2 * units + 1)
    expected = (mdlstm(4 * 3, 2) + (4 * 3 * 8 + 1) * 6 + mdlstm(6, 10) + (4 * 3 * 40 + 1) * 20
                + mdlstm(20, 50) + (200 + 1) * 121)
    assert multidimensional_lstm((48, None, 1), 120).count_params() == expected


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="a window, with its features, between any two"):
        multidimensional_lstm((12, 16, 1), 4, cells=(2, 3))
    with pytest.raises(ValueError, match="units and block of at least 1"):
        MultidimensionalLSTM(0)
    with pytest.raises(ValueError, match="must be a multiple of columns. Received: width=10, columns=4"):
        columns_blstm((12, 10, 1), 4)
    with pytest.raises(ValueError, match="H and C known"):
        MultidimensionalLSTM(2)(keras.Input((None, 8, 1)))
