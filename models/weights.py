"""Weights for a network: of ImageNet through keras.applications, or from a file, and what goes with them."""
import contextlib
import dataclasses
import functools
import io
import json
import math
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import ml_dtypes  # noqa: F401  numpy has no bfloat16 of its own, and safetensors asks it for one
import numpy as np
from keras import layers

# The names of our models, and the builders of keras.applications whose weights fit.
IMAGENET = {
    "vgg16": "VGG16", "vgg19": "VGG19", "resnet50": "ResNet50", "resnet101": "ResNet101",
    "resnet152": "ResNet152", "resnet50_v2": "ResNet50V2", "resnet101_v2": "ResNet101V2",
    "resnet152_v2": "ResNet152V2", "densenet121": "DenseNet121", "densenet169": "DenseNet169",
    "densenet201": "DenseNet201"}
# Those that torchvision has weights for.
TORCHVISION = re.compile(r"alexnet_owt|googlenet_bn|densenet(121|161|169|201)|vgg(11|13|16|19)(_bn)?|"
                         r"resnet(18|34)(_v1_5)?|resnet(50|101|152)_v1_5")
SCALINGS = {
    "caffe": {"mean": (123.68 / 255, 116.779 / 255, 103.939 / 255), "std": 1 / 255, "bgr": True},
    "torch": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "bgr": False},
    "tf": {"mean": 0.5, "std": 0.5, "bgr": False},
}
PARTS = ("weight", "bias", "running_mean", "running_var")          # in the order of Keras's layers
OUTPUT_LAYERS = ("fc", "classifier")                               # of torchvision's networks
TIMM_VGG = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}


def weighted(model, weights=None, *, but=()):
    """The model with weights: what every builder does with its argument weights.

    but: names of layers that keep their own; ("logits",) for an output layer of other classes.

    weights: None for none; "imagenet" for those of keras.applications (VGG-16 and 19; ResNet-50, 101 and
    152, v1 and v2; DenseNet-121, 169 and 201); or the path of a file:
        .weights.h5, .keras   saved from the same network. Of a .keras file the weights are read and
                              nothing else; one that carries code or classes that are not registered
                              is refused
        .safetensors          in torchvision's and timm's layout: alexnet_owt, VGG, GoogLeNet
                              (batch_norm=True), ResNet (version="v1.5"), DenseNet. Without PyTorch
    What the images are to be like, preprocess knows. Moving statistics come along. A network without
    its top leaves out what the file has of it, and GoogLeNet the auxiliary classifiers it does not have.
    Raises ValueError for weights that do not fit, naming the first layer that differs and both shapes, or
    that are not there for this network; FileNotFoundError; ConnectionError where "imagenet" is neither
    in Keras's cache nor to be had. The model is then as it was.
    """
    if weights is None:
        return model
    if weights == "imagenet":
        give(model, of_imagenet(model, but), [], "the weights of ImageNet", but)
        return model
    path = Path(weights).expanduser()
    reader = next((read for suffix, read in READERS.items() if path.name.endswith(suffix)), None)
    if reader is None:
        advice = ("A PyTorch checkpoint can carry code, and only PyTorch reads it: save it once with "
                  "safetensors.torch.save_file(model.state_dict(), PATH)."
                  if path.suffix in (".pt", ".pth", ".bin", ".ckpt") else
                  f'weights can be None, "imagenet" or a file that ends in {", ".join(READERS)}.')
        raise ValueError(f"no weights can be read from {str(weights)!r}. {advice}")
    if not path.is_file():
        raise FileNotFoundError(f"weights: there is no file {path}")
    with reader(path, model) as (found, extra):
        give(model, found, extra, f"the weights in {path}", but)
    return model


@dataclasses.dataclass(frozen=True)
class Value:
    """A weight in our layout, that is read once all shapes are known to fit."""
    shape: tuple
    read: Callable[[], np.ndarray]


def give(model, found, extra, source, but=()):
    """Assigns found, {layer name: Values}, if every layer of the model is there with its shapes.

    but: names of layers that are left as they are.
    extra: what the source has beyond that and should not have.
    Raises ValueError, before anything is assigned, with the first layer that differs.
    """
    own = [layer for layer in model.layers if layer.weights and layer.name not in but]
    for layer in own:
        ours = [tuple(weight.shape) for weight in layer.weights]
        theirs = [tuple(value.shape) for value in found.get(layer.name, ())]
        if ours != theirs:
            raise ValueError(
                f"{source} do not fit {model.name}: layer {layer.name!r} has {told(ours)} in the network "
                f"and {told(theirs)} in the weights.{other_classes(layer, ours, theirs)} "
                "Nothing was changed.")
    if extra:
        raise ValueError(f"{source} do not fit {model.name}: they have more layers, the first of them "
                         f"{extra[0]}. Nothing was changed.")
    values = [(weight, value.read()) for layer in own
              for weight, value in zip(layer.weights, found[layer.name], strict=True)]
    for weight, value in values:
        weight.assign(value)


