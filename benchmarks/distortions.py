"""Images distorted per second: ours, and torchvision's ElasticTransform, on the same cores.

    affine_and_elastic  pipelines.distort.Distortion: rotation, shear, scale, shift and elastic field
    elastic             the elastic field alone
    torchvision_image   v2.ElasticTransform, called image by image, as a data set's transform is
    torchvision_batch   the same called with a batch: all its images get one and the same field
Images are 29x29, sigma 4, alpha 34. Ours draws a field of its own for every image of a batch, as
torchvision_image does; torchvision_batch does less, and stands here for completeness.

Every (library, number of threads) is a process of its own; they take turns, and the median of
the repetitions is kept. One call comes first, untimed.
Run:  python benchmarks/distortions.py --repeats 5 --torch-python PATH
"""
import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "speed" / "distortions.json"
IMAGES, SIDE, BATCH = 60_000, 29, 100
SIGMA, ALPHA = 4.0, 34.0


def images(count):
    """Uniform noise; the speed does not depend on what is in an image."""
    import numpy as np
    return np.random.default_rng(0).random((count, SIDE, SIDE, 1), np.float32)


def tensorflow_rows(count):
    """-> {contender: images per second}; batches in a loop within the graph, as the training has them."""
    import tensorflow as tf

    from pipelines.distort import Distortion

    data, batches = tf.constant(images(BATCH)), count // BATCH

    def rate(distortion):
        @tf.function(autograph=False)
        def run(first):
            def body(i, total):
                numbers = i * BATCH + tf.range(BATCH, dtype=tf.int64)
                seeds = tf.stack([tf.zeros_like(numbers), numbers], axis=1)
                return i + 1, total + tf.reduce_sum(distortion(data, seeds))
            last = first + batches
            return tf.while_loop(lambda i, _: i < last, body, (first, 0.0), parallel_iterations=1)[1]
        run(tf.constant(0, tf.int64))
        started = time.perf_counter()
        float(run(tf.constant(batches, tf.int64)))
        return batches * BATCH / (time.perf_counter() - started)
    return {"affine_and_elastic": rate(Distortion(rotation=15, shear=15, scale=0.15, shift=1, sigma=SIGMA,
                                                  alpha=ALPHA)),
            "elastic": rate(Distortion(sigma=SIGMA, alpha=ALPHA))}


def pytorch_rows(count):
    """-> {contender: images per second}; fewer images one by one, which take long."""
    import torch
    transform = elastic_transform()(ALPHA, SIGMA)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    data = torch.from_numpy(images(BATCH)).permute(0, 3, 1, 2).contiguous()

    def rate(parts, rounds):
        transform(parts[0])
        started = time.perf_counter()
        for _ in range(rounds):
            for part in parts:
                transform(part)
        return rounds * BATCH / (time.perf_counter() - started)
    return {"torchvision_image": rate(data.split(1), max(1, count // BATCH // 50)),
            "torchvision_batch": rate([data], count // BATCH)}


def elastic_transform():
    """torchvision's class."""
    load_torchvision()
    from torchvision.transforms import v2
    return v2.ElasticTransform


def load_torchvision():
    """Imports torchvision. Its compiled operators, of detection, are declared where they do not load."""
    import torch
    try:
        import torchvision  # noqa: F401
    except RuntimeError:                   # a torchvision built for CUDA, beside a PyTorch without
        for module in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[module]
        declared = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        load_torchvision.declared = declared                         # it is undone when collected
        import torchvision  # noqa: F401


def measured(python, library, threads, count):
    """The rows of one library in a process of its own, with so many threads."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TF_NUM_INTRAOP_THREADS": str(threads),
                   "TF_NUM_INTEROP_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([python, __file__, "--child", library, "--images", str(count)],
                          capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{library} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def missing(python):
    """Why torchvision cannot take part, or ""."""
    done = subprocess.run([python, "-c", "import torch, torchvision.version as v; print(v.__version__)"],
                          capture_output=True, text=True)
    found = "nms does not exist" in done.stderr or not done.returncode
    return "" if found else f"torchvision is not installed for {Path(python).name}"


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--images", type=int, default=IMAGES, help="how many to distort in each repetition")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has torchvision")
    parser.add_argument("--child", choices=("tensorflow", "pytorch"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if options.child:
        rows = {"tensorflow": tensorflow_rows, "pytorch": pytorch_rows}[options.child](options.images)
        print(json.dumps(rows))
        return rows

    from training.device import environment
    from training.files import write_json
    pythons, lacking = {"tensorflow": sys.executable, "pytorch": options.torch_python}, {}
    if why := missing(options.torch_python):
        del pythons["pytorch"]
        lacking["pytorch"] = why
        print(f"torchvision is left out: {why}")
    runs = {}                                              # "contender, threads" -> images per second
    for repeat in range(options.repeats):
        for threads in options.threads:
            for library, python in pythons.items():
                for contender, rate in measured(python, library, threads, options.images).items():
                    runs.setdefault(f"{contender}, {threads}", []).append(round(rate))
        print(f"repetition {repeat + 1} of {options.repeats} done", flush=True)
    medians = {name: statistics.median(values) for name, values in runs.items()}
    best = functools.partial(fastest, medians)
    report = {"unit": "images of 29x29 per second; contender, threads", "missing": lacking,
              "environment": environment(), "date": time.strftime("%Y-%m-%d"), "median": medians,
              "seconds_for_60000": {name: round(60_000 / rate, 2) for name, rate in medians.items()},
              "elastic_over": {peer: round(best("elastic") / best(peer), 1)
                               for peer in ("torchvision_image", "torchvision_batch") if best(peer)},
              "runs": runs}
    write_json(options.out, report)
    print(json.dumps({name: report[name] for name in ("median", "elastic_over")}, indent=1))
    return report


def fastest(medians, contender):
    """The best over all numbers of threads, 0 where it was not measured."""
    return max((rate for name, rate in medians.items() if name.startswith(contender + ",")), default=0)


if __name__ == "__main__":
    main()
