"""What each of several workers on one machine gets of its cores and GPUs, as environment variables."""
import os
from pathlib import Path

from training.device import cores

THREADS = "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"
NVIDIA = Path("/proc/driver/nvidia/gpus")      # a folder for each GPU of the machine


def threads(number):
    """The variables that let a process compute with so many threads."""
    return dict.fromkeys(THREADS, str(number))


def shares(workers):
    """[variables of each worker]: an equal part of the cores, and GPUs of its own.

    One worker alone has the whole machine. Where there are more workers than GPUs, some
    share one, and TensorFlow then takes of its memory what it needs in place of all.
    Variables that are set already stay as they are, but for CUDA_VISIBLE_DEVICES, which is shared out.
    """
    if workers < 2:                            # a chief may have none
        return [{}] * workers
    part = {name: value for name, value in threads(max(1, cores() // workers)).items()
            if name not in os.environ}
    found = gpus()
    if not found:
        return [part] * workers
    if workers > len(found):
        part["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    own = [found[index::workers] or [found[index % len(found)]] for index in range(workers)]
    return [{**part, "CUDA_VISIBLE_DEVICES": ",".join(names)} for names in own]


def gpus():
    """The GPUs that CUDA_VISIBLE_DEVICES names, else all of NVIDIA's; none is opened for it."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [one.strip() for one in named.split(",") if one.strip() not in ("", "-1")]
    return [str(number) for number in range(len(list(NVIDIA.glob("*"))))]
