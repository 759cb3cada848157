"""What a network costs before it is run: parameters, multiply-adds, activation memory, depth, by layer."""
import contextlib
import dataclasses
import math
import re

import keras
from keras import layers

from models.lenet import Codes, PartialConv2D
from models.multidimensional_lstm import MultidimensionalLSTM

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
WEIGHTED = (*CONVOLUTIONS, *TRANSPOSED, *SEPARABLE, layers.Dense, layers.EinsumDense, layers.RNN,
            PartialConv2D, MultidimensionalLSTM)
# Their weights are a table that rows are looked up in, and drawings that distances are taken from.
NO_PRODUCTS = (layers.Embedding, Codes)
# Layers and operations that give their input again, at most in another shape.
VIEWS = {"Flatten", "Reshape", "Identity", "ExpandDims", "Squeeze"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One call of one layer. A layer that is called twice has two rows, its parameters in the first."""
    name: str                    # "outer/inner" for a layer of a model or layer within the model
    kind: str                    # the layer's class
    output_shape: tuple          # without the batch; for several outputs a tuple of shapes
    parameters: int
    multiply_adds: int           # per example
    activations: int             # elements per example
    activation_bytes: int
    depth: int                   # weighted layers on the longest path up to here, this one included


@dataclasses.dataclass(frozen=True)
class Complexity:
    """What complexity counts."""
    parameters: int
    trainable_parameters: int
    multiply_adds: int           # per example
    activations: int             # elements per example
    activation_bytes: int        # of the same, in the precision of each layer's output
    depth: int                   # weighted layers on the longest path
    rows: tuple = dataclasses.field(repr=False)      # of Row, in the order of computation
    uncounted: tuple             # names of layers with matrices whose multiply-adds are not known here


def complexity(model, input_shape=None):
    """The Complexity of any Keras model that is built, with the models and layers within it.

    input_shape: of one example, without the batch; by default the model's own. For several inputs
    a list, tuple or dict of shapes, as the model takes them.

    multiply_adds: what convolutions (grouped, dilated, depthwise, separable, transposed), dense,
    einsum-dense and recurrent layers multiply with their kernels. Biases, normalisation, pooling,
    activations, embeddings and products of activations (attention) do not count. Zeros that padding
    appends are multiplied too; a transposed convolution multiplies each place of its input by its
    whole kernel; a recurrent layer's kernels count at every step.
    activations: elements of the outputs of all layers, which training keeps for its backward pass.
    Inputs, and Flatten, Reshape and Identity, add none; an activation that is a layer of its own
    counts, one inside of a layer does not. A recurrent layer has its states of every step.
    depth: weighted layers, those whose multiply_adds count. Where a layer calls others without
    showing a graph (attention, a layer or model of one's own), all that it calls, one after another.
    Raises ValueError for a model that is not built, an input_shape that does not fit, or a size that
    is not known.
    """
    if not model.built:
        raise ValueError(f"complexity takes a model that is built: begin {model.name!r} with keras.Input, or "
                         "call it once on a batch.")
    counter, graph = Counter(), graph_of(model)
    # Within the scope variables that wait for their first values go on waiting: shapes are enough here.
    with keras.StatelessScope(initialize_variables=False):
        if graph is not None:
            specs = input_specs(model, graph, input_shape)
            _, depths = counter.graph(graph, specs, [0] * len(specs), "", 1)
        elif input_shape is None:
            raise ValueError(f"{model.name!r} does not say what it takes. Pass input_shape, without batch.")
        else:
            specs = keras.tree.map_shape_structure(lambda shape: keras.KerasTensor((1, *shape)), input_shape)
            _, depths = counter.composite(model, (specs,), {}, 0, "", 1)
    rows = counter.rows
    return Complexity(
        sum(math.prod(weight.shape) for weight in model.weights),
        sum(math.prod(weight.shape) for weight in model.trainable_weights),
        sum(row.multiply_adds for row in rows), sum(row.activations for row in rows),
        sum(row.activation_bytes for row in rows), max(depths), tuple(rows), tuple(counter.uncounted))


def graph_of(model):
    """The keras.Function of a functional or sequential model; None for what has no graph."""
    if isinstance(model, keras.Sequential):
        return getattr(model, "_functional", None)
    return model if isinstance(model, keras.Function) else None


def input_specs(model, graph, input_shape):
    """KerasTensors of one example each, in the order of graph.inputs."""
    shapes = [tensor.shape[1:] for tensor in graph.inputs]
    if input_shape is not None:
        given = []
        try:
            keras.tree.map_shape_structure(given.append, input_shape)
        except TypeError:
            given = [input_shape]
        fits = len(given) == len(shapes) and all(
            isinstance(one, (tuple, list)) and len(one) == len(own)
            and all(size in (None, side) for size, side in zip(own, one, strict=True))
            for own, one in zip(shapes, given, strict=True))
        if not fits:
            raise ValueError(f"{model.name!r} takes {' and '.join(map(str, shapes))} per example, where None "
                             f"is any size. Received: input_shape={input_shape}")
        shapes = [tuple(shape) for shape in given]
    for shape in shapes:
        if None in shape:
            raise ValueError(f"{model.name!r} takes {shape} per example, and None is no size to count with. "
                             "Pass input_shape with every size, without the batch.")
    return [keras.KerasTensor((1, *shape), dtype=tensor.dtype)
            for shape, tensor in zip(shapes, graph.inputs, strict=True)]


class Counter:
    """Follows one example's shapes through a model, and writes a row for each layer on the way.

    Its methods return the outputs as KerasTensors, and the depth of each of them.
    """

    def __init__(self):
        self.rows, self.uncounted, self.seen = [], [], set()

    def graph(self, graph, inputs, depths, prefix, times):
        """Every node of a keras.Function, in its own order of computation."""
        specs, depth_of = {}, {}
        for tensor, spec, depth in zip(graph.inputs, inputs, depths, strict=True):
            specs[id(tensor)], depth_of[id(tensor)] = spec, depth
        for level in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[level]:
                if node.is_input or any(id(tensor) not in specs for tensor in node.input_tensors):
                    continue
                args, kwargs = node.arguments.fill_in(specs)
                before = max(depth_of[id(tensor)] for tensor in node.input_tensors)
                outputs, after = self.call(node.operation, args, kwargs, before, prefix, times)
                for tensor, spec, depth in zip(node.outputs, keras.tree.flatten(outputs), after, strict=True):
                    specs[id(tensor)], depth_of[id(tensor)] = spec, depth
        outputs = keras.tree.pack_sequence_as(graph._outputs_struct,
                                              [specs[id(tensor)] for tensor in graph.outputs])
        return outputs, [depth_of[id(tensor)] for tensor in graph.outputs]

    def call(self, operation, args, kwargs, depth, prefix, times):
        """One call of a layer, model or operation, which counts as often as times says."""
        name = prefix + operation.name
        inner = graph_of(operation)
        if inner is not None:
            inputs = keras.tree.flatten(args)
            return self.graph(inner, inputs, [depth] * len(inputs), f"{name}/", times)
        if isinstance(operation, layers.Layer):
            with told(f"layer {name!r}"):
                operation._assert_input_compatibility(args[0] if args else next(iter(kwargs.values())))
        if isinstance(operation, layers.TimeDistributed):
            _, steps, *rest = args[0].shape
            one = keras.KerasTensor((1, *rest), dtype=args[0].dtype)
            _, depths = self.call(operation.layer, (one,), {}, depth, f"{name}/", times * steps)
            return operation.compute_output_spec(*args, **kwargs), depths
        if isinstance(operation, layers.Bidirectional):
            for part in (operation.forward_layer, operation.backward_layer):
                self.call(part, args[:1], {}, depth, f"{name}/", times)
            outputs = operation.compute_output_spec(*args, **kwargs)
            return outputs, [depth + 1] * len(keras.tree.flatten(outputs))
        if not isinstance(operation, WEIGHTED) and parts(operation):
            return self.composite(operation, args, kwargs, depth, f"{name}/", times)
        with told(f"layer {name!r}"):
            outputs = operation.compute_output_spec(*args, **kwargs)
            if any(None in spec.shape for spec in keras.tree.flatten(outputs)):
                # EinsumDense answers with the sizes that it was given, None too: then its call knows.
                outputs = keras.Operation.compute_output_spec(operation, *args, **kwargs)
        depth += isinstance(operation, WEIGHTED)
        self.row(operation, name, args, outputs, depth, times)
        return outputs, [depth] * len(keras.tree.flatten(outputs))

    def composite(self, layer, args, kwargs, depth, prefix, times):
        """A layer that calls others: its call is traced, and each one that it calls is counted."""
        calls = []
        with recorded(calls):
            outputs = keras.Operation.compute_output_spec(layer, *args, **kwargs)
        for called, inputs, keywords in calls:
            _, depths = self.call(called, inputs, keywords, depth, prefix, times)
            depth = max(depths)
        own = self.parameters(layer)
        if own:
            self.rows.append(Row(prefix.rstrip("/") or layer.name, type(layer).__name__, shapes_of(outputs),
                                 own, 0, 0, 0, depth))
        return outputs, [depth] * len(keras.tree.flatten(outputs))

    def row(self, layer, name, args, outputs, depth, times):
        flat = keras.tree.flatten(outputs)
        for spec in flat:
            if None in spec.shape:
                raise ValueError(f"the output of layer {name!r} has the shape {spec.shape}, and None is no "
                                 "size to count with.")
        products = multiply_adds(layer, args, flat)
        if products is None:
            self.uncounted.append(name)
        if isinstance(layer, layers.RNN):
            elements = states(layer, args[0], flat[0])
            sizes = [elements, elements * element_bytes(flat[0].dtype)]
        elif type(layer).__name__ in VIEWS:
            sizes = [0, 0]
        else:
            sizes = [sum(math.prod(spec.shape) for spec in flat),
                     sum(math.prod(spec.shape) * element_bytes(spec.dtype) for spec in flat)]
        self.rows.append(Row(name, type(layer).__name__, shapes_of(outputs), self.parameters(layer),
                             times * (products or 0), times * sizes[0], times * sizes[1], depth))

    def parameters(self, layer):
        """Of the weights that no row has counted yet."""
        new = {id(weight): weight for weight in getattr(layer, "weights", ()) if id(weight) not in self.seen}
        self.seen.update(new)
        return sum(math.prod(weight.shape) for weight in new.values())


def multiply_adds(layer, args, outputs):
    """Of one call for one example; None for a layer with matrices as weights that is not known."""
    if isinstance(layer, CONVOLUTIONS):
        return places(layer, outputs[0]) * math.prod(layer.kernel.shape)
    if isinstance(layer, TRANSPOSED):
        return places(layer, args[0]) * math.prod(layer.kernel.shape)
    if isinstance(layer, SEPARABLE):
        return places(layer, outputs[0]) * (math.prod(layer.depthwise_kernel.shape)
                                            + math.prod(layer.pointwise_kernel.shape))
    if isinstance(layer, (layers.Dense, PartialConv2D)):
        return math.prod(outputs[0].shape[:-1]) * math.prod(layer.kernel.shape)
    if isinstance(layer, layers.EinsumDense):
        return math.prod(outputs[0].shape) * summed(layer.equation, args[0].shape, layer.kernel.shape)
    if isinstance(layer, MultidimensionalLSTM):                  # at each place, in each direction
        return math.prod(outputs[0].shape[:-1]) * (math.prod(layer.kernel.shape)
                                                   + math.prod(layer.recurrent_kernel.shape))
    cells = cells_of(layer)
    if all(hasattr(cell, "kernel") and hasattr(cell, "recurrent_kernel") for cell in cells):
        return sum(args[0].shape[1] * cell_places(cell, outputs[0])
                   * (math.prod(cell.kernel.shape) + math.prod(cell.recurrent_kernel.shape))
                   for cell in cells)
    return None


def places(layer, spec):
    """Height times width and so on: all axes but the channels'."""
    return math.prod(spec.shape[:-1] if layer.data_format == "channels_last" else
                     spec.shape[:1] + spec.shape[2:])


def summed(equation, inputs, kernel):
    """The product of the sizes that an einsum of inputs and kernel sums over."""
    first, second, result = re.split(",|->", equation.replace(" ", ""))
    sizes = dict(zip(second.replace("...", ""), kernel, strict=True))
    head, _, tail = first.partition("...")
    sizes.update(zip(head, inputs, strict=False))
    sizes.update(zip(reversed(tail), reversed(inputs), strict=False))
    return math.prod(size for label, size in sizes.items() if label not in result)


def cells_of(layer):
    """What multiplies by matrices in a layer: the cells of a recurrent one, else itself, or nothing."""
    if not isinstance(layer, layers.RNN):
        return [layer] if needs_products(layer) else []
    return getattr(layer.cell, "cells", [layer.cell])


def needs_products(layer):
    """Whether a layer has a weight of two or more axes that it multiplies by."""
    return not isinstance(layer, NO_PRODUCTS) and any(
        len(weight.shape) > 1 for weight in getattr(layer, "weights", ()))


def cell_places(cell, output):
    """1, or for a convolution over time the places of its map."""
    axes = len(cell.kernel.shape) - 2
    if not axes:
        return 1
    first = -axes - 1 if cell.data_format == "channels_last" else -axes
    return math.prod(output.shape[first:first + axes or None])


def states(layer, inputs, output):
    """Elements of the states of every step."""
    total = 0
    for cell in cells_of(layer):
        if hasattr(cell, "filters"):             # ConvLSTM, whose state_size is not known
            total += 2 * cell.filters * cell_places(cell, output)
        else:
            total += sum(keras.tree.flatten(cell.state_size))
    return inputs.shape[1] * total


def parts(operation):
    """The layers within a layer, at any depth."""
    if not isinstance(operation, layers.Layer):
        return []
    return list(operation._flatten_layers(include_self=False))


@contextlib.contextmanager
def recorded(calls):
    """While it lasts, calls gets (layer, args, kwargs) of every outermost call that complexity can count."""
    original, inside = layers.Layer.__call__, []

    def call(layer, *args, **kwargs):
        if inside or (parts(layer) and graph_of(layer) is None and not isinstance(
                layer, (*WEIGHTED, layers.TimeDistributed, layers.Bidirectional))):
            return original(layer, *args, **kwargs)
        calls.append((layer, *keras.tree.map_structure(as_spec, (args, kwargs))))
        inside.append(layer)
        try:
            return original(layer, *args, **kwargs)
        finally:
            inside.pop()

    layers.Layer.__call__ = call
    try:
        yield
    finally:
        layers.Layer.__call__ = original


def as_spec(value):
    """A KerasTensor of a tensor's shape and dtype; anything else stays as it is."""
    return keras.KerasTensor(value.shape, dtype=keras.backend.standardize_dtype(value.dtype)) if hasattr(
        value, "shape") and hasattr(value, "dtype") else value


@contextlib.contextmanager
def told(what):
    """Says where a shape did not fit."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what} cannot take this shape: {str(error).splitlines()[0]}") from error


def shapes_of(outputs):
    """The shape of the output without the batch, or a tuple of such shapes where there are several."""
    shapes = tuple(tuple(spec.shape[1:]) for spec in keras.tree.flatten(outputs))
    return shapes[0] if len(shapes) == 1 else shapes


def element_bytes(dtype):
    """float32 -> 4, bfloat16 -> 2, bool -> 1."""
    bits = re.search(r"\d+$", dtype)
    return max(int(bits[0]) // 8, 1) if bits else 1
