"""Quiet TensorFlow, two logical CPUs for the strategies, and the real MNIST where there is one."""
import gc
import os
import signal
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")          # as training.start_up for every recipe

import keras
import pytest
import tensorflow as tf
from keras.src.backend.common import global_state

# The collector would look again and again at the many objects of these libraries and of traced graphs.
gc.freeze()
gc.set_threshold(50_000, 20, 20)

# Started in the background of a script, a process ignores ctrl-C, and so would all that it starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CPUS = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(CPUS[0], [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture
def real_mnist():
    """Skips where MNIST is not in TFDS's cache; nothing is downloaded by a test."""
    folder = Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    if not (folder / "mnist").exists():
        pytest.skip(f"MNIST is not in {folder}: set TFDS_DATA_DIR, or run mlp_mnist once")


@pytest.fixture(autouse=True, scope="module")
def memory_comes_back():
    """Networks refer to themselves, and Python looks late for such circles: large ones would pile up."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def what_was_built_without_values_gets_none():
    """A StatelessScope leaves its variables in a list, from which Keras would draw all their values later.

    The next model would begin with that: some gigabytes, and most of a minute, after VGG-19 and the like.
    """
    yield
    global_state.set_global_attribute("uninitialized_variables", [])


@pytest.fixture(autouse=True)
def float32_and_a_seed():
    """Each test starts with the default precision and seed 0, whatever the one before did."""
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)
