"""The same weights give the same outputs on JAX and PyTorch; each backend needs a process of its own."""
import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from soundness import images_for

import models

PROGRAM = """
import sys
from pathlib import Path
import keras, numpy as np
import models

folder = Path(sys.argv[1])
for path in sorted(folder.glob("*.keras")):
    stored = np.load(path.with_suffix(".npz"))
    model = keras.saving.load_model(path, safe_mode=True)
    outputs = keras.tree.flatten(model(stored["images"]))
    for i, output in enumerate(outputs):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(output), stored[f"output{i}"], rtol=1e-4,
                                   atol=1e-4, err_msg=path.stem)
    main = keras.Model(model.input, model.output["main"] if len(outputs) == 3 else model.output)
    main.compile(keras.optimizers.SGD(1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = [main.train_on_batch(stored["images"], np.array([0, 1, 2, 3])) for _ in range(2)]
    assert np.isfinite(losses).all(), path.stem
print(keras.backend.backend(), len(list(folder.glob("*.keras"))))
"""
CAPTIONS = """
import sys
from pathlib import Path
import keras, numpy as np
from models import Captioner

stored = np.load(Path(sys.argv[1]) / "stored.npz")
model = keras.saving.load_model(Path(sys.argv[1]) / "model.keras", safe_mode=True)
logits = model({"image": stored["images"], "words": stored["words"]})
np.testing.assert_allclose(keras.ops.convert_to_numpy(logits), stored["logits"], rtol=1e-4, atol=1e-4)
for width in (1, 3):
    found = Captioner(model, start=2, end=3, silent=(1,), width=width, length=6).predict(
        stored["images"], batch_size=2, verbose=0)
    np.testing.assert_array_equal(found["words"], stored[f"words{width}"])
    np.testing.assert_allclose(found["log_probability"], stored[f"scores{width}"], rtol=1e-4, atol=1e-4)
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0))
batch = {"image": stored["images"], "words": stored["words"]}
assert np.isfinite([model.train_on_batch(batch, stored["words"]) for _ in range(2)]).all()
print(keras.backend.backend())
"""
BUILT = {
    "alexnet": lambda: models.alexnet((19, 20, 3), 5, stem_kernel=5, stem_stride=1, hidden=(7, 6)),
    "vgg11": lambda: models.vgg11((32, 33, 3), 5, batch_norm=True, hidden=(7,)),
    "googlenet": lambda: models.googlenet((79, 80, 3), 5, auxiliary=True),
    "googlenet_bn": lambda: models.googlenet((31, 33, 3), 5, batch_norm=True, auxiliary=True)}


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_same_outputs_and_a_training_step(tmp_path, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    for name, build in BUILT.items():
        model = build()
        images = images_for(model)
        outputs = keras.tree.flatten(model(images))
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", images=images,
                 **{f"output{i}": np.asarray(output) for i, output in enumerate(outputs)})
    assert printed(PROGRAM, backend, tmp_path)[-2:] == [backend, str(len(BUILT))]


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_sentences(tmp_path, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    encoder = models.resnet_cifar((8, 8, 3), depth=8, include_top=False)
    model = models.show_and_tell(encoder, 7, embedding=6, units=9, grids=(1, 2), pooling="max", hidden=5,
                                 dropout=0.2)
    generator = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.6 * generator.standard_normal(variable.shape))
    images = generator.random((5, 8, 8, 3), np.float32)
    words = generator.integers(0, 7, (5, 4)).astype(np.int32)
    stored = {"images": images, "words": words, "logits": model({"image": images, "words": words})}
    for width in (1, 3):
        found = models.Captioner(model, start=2, end=3, silent=(1,), width=width, length=6).predict(
            images, verbose=0)
        stored |= {f"words{width}": found["words"], f"scores{width}": found["log_probability"]}
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "stored.npz", **stored)
    assert printed(CAPTIONS, backend, tmp_path)[-1] == backend


def printed(program, backend, folder):
    """The words that a program prints, on that backend, in a process of its own."""
    result = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True,
                            env={**os.environ, "KERAS_BACKEND": backend}, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.split()
