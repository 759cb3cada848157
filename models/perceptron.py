"""The first artificial neurons: all or nothing, with weights set by hand or by a rule."""
import keras
from keras import layers, ops


def threshold_perceptron(input_shape=(2,), num_outputs=1, *, hidden=()):
    """Layers of threshold neurons: each gives +1 where its weighted sum reaches its threshold, else -1.

    Source: Rosenblatt 1958, The perceptron. A threshold is a bias of the other sign.
    Shapes: float (B, n) -> (B, num_outputs) of -1 and +1.
    Parameters: (n + 1) m per layer of m neurons with n inputs: 17 for 6-2-1, 9 for 2-2-1.
    The outputs are no logits and have no useful gradient: set the weights, or learn them layer
    by layer with the perceptron's rule.
    Raises ValueError for a width below 1.
    """
    if any(width < 1 for width in (*input_shape, *hidden, num_outputs)):
        raise ValueError(f"widths must be at least 1. Received: input_shape={tuple(input_shape)}, "
                         f"hidden={tuple(hidden)}, num_outputs={num_outputs}")
    stack = [keras.Input(input_shape, name="input")]
    for index, width in enumerate(hidden, 1):
        stack.append(layers.Dense(width, bipolar, name=f"hidden{index}"))
    stack.append(layers.Dense(num_outputs, bipolar, name="output"))
    return keras.Sequential(stack, name="threshold_perceptron")


@keras.saving.register_keras_serializable("models")
def bipolar(net):
    """+1 where net >= 0, else -1: any shape."""
    return ops.where(net >= 0, ops.ones_like(net), -ops.ones_like(net))


def mcculloch_pitts(x, *, excitatory=(), inhibitory=(), threshold):
    """McCulloch and Pitts's neuron: fires if enough excitatory inputs do and no inhibitory one does.

    Source: McCulloch and Pitts 1943, A logical calculus of the ideas immanent in nervous
    activity. There are no weights to learn: an inhibitory input is a veto.
    x: (..., n) of 0 and 1.  excitatory, inhibitory: which of the n inputs are wired so.
    -> (...,) of 0.0 and 1.0.  Raises ValueError for an input that is neither 0 nor 1, or wired twice.
    """
    x = ops.convert_to_tensor(x, "float32")
    if bool(ops.any((x != 0) & (x != 1))):
        raise ValueError(f"a McCulloch-Pitts neuron takes inputs of 0 and 1. Received: {x}")
    if set(excitatory) & set(inhibitory):
        raise ValueError("an input excites or inhibits, not both. "
                         f"Received: excitatory={excitatory}, inhibitory={inhibitory}")
    total = sum((x[..., index] for index in excitatory), ops.zeros(x.shape[:-1]))
    vetoes = sum((x[..., index] for index in inhibitory), ops.zeros(x.shape[:-1]))
    return ops.cast((total >= threshold) & (vetoes == 0), "float32")


GATES = {                        # of two inputs; each is one McCulloch-Pitts neuron
    "AND": {"excitatory": (0, 1), "threshold": 2},
    "OR": {"excitatory": (0, 1), "threshold": 1},
    "NOR": {"inhibitory": (0, 1), "threshold": 0},
    "NOT first": {"inhibitory": (0,), "threshold": 0},
    "first AND NOT second": {"excitatory": (0,), "inhibitory": (1,), "threshold": 1},
    "second AND NOT first": {"excitatory": (1,), "inhibitory": (0,), "threshold": 1},
}


# What a neuron makes of its weighted sum net, of any shape.

@keras.saving.register_keras_serializable("models")
def step(net, a=0.0, b=1.0, c=0.0):
    """a below the threshold c, b from there on."""
    return ops.where(net >= c, b, a)


def ramp(net, a=0.0, b=1.0, c=0.0, d=1.0):
    """a up to c, b from d on, and a straight line between. Raises ValueError unless c < d."""
    if not c < d:
        raise ValueError(f"the ramp rises from c to d, so c must be less than d. Received: c={c}, d={d}")
    return a + (b - a) * ops.clip((net - c) / (d - c), 0.0, 1.0)


def sigmoid(net, x=1.0, y=0.0, z=0.0):
    """z + 1 / (1 + exp(-x net + y)): x is the steepness, y / x the middle, z the floor."""
    return z + ops.sigmoid(x * net - y)


def gaussian(net, mu=0.0, sigma=1.0):
    """exp(-((net - mu) / sigma)^2 / 2) / (sigma sqrt(2 pi)). Raises ValueError unless sigma > 0."""
    if not sigma > 0:
        raise ValueError(f"sigma must be positive. Received: {sigma}")
    return ops.exp(-ops.square((net - mu) / sigma) / 2) / (sigma * (2 * 3.141592653589793) ** 0.5)
