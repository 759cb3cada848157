"""run.fit on JAX and PyTorch, where they are installed; each backend needs a process of its own."""
import importlib.util
import os
import subprocess
import sys

import pytest

from training.results import ROOT

PROGRAM = """
import sys
from pathlib import Path
import keras, numpy as np
from models import nielsen_convnet
from pipelines import digits
from training import Run

data = digits.load(20, seed=4, size=12)
folder = Path(sys.argv[1])

class Cut(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if self.model.optimizer.iterations == 27:
            raise InterruptedError

def trained(name, *callbacks, rate=0.05, updates=60, **settings):
    run = Run(folder / name, seed=7, resume=(folder / name / "config.json").exists(), checkpoint_every=4,
              **settings)
    with run.scope():
        model = nielsen_convnet((12, 12, 1), filters=(3,), hidden=(12,), dropout=0.5)
        model.compile(keras.optimizers.SGD(rate, momentum=0.9),
                      keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    history = run.fit(model, data.train, data.validation, updates=updates, validate_every=20, verbose=0,
                      keep_best="val_accuracy", callbacks=callbacks)
    run.save(model)
    return model.get_weights(), history, run.evaluate(model, data.test[:351])    # odd: two devices, one left

weights, history, metrics = trained("whole")
assert history[-1]["updates"] == 60 and history[-1]["loss"] < history[0]["loss"], history
try:
    trained("cut", Cut())
    raise AssertionError("not cut")
except InterruptedError:
    pass
again, resumed, _ = trained("cut", keras.callbacks.Callback())
assert resumed == history, (resumed, history)
assert all((a == b).all() for a, b in zip(weights, again))
single, alone, _ = trained("single", strategy="none")
assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(weights, single))
try:
    trained("mirrored", strategy="mirrored")
    raise AssertionError("not refused")
except ValueError as error:
    assert "tf.distribute" in str(error), error
try:
    trained("diverged", rate=3e38)
    raise AssertionError("not stopped")
except FloatingPointError as error:
    assert "First not finite" in str(error), error
print("devices", len(keras.distribution.list_devices()) if keras.backend.backend() == "jax" else 1)
"""


@pytest.mark.parametrize(("backend", "devices"), [("jax", 2), ("torch", 1)])
def test_fit_resumes_exactly_and_refuses_what_is_not_there(tmp_path, backend, devices):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT),
                   "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    result = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], env=environment, capture_output=True,
                            text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.split()[-2:] == ["devices", str(devices)]
