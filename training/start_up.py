"""Importing TensorFlow without the lines that it always prints, and with those that matter."""
import contextlib
import os
import platform
import re
import sys
import tempfile
import time
from pathlib import Path

NOISE = (r"WARNING: All log messages before absl", r"[IW]\d{4} ", r"To enable the following instructions")
NO_GPU = r"E\d{4} .*failed call to cuInit"          # printed on every machine without a GPU


def import_tensorflow(devices=True):
    """Imports TensorFlow and looks for its devices; warnings of both that are not routine pass.

    devices=False leaves them to a later call: a process that has opened a GPU cannot be forked.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    use_onednn()
    with filtered_stderr():
        import tensorflow
        if devices:
            tensorflow.config.list_physical_devices()
    tensorflow.get_logger().addFilter(no_retracing)


def use_onednn():
    """Asks for oneDNN's kernels, before TensorFlow is imported, unless TF_ENABLE_ONEDNN_OPTS is set already.

    By itself TensorFlow takes them only where an x86 processor has AVX-512 VNNI or newer instructions. With
    AVX2 alone they made six networks' steps 1.3 to 1.8 times as quick: benchmarks/README.md.
    """
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def no_retracing(record):
    """Every fit traces a function of its own; TensorFlow takes several for one that is traced anew."""
    return "tf.function retracing" not in record.getMessage()


@contextlib.contextmanager
def filtered_stderr():
    """Holds back what C++ libraries write to stderr, then prints all of it that is not NOISE.

    The variable TF_CPP_MIN_LOG_LEVEL comes too late for these lines: they are written while
    the logging library is not set up yet.
    """
    patterns = NOISE if Path("/proc/driver/nvidia").exists() else (*NOISE, NO_GPU)
    noise = re.compile("|".join(patterns))
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        original = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if not noise.match(line):
                    print(line, file=sys.stderr)


def seconds_from_start():
    """Wall clock since the system started this process, imports included; None where it does not tell.

    Only Linux says when, to .01 s. A resumed run counts from its last start.
    """
    try:
        after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    started = int(after_name[19]) / os.sysconf("SC_CLK_TCK")          # field 22, in ticks since boot
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started
