"""LSTM in two dimensions, and the network that reads a line of handwriting with it.

    layer   MultidimensionalLSTM       numbers in four directions, diagonal by diagonal
    network multidimensional_lstm      Graves and Schmidhuber's hierarchy, with a CTC output
"""
import keras
import numpy as np
from keras import layers, ops

from models.ctc import IMPOSSIBLE, ctc_output

SCALE = 4.0                    # of the variance of first weights: h is a quarter of a small candidate
GATES = 5                      # input, forget to the left, forget above, candidate, output


def skewed(rows, fill):
    """(..., H, W, F) -> (..., H, H + W - 1, F): row r moves r places to the right; fill comes in.

    A column of the result is a diagonal of the image: no pixel of it depends on another one.
    """
    *front, height, width, features = ops.shape(rows)
    count = width + height - 1
    wide = ops.pad(rows, [[0, 0]] * (len(front) + 1) + [[0, height], [0, 0]], constant_values=fill)
    flat = ops.reshape(wide, (*front, height * (count + 1), features))
    return ops.reshape(flat[..., :height * count, :], (*front, height, count, features))


def unskewed(diagonals):
    """The inverse of skewed: (..., H, H + W - 1, F) -> (..., H, W, F)."""
    *front, height, count, features = ops.shape(diagonals)
    flat = ops.reshape(diagonals, (*front, height * count, features))
    flat = ops.pad(flat, [[0, 0]] * len(front) + [[0, height], [0, 0]])
    return ops.reshape(flat, (*front, height, count + 1, features))[..., :count + 1 - height, :]


