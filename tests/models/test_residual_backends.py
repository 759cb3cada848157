"""Residual and dense networks give on JAX and PyTorch what they give here; each in a process of its own."""
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from references import filled
from soundness import images_for

from models import airbench94, densenet_cifar, plain_cifar, resnet9, resnet18, resnet_cifar, set_whitening
from training.results import ROOT

NETWORKS = {
    "resnet18_v2": lambda: resnet18((32, 32, 3), 5, version="v2"),
    "a": lambda: resnet_cifar((9, 9, 3), 5, depth=8),
    "b": lambda: resnet_cifar((None, None, 3), 5, depth=8, shortcut="B"),
    "preactivation": lambda: resnet_cifar((8, 8, 3), 5, depth=11, version="preactivation"),
    "plain": lambda: plain_cifar((8, 8, 3), 5, depth=8),
    "dense": lambda: densenet_cifar((8, 8, 3), 5, depth=10, bottleneck=True, compression=0.5, dropout=0.1),
    "resnet9": lambda: resnet9((8, 8, 3), 5, widths=(4, 6, 8, 8)),
    "airbench94": lambda: airbench94((16, 16, 3), 5, widths=(24, 24, 24), residual=True),
}
PROGRAM = """
import sys
from pathlib import Path
import keras, numpy as np
import models

folder = Path(sys.argv[1])
for path in sorted(folder.glob("*.keras")):
    model = keras.saving.load_model(path, safe_mode=True)
    known = np.load(path.with_suffix(".npz"))
    outputs = keras.ops.convert_to_numpy(model(known["images"]))
    np.testing.assert_allclose(outputs, known["outputs"], rtol=1e-3, atol=1e-3, err_msg=path.stem)
fresh = models.airbench94((16, 16, 3), 5, widths=(24, 24, 24))
images = np.random.default_rng(4).random((16, 16, 16, 3), np.float32)
models.set_whitening(fresh, images)
fresh.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
before = fresh.get_weights()
fresh.fit(images, np.arange(16) % 5, verbose=0)
changed = sum((a != b).any() for a, b in zip(before, fresh.get_weights()))
assert changed == len(before) - 1                      # all but the whitening
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_same_outputs(tmp_path, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    for name, builder in NETWORKS.items():
        model = filled(builder())
        if name == "airbench94":
            set_whitening(model, np.random.default_rng(2).random((8, 16, 16, 3)))
        images = (images_for(model) if model.input_shape[1]
                  else np.random.default_rng(3).random((4, 17, 16, 3), np.float32))
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", images=images, outputs=model(images))
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT, capture_output=True,
                          text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
