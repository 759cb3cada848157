"""What a network makes of an image on its way: the outputs of its stages, by name."""
import re

import keras

# The layers that builders name so: the end of the stem, of each stage, and the vector before the logits.
STAGE = re.compile(r"stem|stage\d+|features")


def features(model, names=None):
    """A keras.Model of the same weights and inputs whose output is {name: output of that layer}.

    names: of layers, in the order wanted; by default those that end the model's stages: "stem",
    "stage1", "stage2", ..., "features". Models of other makers need names (keras.applications'
    ResNet50: "conv2_block3_out" to "conv5_block3_out").
    Of a layer that is called more than once, the output of its first call.
    Raises ValueError for a model that is not built or has no such layers, or a name that it has no
    layer of.
    """
    own = [layer.name for layer in model.layers]
    if names is None:
        names = [name for name in own if STAGE.fullmatch(name)]
        if not names:
            raise ValueError(f"{model.name!r} has no layers named stem, stage1, stage2, ... or features. "
                             f"Pass names, of {', '.join(own[:3])}, ..., {', '.join(own[-3:])}.")
    if isinstance(names, str) or not names:
        raise ValueError(f"names must be a list of at least one layer's name. Received: {names!r}")
    unknown = [name for name in names if name not in own]
    if unknown:
        raise ValueError(f"{model.name!r} has no layer named {unknown[0]!r}. "
                         f"It has {', '.join(own[:3])}, ..., {', '.join(own[-3:])}.")
    try:
        outputs = {name: model.get_layer(name).output for name in names}
        return keras.Model(model.inputs if len(model.inputs) > 1 else model.inputs[0], outputs,
                           name=f"{model.name}_features")
    except (AttributeError, ValueError) as error:
        raise ValueError(f"{model.name!r} is not built, or {', '.join(names)} are not all in its graph: "
                         f"{error}") from error
