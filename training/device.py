"""Which devices a run uses, in which precision, and how it says so."""
import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import keras
import tensorflow as tf

from training import multi_worker

STRATEGIES = ("auto", "none", "mirrored", "multi_worker")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def strategy(name="auto"):
    """The tf.distribute strategy of that name; auto mirrors where there are several GPUs.

    On the JAX backend auto splits each batch over all its devices (keras.distribution.DataParallel).
    """
    if name not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}. Received: {name}")
    backend = keras.backend.backend()
    if backend != "tensorflow":
        if name not in ("auto", "none"):
            raise ValueError(f"strategy {name} is of tf.distribute, and Keras runs on {backend} here. Leave "
                             "--strategy auto, which uses all devices on JAX and one on PyTorch.")
        if backend == "jax":
            devices = keras.distribution.list_devices()
            several = name == "auto" and len(devices) > 1
            keras.distribution.set_distribution(EvenDataParallel(devices=devices) if several else None)
        return tf.distribute.get_strategy()
    if name == "multi_worker":                 # before anything else makes TensorFlow look at its devices
        return multi_worker.cluster().strategy
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        return mirrored(tuple(device.name for device in gpus or tf.config.list_logical_devices("CPU")))
    return tf.distribute.get_strategy()


class EvenDataParallel(keras.distribution.DataParallel):
    """Splits a batch over the devices where it divides; an evaluation's last batch may go to all of them."""

    def get_data_layout(self, data_shape):
        if data_shape[0] % self.device_mesh.devices.size:
            return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)
        return super().get_data_layout(data_shape)


@functools.cache
def mirrored(devices):
    """One MirroredStrategy for the whole process.

    A second one would number its all-reduces from the start again, and TensorFlow refuses
    a number that it has seen with another shape: two networks in a row would not train.
    """
    return tf.distribute.MirroredStrategy(devices)


def set_precision(name):
    """Sets Keras's dtype policy for the layers built from now on. Raises ValueError for another name."""
    if name not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}. Received: {name}")
    keras.config.set_dtype_policy(name)


def description():
    """The device in words: 'NVIDIA H200 x 2' or 'AMD EPYC, 2 cores'."""
    if keras.backend.backend() == "jax":
        import jax
        if jax.default_backend() != "cpu":
            return times(jax.devices()[0].device_kind, len(jax.devices()))
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        return times(name, len(gpus))
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines()
                 if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {cores()} core{'s' if cores() > 1 else ''}"


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def times(name, count):
    """'NVIDIA H200 x 2'; without the number where there is one."""
    return f"{name} x {count}" if count > 1 else name


def environment():
    """Versions, device and commit, for environment.json."""
    packages = ("tensorflow", "keras", "tensorflow-datasets", "keras-tuner", "numpy")
    return {"python": platform.python_version(),
            "versions": {name: metadata.version(name) for name in packages},
            "backend": keras.backend.backend(),
            "device": description(), "commit": commit(), "system": platform.platform()}


def commit():
    """The commit of this checkout, with '+' if tracked files differ from it; None outside git."""
    def git(*arguments):
        return subprocess.run(["git", "-C", Path(__file__).parent, *arguments], capture_output=True,
                              text=True, check=True).stdout.strip()
    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
