"""First biases with which a gated network remembers for as long as its sequences ask."""
import keras
from keras import ops


@keras.saving.register_keras_serializable("models")
class ChronoBias(keras.initializers.Initializer):
    """Biases of keras.layers.LSTM (without unit_forget_bias) or GRU that remember 1 to `longest` - 1 steps.

    A unit whose forget gate is sigmoid(b) forgets with a time constant of about 1 + exp(b) steps. So

        b = log u, u uniform in [1, longest - 1]     of the LSTM's forget gate and the GRU's update gate z
        -b                                           of the LSTM's input gate; all other biases 0

    inputs: False leaves the LSTM's input gate at 0, for networks that must take in all at one step.

    Source: Tallec and Ollivier 2018, Can recurrent neural networks warp time?, arXiv:1804.11188, eq. 16.
    Shapes: (4 H,) for the LSTM's gates i, f, c, o; (2, 3 H), of inputs and of states, for the GRU's z, r, h
    (with reset_after, Keras's default), whose z says how much is kept.
    Raises ValueError for longest < 3, or another shape.
    """

    def __init__(self, longest, seed=None, *, inputs=True):
        if longest < 3:
            raise ValueError(f"longest must be at least 3 steps. Received: {longest}")
        self.longest, self.seed, self.inputs = longest, seed, inputs
        self.uniform = keras.initializers.RandomUniform(1.0, longest - 1.0, seed)

    def __call__(self, shape, dtype=None):
        gates = 3 if len(shape) == 2 and shape[0] == 2 else 4
        if shape[-1] % gates or len(shape) != (1 if gates == 4 else 2):
            raise ValueError("chrono biases are for an LSTM, (4 H,), or a GRU, (2, 3 H). "
                             f"Received: shape={tuple(shape)}")
        units, dtype = shape[-1] // gates, dtype or keras.config.floatx()
        bias = ops.log(self.uniform((units,), dtype))
        others = ops.zeros((2 * units,), dtype)
        if gates == 4:
            return ops.concatenate([-bias if self.inputs else ops.zeros_like(bias), bias, others])
        of_inputs = ops.concatenate([bias, others])
        return ops.stack([of_inputs, ops.zeros_like(of_inputs)])

    def get_config(self):
        return {"longest": self.longest, "seed": self.seed, "inputs": self.inputs}