def told(shapes):
    """Shapes of a layer's weights, in words."""
    return " and ".join(map(str, shapes)) or "nothing"


def other_classes(layer, ours, theirs):
    """What to do if the number of classes is all that differs."""
    if layer.name != "logits" or not theirs or ours[0][:-1] != theirs[0][:-1]:
        return ""
    return (f" The weights are for num_classes={theirs[0][-1]}, the network has {ours[0][-1]}; with "
            "include_top=False they fit, for an output layer of one's own.")


def of_imagenet(model, but=()):
    """Values from keras.applications, which downloads its file, checks its hash and keeps it."""
    if model.name not in IMAGENET:
        raise ValueError(f'weights="imagenet" is there for {", ".join(IMAGENET)}, not for {model.name}. '
                         "weights can also be the path of a file.")
    own = [layer for layer in model.layers if layer.weights]
    top = has_top(model)
    if top and "logits" not in but and model.get_layer("logits").units != 1000:
        raise ValueError(f"the weights of ImageNet are for num_classes=1000, {model.name} has "
                         f"{model.get_layer('logits').units}. With include_top=False they fit, for an output "
                         "layer of one's own.")
    with downloads(f"the weights of {model.name}",
                   f"or give weights= the path of a file ({', '.join(READERS)})"):
        reference = getattr(keras.applications, IMAGENET[model.name])(weights="imagenet", include_top=top)
    return moved(own, reference)


def moved(own, reference):
    """{name of ours: Values}, layer by layer, from a network of keras.applications."""
    theirs = [layer for layer in reference.layers if layer.weights]
    return {layer.name: [Value(tuple(weight.shape), functools.partial(keras.ops.convert_to_numpy, weight))
                         for weight in other.weights]
            for layer, other in zip(own, theirs, strict=False)}


def has_top(model):
    """Whether it ends in a classifier."""
    return any(layer.name == "logits" for layer in model.layers)


@contextlib.contextmanager
def downloads(what, otherwise):
    """Says in one sentence that Keras could not fetch a file."""
    try:
        yield
    except Exception as error:                   # keras raises a bare Exception where a download fails
        if type(error) is not Exception and not isinstance(error, OSError):
            raise
        raise ConnectionError(f"{what} are not in Keras's cache (~/.keras) and could not be downloaded: "
                              f"{error}. Run this once with a connection, {otherwise}.") from error


@contextlib.contextmanager
def of_h5(path, model):
    """Values from a .weights.h5 file, and the layers that only the file has."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not a weights file of Keras, or is damaged: {error}") from error
    with file:
        yield of_groups(file, model)


@contextlib.contextmanager
def of_keras(path, model):
    """Values from the weights in a .keras file, of whose other content nothing is made."""
    try:
        with zipfile.ZipFile(path) as archive:
            config, stored = json.loads(archive.read("config.json")), archive.read("model.weights.h5")
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a model saved by Keras 3, or is damaged: {error}") from error
    for part in descriptions(config.get("config", {})):
        name, registered = part["class_name"], part.get("registered_name")
        if name in ("Lambda", "__lambda__"):
            raise ValueError(f"{path} is refused: it carries code, as a Lambda layer or a lambda function. "
                             "Take the weights out of it where it was made: model.save_weights(PATH).")
        builtin = str(part.get("module")).split(".")[0] in ("keras", "builtins")
        if not builtin and keras.saving.get_registered_object(registered) is None:
            raise ValueError(f"{path} is refused: it has a {name} of {part.get('module')}, a class that is "
                             "not registered here. Take the weights out of it where it was made: "
                             "model.save_weights(PATH).")
    with h5py.File(io.BytesIO(stored), "r") as file:
        yield of_groups(file, model)


def descriptions(config):
    """Every object that a configuration describes."""
    if isinstance(config, dict):
        if "class_name" in config and ("module" in config or config["class_name"] == "__lambda__"):
            yield config
        elif set(config) == {"value"} and isinstance(config["value"], list):
            yield {"class_name": "__lambda__"}       # a lambda as activation is its code alone
        for part in config.values():
            yield from descriptions(part)
    elif isinstance(config, list):
        for part in config:
            yield from descriptions(part)


def of_groups(file, model):
    """Keras names the groups after the layers' classes, counted: layers/conv2d_3/vars/0."""
    if "layers" not in file:
        raise ValueError(f"{file.filename} has no group of layers: it was not saved from a network of this "
                         "library by save_weights or save.")
    counts, found, known = {}, {}, set()
    for layer in model.layers:
        kind = snake_case(type(layer).__name__)
        counts[kind] = counts.get(kind, -1) + 1
        group = f"{kind}_{counts[kind]}" if counts[kind] else kind
        stored = file["layers"].get(f"{group}/vars", {})
        known.add(group)
        found[layer.name] = [Value(stored[str(i)].shape, functools.partial(np.asarray, stored[str(i)]))
                             for i in range(len(stored))]
    extra = [group for group, content in file["layers"].items()
             if group not in known and len(content.get("vars", ()))
             and not (group.startswith("dense") and not has_top(model))]
    return found, extra


