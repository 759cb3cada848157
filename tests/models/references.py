"""Networks of other libraries as a yardstick: their weights, moved to ours layer by layer."""
import numpy as np
from soundness import images_for

PARTS = ("weight", "bias", "running_mean", "running_var")          # in Keras's order


def filled(model):
    """With every weight random, the moving statistics too."""
    generator = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(generator.uniform(0.5, 1.5, weight.shape) if "variance" in weight.path
                      else weight + 0.05 * generator.standard_normal(weight.shape))
    return model


def same_layers(model, reference):
    """Moves a Keras model's weights in the order of its layers: same logits, same statistics."""
    ours, theirs = ([layer for layer in each.layers if layer.weights] for each in (model, reference))
    for layer, other in zip(ours, theirs, strict=True):
        assert type(layer) is type(other)
        layer.set_weights(other.get_weights())
    images = images_for(model, 2)
    expected = np.asarray(reference(images))
    assert expected.std() > 0.01
    np.testing.assert_allclose(model(images), expected, atol=1e-4 * np.abs(expected).max())
    # With the statistics of the batch, and their moving averages after it:
    np.testing.assert_allclose(model(images, training=True), reference(images, training=True), atol=1e-3)
    for layer, other in zip(ours, theirs, strict=True):
        for value, wanted in zip(layer.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(value, wanted, rtol=1e-3, atol=1e-3)


def of_torchvision(model, reference, torch_name):
    """Gives a model the weights of a PyTorch module, whose name for each layer torch_name tells."""
    values, used = {name: value.numpy().copy() for name, value in reference.state_dict().items()}, set()
    for layer in model.layers:
        if layer.weights:
            name = torch_name(layer.name)
            parts = {part: values[f"{name}.{part}"] for part in PARTS if f"{name}.{part}" in values}
            used.update(f"{name}.{part}" for part in parts)
            if parts["weight"].ndim > 1:               # (out, in, ...) -> (..., in, out)
                parts["weight"] = np.moveaxis(parts["weight"], (0, 1), (-1, -2))
            layer.set_weights(list(parts.values()))
    assert used == {name for name in values if not name.endswith("num_batches_tracked")}
