"""Which devices a run uses, in which precision, and how it says so."""
import contextlib
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
# Of /proc/cpuinfo: what tells how fast a processor of this kind is, and what computes in 16 bits.
INSTRUCTIONS = "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16"


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


def share_threads(parts):
    """Leaves threads to so many parts of a batch, which training.parts computes side by side.

    TensorFlow would give all cores to each operation, one operation after another, which costs two
    cores a sixth of their time (benchmarks/run_time.py parts). Without effect once TensorFlow has
    computed anything, where TF_NUM_INTRAOP_THREADS is set, and on GPUs.
    """
    if (parts > 1 and "TF_NUM_INTRAOP_THREADS" not in os.environ
            and not tf.config.list_physical_devices("GPU")):
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(max(1, cores() // parts))


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


def emulated(precision):
    """Whether TensorFlow computes in that precision on a processor that has no instructions for it.

    False where that is not known, as off Linux and on other processors than x86.
    """
    kind = {"mixed_bfloat16": "bf16", "mixed_float16": "fp16"}.get(precision)
    found = instructions()
    return (kind is not None and keras.backend.backend() == "tensorflow" and bool(found)
            and not any(name.endswith(kind) for name in found) and not tf.config.list_physical_devices("GPU"))


@functools.cache
def instructions():
    """Which of INSTRUCTIONS this x86 processor has; none where the system does not tell."""
    flags = cpuinfo("flags").split()
    return [name for name in INSTRUCTIONS if name in flags]


def cpuinfo(field):
    """What Linux says of the first core, or ''."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == field), "")


def description():
    """The device in words: 'NVIDIA H200 x 2', 'AMD EPYC, 2 cores', 'AMD EPYC (AVX2), 2 cores'."""
    if keras.backend.backend() == "jax":
        import jax
        if jax.default_backend() != "cpu":
            return times(jax.devices()[0].device_kind, len(jax.devices()))
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        return times(name, len(gpus))
    model = cpuinfo("model name") or platform.processor() or platform.machine()
    if "avx2" in instructions() and "avx512f" not in instructions():
        model += " (AVX2)"                   # another generation of that name has AVX-512 and twice the speed
    return f"{model}, {cores()} core{'s' if cores() > 1 else ''}"


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def times(name, count):
    """'NVIDIA H200 x 2'; without the number where there is one."""
    return f"{name} x {count}" if count > 1 else name


def environment():
    """Versions, device with the instructions of its processor, and commit, for environment.json."""
    packages = ("tensorflow", "keras", "tensorflow-datasets", "keras-tuner", "numpy")
    return {"python": platform.python_version(),
            "versions": {name: metadata.version(name) for name in packages},
            "backend": keras.backend.backend(),
            "device": description(), "instructions": instructions(),
            "commit": commit(), "system": platform.platform()}


def commit():
    """The commit of this checkout, with '+' if tracked files differ from it; None outside git."""
    def git(*arguments):
        return subprocess.run(["git", "-C", Path(__file__).parent, *arguments], capture_output=True,
                              text=True, check=True).stdout.strip()
    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
