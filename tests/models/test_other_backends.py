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
    environment = {**os.environ, "KERAS_BACKEND": backend}
    result = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], env=environment, capture_output=True,
                            text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.split()[-2:] == [backend, str(len(BUILT))]
