"""A trained network in another format, checked against the Keras model on the same input."""
import contextlib
import importlib.util
import io
import os
import shutil
from pathlib import Path

import keras
import numpy as np

from training.predict import model_file
from training.run import load_network

NAMES = {"saved_model": "saved_model", "onnx": "model.onnx", "litert": "model.tflite"}
PACKAGES = {"saved_model": {}, "onnx": {"tf2onnx": "tf2onnx", "onnxruntime": "onnxruntime"},
            "litert": {"ai_edge_litert": "ai-edge-litert"}}
TOLERANCE = 1e-4                 # of an output; float32 sums in another order differ by some 1e-6


def export(source, format, output=""):
    """Writes a model.keras, or that of a run folder, as saved_model, onnx or litert.

    -> (path, largest absolute difference of the outputs on one random batch; see example_inputs).
    What was trained in mixed precision computes in float32 there, as its weights are stored.
    A network that carries states begins with zeros, and goes on from call to call; only saved_model holds it.
    Raises FileExistsError rather than overwrite, ImportError naming what to install, and
    ValueError if the exported model gives something else than the Keras model; nothing is
    left behind then.
    """
    source = model_file(source)
    output = Path(output) if output else source.parent / NAMES[format]
    missing = [package for module, package in PACKAGES[format].items()
               if importlib.util.find_spec(module) is None]
    if missing:
        raise ImportError(f"--format {format} needs {' and '.join(missing)}: "
                          "pip install -r requirements-export.txt")
    suffix = Path(NAMES[format]).suffix
    if output.suffix != suffix and suffix:
        raise ValueError(f"--output must end with {suffix} for --format {format}. Received: {output}")
    if output.exists():
        raise FileExistsError(f"{output} exists already. Name another --output, or remove it first.")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"--output: there is no folder {output.parent}")
    model = in_float32(load_network(source))
    if not isinstance(model.input_shape, tuple):
        raise ValueError(f"{source} has several inputs, which cannot be checked here. "
                         "Use Keras's own model.export.")
    options, stateful = {}, [layer for layer in model._flatten_layers() if getattr(layer, "stateful", False)]
    if stateful:
        if format != "saved_model":
            raise ValueError(f"{source} carries states from call to call, which --format {format} cannot "
                             "hold. Take --format saved_model.")
        options["input_signature"] = [keras.InputSpec(tensor.dtype, tuple(tensor.shape))
                                      for tensor in model.inputs]
    inputs = example_inputs(model)
    wanted = np.asarray(model(inputs))
    for layer in stateful:
        layer.reset_state()                        # the exported network begins as this one did
    part = output.with_name(f".{output.stem}.part{output.suffix}")
    try:
        with contextlib.redirect_stdout(io.StringIO()), quiet_converter():
            model.export(part, format="tf_saved_model" if format == "saved_model" else format, verbose=False,
                         **options)
            received = np.asarray(RUNNERS[format](str(part), inputs))
        gap = float(np.abs(received - wanted).max()) if received.shape == wanted.shape else float("inf")
        if not gap <= TOLERANCE:
            raise ValueError(f"the exported model differs from the Keras model by {gap:.1e} on the same "
                             f"input, more than {TOLERANCE:g}, so it was not kept")
        os.replace(part, output)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        part.unlink(missing_ok=True)
    return output, gap


def in_float32(model):
    """The network itself, all of whose layers compute in float32 from now on, whatever the training did."""
    for layer in model._flatten_layers():
        if layer.dtype_policy.compute_dtype != layer.dtype_policy.variable_dtype:           # mixed precision
            layer.dtype_policy = "float32"
    return model


def example_inputs(model, steps=8):
    """A random batch that the model takes: numbers in [0, 1), or integers below its vocabulary.

    steps: the length of what has none. The batch is of 2, or of what a stateful network is fixed to.
    """
    shape = (model.input_shape[0] or 2, *(side or steps for side in model.input_shape[1:]))
    random, dtype = np.random.default_rng(0), str(model.inputs[0].dtype)
    if "int" not in dtype:
        return random.random(shape, np.float32)
    sizes = [size for layer in model._flatten_layers() for name in ("input_dim", "size")
             if isinstance(size := getattr(layer, name, None), int)]             # of Embedding and OneHot
    return random.integers(1, min(sizes, default=2), shape, dtype)


@contextlib.contextmanager
def quiet_converter():
    """The converters log their progress, and warn of their own deprecated calls."""
    import logging
    import warnings

    from training.start_up import filtered_stderr
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), filtered_stderr():
        warnings.simplefilter("ignore")
        yield


def run_saved_model(path, inputs):
    """The outputs of an exported SavedModel for an array (B, ...), by TensorFlow alone."""
    import tensorflow as tf
    loaded = tf.saved_model.load(path)               # its variables live as long as it does
    return loaded.serve(inputs)


def run_onnx(path, inputs):
    """The outputs of an exported ONNX file for an array (B, ...), by ONNX Runtime on the CPU."""
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: inputs})[0]


def run_litert(path, inputs):
    """The outputs of an exported LiteRT file for an array (B, ...), any B, by its interpreter."""
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_path=path)
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(source, inputs.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source, inputs)
    interpreter.invoke()
    return interpreter.get_tensor(target)


RUNNERS = {"saved_model": run_saved_model, "onnx": run_onnx, "litert": run_litert}