@keras.saving.register_keras_serializable("recipes")
class MultidimensionalLSTM(layers.Layer):
    """Each place of an image sees the LSTM's outputs at its neighbours, to the left and above.

    Four of them, one from each corner, so that together they see the whole image. At a place with
    input x, the neighbours' outputs h1 (left), h2 (above) and cells c1, c2:

        i, f1, f2, o = sigmoid of W x + U1 h1 + U2 h2 + b, each its own;    g = tanh of the same
        c = i g + f1 c1 + f2 c2          h = o tanh(c)          outside the image h and c are 0

    Shapes: float (B, H, W, C) -> (B, H / rows, W / columns, 4 units), rounded up; H is known, W may be
    None. Channels: those from the upper left, upper right, lower left and lower right corner.
    block: (rows, columns) of pixels that one place of the LSTM sees at once.
    Source: Graves and Schmidhuber 2008, Offline handwriting recognition with multidimensional recurrent
    neural networks, after Graves, Fernandez and Schmidhuber 2007, arXiv:0705.2011. Departs: no peepholes.
    """

    def __init__(self, units, block=(1, 1), **options):
        super().__init__(**options)
        if units < 1 or min(block) < 1:
            raise ValueError("MultidimensionalLSTM needs units and block of at least 1. "
                             f"Received: units={units}, block={tuple(block)}")
        self.units, self.block = units, tuple(block)

    def build(self, input_shape):
        if len(input_shape) != 4 or input_shape[1] is None or input_shape[3] is None:
            raise ValueError("MultidimensionalLSTM takes (B, H, W, C), H and C known. "
                             f"Received: {tuple(input_shape)}")
        gates = GATES * self.units
        self.kernel = self.add_weight(shape=(*self.block, input_shape[3], 4 * gates), name="kernel",
                                      initializer=keras.initializers.VarianceScaling(SCALE))
        self.recurrent_kernel = self.add_weight(shape=(4, 2 * self.units, gates), name="recurrent_kernel",
                                                initializer=keras.initializers.LecunNormal())
        rows = -(-input_shape[1] // self.block[0])
        self.bias = self.add_weight(shape=(4 * gates,), name="bias", initializer=first_bias(self.units, rows))

    def call(self, images):
        x = ops.conv(images, self.kernel, strides=self.block, padding="same") + self.bias
        directions = [flipped(part, corner) for corner, part in enumerate(ops.split(x, 4, axis=-1))]
        # (4, B, H, H + W - 1, gates); outside of the image all gates are shut
        x = skewed(ops.stack(directions), IMPOSSIBLE)
        x = ops.transpose(x, (3, 0, 1, 2, 4))                                    # (diagonals, 4, B, H, gates)
        start = ops.zeros_like(x[0, ..., :2 * self.units])                       # outputs and cells
        _, states = ops.scan(self.step, start, x)
        # (4, B, H, W, units)
        outputs = unskewed(ops.transpose(states[..., :self.units], (1, 2, 3, 0, 4)))
        return ops.concatenate([flipped(outputs[corner], corner) for corner in range(4)], axis=-1)

    def step(self, state, x):
        """One diagonal of all four directions: state (4, B, H, 2 units), x (4, B, H, gates)."""
        above = ops.pad(state[:, :, :-1], [[0, 0], [0, 0], [1, 0], [0, 0]])
        left_output, left_cell = ops.split(state, 2, axis=-1)
        above_output, above_cell = ops.split(above, 2, axis=-1)
        neighbours = ops.concatenate([left_output, above_output], axis=-1)
        # One product for each direction, of all its places at once.
        recurrent = ops.matmul(ops.reshape(neighbours, (4, -1, 2 * self.units)), self.recurrent_kernel)
        gates = x + ops.reshape(recurrent, ops.shape(x))
        write, keep_left, keep_above, candidate, read = ops.split(gates, GATES, axis=-1)
        cell = (ops.sigmoid(write) * ops.tanh(candidate) + ops.sigmoid(keep_left) * left_cell
                + ops.sigmoid(keep_above) * above_cell)
        state = ops.concatenate([ops.sigmoid(read) * ops.tanh(cell), cell], axis=-1)
        return state, state

    def compute_output_shape(self, input_shape):
        height, width = (None if side is None else -(-side // block)
                         for side, block in zip(input_shape[1:3], self.block, strict=True))
        return (input_shape[0], height, width, 4 * self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "block": self.block}


def first_bias(units, rows):
    """First biases of the gates: 1 for what a single row keeps of the place to the left, as in any LSTM.

    Zero for the forget gates of several rows: of a half each, so that two together keep what there
    is, where two of about 1 would let the cell grow from place to place.
    """
    def initializer(shape, dtype=None):
        keep_left = np.arange(GATES * units) // units == 1
        return ops.convert_to_tensor(np.tile(np.where(keep_left & (rows == 1), 1.0, 0.0), 4), dtype)
    return initializer


def flipped(images, corner):
    """(B, H, W, F) turned so that the corner (0 to 3, by rows) lies at the upper left; its own inverse."""
    axes = [axis for axis, turned in ((1, corner // 2), (2, corner % 2)) if turned]
    return ops.flip(images, axis=axes) if axes else images


def multidimensional_lstm(input_shape, num_classes, *, block=(4, 3), cells=(2, 10, 50), features=(6, 20),
                          windows=((4, 3), (4, 3))):
    """Images of lines -> CTC outputs: MDLSTM layers, each seeing more at once than the one before.

    Source: Graves and Schmidhuber 2008, figure 2: the image in blocks of 4 rows and 3 columns is read in
    four directions by 2, then 10, then 50 cells; between them, windows of the four directions' outputs
    go through 6 and 20 tanh units; the last outputs are summed over the rows. Departs: no peepholes, and
    the mean in place of the sum.
    Shapes: float (B, H, W, C), H known -> (B, steps, 1 + num_classes) logits, the blank first; steps is W
    divided by the columns of block and windows, rounded up each time.
    Raises ValueError where there is not one window, with its features, between any two layers.
    """
    if not len(cells) == len(features) + 1 == len(windows) + 1:
        raise ValueError("there is a window, with its features, between any two layers of cells. Received: "
                         f"{len(cells)} cells, {len(features)} features, {len(windows)} windows")
    image = keras.Input(input_shape, name="image")
    x = MultidimensionalLSTM(cells[0], block, name="mdlstm1")(image)
    for layer, (units, window, width) in enumerate(zip(cells[1:], windows, features, strict=True), 2):
        x = layers.Conv2D(width, window, strides=window, padding="same", activation="tanh",
                          name=f"windows{layer}")(x)
        x = MultidimensionalLSTM(units, name=f"mdlstm{layer}")(x)
    return keras.Model(image, ctc_output(collapsed(x), num_classes), name="multidimensional_lstm")


def collapsed(x):
    """(B, H, W, F) -> (B, W, F), the mean over the rows."""
    x = layers.AveragePooling2D((x.shape[1], 1), name="collapse")(x)
    return layers.Reshape((-1, x.shape[3]), name="sequence")(x)


def columns_blstm(input_shape, num_classes, *, columns=4, units=(64, 64)):
    """The one-dimensional rival: some columns of pixels at a time, from both ends, with a CTC output.

    Shapes: float (B, H, W, C), H known and W a multiple of columns -> (B, W / columns, 1 + num_classes)
    logits, the blank first. Raises ValueError for another width.
    """
    height, width, channels = input_shape
    if width is not None and width % columns:
        raise ValueError("the width must be a multiple of columns. "
                         f"Received: width={width}, columns={columns}")
    image = keras.Input(input_shape, name="image")
    x = layers.Permute((2, 1, 3), name="columns")(image)                        # (B, W, H, C)
    x = layers.Reshape((-1, columns * height * channels), name="sequence")(x)
    for layer, width in enumerate(units, 1):
        x = layers.Bidirectional(layers.LSTM(width, return_sequences=True), name=f"blstm{layer}")(x)
    return keras.Model(image, ctc_output(x, num_classes), name="columns_blstm")