def snake_case(name):
    """Conv2D -> conv2d, BatchNormalization -> batch_normalization; as keras.saving does it."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


@contextlib.contextmanager
def of_safetensors(path, model):
    """Values from tensors named and laid out as torchvision's, and the tensors that are not used."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError("reading .safetensors takes a package: pip install safetensors") from error
    names = torch_names(model)
    try:
        file = safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged: {error}") from error
    with file:
        keys = [key for key in file.keys() if not key.endswith("num_batches_tracked")]  # noqa: SIM118  no dict
        stored = {current(key): key for key in keys}
        found, used = {}, set()
        for layer in model.layers:
            if not layer.weights:
                continue
            keys = [f"{names[layer.name]}.{part}" for part in PARTS]
            used.update(keys)
            rank, rows = len(layer.weights[0].shape), flattened_map(model, layer)
            found[layer.name] = [
                Value(arranged_shape(file.get_slice(stored[key]).get_shape(), rank),
                      functools.partial(read_arranged, file, stored[key], rank, rows))
                for key in keys if key in stored]
        prefixes = set(names.values()) | {name.split(".")[0] for name in names.values()}
        left_out = {"aux1", "aux2"} - prefixes | (set() if has_top(model) else set(OUTPUT_LAYERS))
        yield found, [key for name, key in stored.items()
                      if name not in used and name.split(".")[0] not in left_out]


def torch_names(model):
    """{name of our layer: name of torchvision's module}."""
    if not TORCHVISION.fullmatch(model.name):
        raise ValueError("torchvision's and timm's layout is known for alexnet_owt, googlenet with "
                         "batch_norm=True, densenet121, 161, 169 and 201, vgg11 to vgg19, resnet18 and "
                         'resnet34, and resnet50, 101 and 152 with version="v1.5". '
                         f"Received: a model named {model.name}")
    family = re.match("[a-z]+", model.name)[0]
    if family in ("alexnet", "vgg"):
        return numbered_names(model)
    name_of = {"googlenet": googlenet_name, "resnet": resnet_name, "densenet": densenet_name}[family]
    return {layer.name: name_of(layer.name) for layer in model.layers if layer.weights}


def numbered_names(model):
    """features.0, ... in the order of layers, and from the flattened map on classifier.0, ..."""
    names, part, index = {}, "features", 0
    for layer in model.layers:
        if layer.name == "features":
            part, index = "classifier", 0
        elif not isinstance(layer, (layers.InputLayer, layers.ZeroPadding2D)):       # which torchvision lacks
            names[layer.name] = f"{part}.{index}"
            index += 1
    return names


def googlenet_name(name):
    """inception3a_branch2_0_conv -> inception3a.branch2.0.conv"""
    return "fc" if name == "logits" else name.replace("_", ".")


def resnet_name(name):
    """stage2_block0_conv1 -> layer2.0.conv1, stage2_block0_shortcut_bn -> layer2.0.downsample.1"""
    found = re.fullmatch(r"stage(\d)_block(\d+)_(\w+)", name)
    if found:
        part = {"shortcut_conv": "downsample.0", "shortcut_bn": "downsample.1"}.get(found[3], found[3])
        return f"layer{found[1]}.{found[2]}.{part}"
    return {"stem_conv": "conv1", "stem_bn": "bn1", "logits": "fc"}[name]


def densenet_name(name):
    """stage2_layer0_conv1 -> features.denseblock2.denselayer1.conv1, transition1_bn -> ...transition1.norm"""
    ends = {"stem_conv": "features.conv0", "stem_bn": "features.norm0", "stage4_bn": "features.norm5",
            "logits": "classifier"}
    if name in ends:
        return ends[name]
    first, *rest = name.replace("bn", "norm").split("_")
    if first.startswith("transition"):
        return ".".join(["features", first, *rest])
    layer, part = rest
    return f"features.denseblock{first[5:]}.denselayer{int(layer[5:]) + 1}.{part}"


def current(key):
    """A key as torchvision has it today: its DenseNet files say norm.1, timm's VGG has names of its own."""
    key = re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)
    for old, new in TIMM_VGG.items():
        key = re.sub(f"^{re.escape(old)}\\.", f"{new}.", key)
    return key


def flattened_map(model, layer):
    """(h, w, C) of the map whose flattening a dense layer reads, or None."""
    flat = {"hidden1": "features", "aux1_fc1": "aux1_features", "aux2_fc1": "aux2_features"}.get(layer.name)
    flat = model.get_layer(flat) if flat else None
    return tuple(flat.input.shape[1:]) if isinstance(flat, layers.Flatten) else None


def arranged_shape(shape, rank):
    """(out, in, h, w) -> (h, w, in, out); for a kernel of rank 2 (out, ...) -> (in, out); (out,) stays."""
    if rank == 2 and len(shape) > 1:
        return (math.prod(shape[1:]), shape[0])
    return (*shape[2:], shape[1], shape[0]) if len(shape) == 4 else tuple(shape)


def read_arranged(file, key, rank, rows):
    """A tensor in our layout. rows: (h, w, C) where PyTorch has flattened (C, h, w)."""
    value = np.asarray(file.get_tensor(key), "float32")
    if rank == 2 and value.ndim > 1:
        if rows:
            height, width, channels = rows
            value = value.reshape(len(value), channels, height, width).transpose(0, 2, 3, 1)
        return value.reshape(len(value), -1).T
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value


READERS = {".weights.h5": of_h5, ".keras": of_keras, ".safetensors": of_safetensors}


def preprocess(name, weights="imagenet"):
    """The function from images to what a network with these weights takes.

    name: of the model, model.name. weights: "imagenet", or "torchvision" for a file in its layout.
    The function takes float or uint8 (B, H, W, 3), RGB from 0 to 255, and returns float32 of that
    shape: for "imagenet" keras.applications' own (VGG and ResNet v1: BGR, the mean pixel subtracted;
    v2: -1 to 1; DenseNet: standardised), for "torchvision" standardised, for GoogLeNet -1 to 1.
    Raises ValueError for a network that such weights are not there for.
    """
    mode = scaling_mode(name, weights)

    def prepared(images):
        return keras.applications.imagenet_utils.preprocess_input(
            np.array(images, "float32"), data_format="channels_last", mode=mode)
    return prepared


def pixel_scaling(name, weights="imagenet"):
    """What preprocess does, as numbers: {"mean", "std", "bgr"}, of red, green and blue in [0, 1].

    The network takes (pixel / 255 - mean) / std, where bgr blue first. Arguments, errors: preprocess's.
    """
    return SCALINGS[scaling_mode(name, weights)]


def scaling_mode(name, weights):
    """"caffe", "torch" or "tf", as keras.applications calls them. Raises ValueError."""
    if weights == "imagenet" and name in IMAGENET:
        mode = "caffe"
        if name.startswith("densenet"):
            mode = "torch"
        elif name.endswith("_v2"):
            mode = "tf"
    elif weights == "torchvision" and TORCHVISION.fullmatch(name):
        mode = "tf" if name == "googlenet_bn" else "torch"
    else:
        raise ValueError('weights must be "imagenet", for ' + ", ".join(IMAGENET) + ', or "torchvision", for '
                         f"the networks whose files weighted reads. Received: {name!r}, weights={weights!r}")
    return mode


def decode_predictions(scores, top=5):
    """(B, 1000) logits or probabilities -> for each image the top (class id, name, score), best first.

    By keras.applications, which fetches the names once. Raises ValueError for other than 1000 classes,
    ConnectionError where the names are neither in Keras's cache nor to be had.
    """
    scores = keras.ops.convert_to_numpy(scores)
    if scores.ndim != 2 or scores.shape[1] != 1000:
        raise ValueError("scores must be (B, 1000), one for each class of ImageNet. "
                         f"Received: {scores.shape}")
    with downloads("the names of ImageNet's classes", "and they are kept"):
        return keras.applications.imagenet_utils.decode_predictions(scores, top=top)
