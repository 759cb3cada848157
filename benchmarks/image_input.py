"""Images per second from JPEG files to training batches for ResNet-50: ours, and torchvision's DataLoader.

    ours            pipelines.files: random-resized-crop to 224, flip, standardisation; bilinear
    ours_antialias  the same, each pixel averaged over all that it replaces, as Pillow does it
    torchvision     DataLoader over ImageFolder: RandomResizedCrop(224), RandomHorizontalFlip, ToTensor,
                    Normalize, with as many worker processes as --workers says (each number is tried)
Batches are float32 (64, 224, 224, 3) or (64, 3, 224, 224), on the same cores. The folder has a directory
per class, and is read from the cache: a round over all its files comes first, untimed.

Every contender is a process of its own; they take turns, and the median of the repetitions is kept. For
those in one process there are also the images per second of processor time, which other work on the machine
changes less.
Run:  python benchmarks/image_input.py FOLDER --torch-python PATH
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "speed" / "image_input.json"
SIZE, BATCH = 224, 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def timed(batches, count):
    """(images per second, images per second of processor time) of an endless iterator over batches."""
    rounds = -(-count // BATCH)
    for _ in range(rounds):
        next(batches)
    started, processor = time.perf_counter(), time.process_time()
    for _ in range(rounds):
        next(batches)
    images = rounds * BATCH
    return images / (time.perf_counter() - started), images / (time.process_time() - processor)


def ours(folder, antialias):
    import numpy as np
    import tensorflow as tf

    from pipelines.files import CentreCrop, FileExamples, FileStream, RandomResizedCrop
    from pipelines.image_folder import listed
    from pipelines.stream import Standardized
    classes = listed(folder)
    paths = [path for files in classes.values() for path in files]
    examples = FileExamples(np.array(paths), np.zeros(len(paths), np.int64), np.zeros(len(paths), bool),
                            CentreCrop(SIZE), Standardized(MEAN, STD))
    stream = FileStream(examples, BATCH, crop=RandomResizedCrop(SIZE, antialias=antialias))
    batches = tf.data.Dataset.range(10 ** 9).map(stream.batch, num_parallel_calls=tf.data.AUTOTUNE)
    return timed(iter(batches.prefetch(2)), len(paths))


def torchvision(folder, workers):
    from distortions import load_torchvision
    load_torchvision()
    import torch
    from torchvision import datasets, transforms
    torch.set_num_threads(1)
    transform = transforms.Compose([
        transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
        transforms.Normalize(MEAN, STD)])
    data = datasets.ImageFolder(folder, transform)

    def endless():
        loader = torch.utils.data.DataLoader(data, BATCH, shuffle=True, num_workers=workers, drop_last=True,
                                             persistent_workers=workers > 0)
        while True:
            yield from loader
    return timed(endless(), len(data))


CONTENDERS = {"ours": lambda folder: ours(folder, False),
              "ours_antialias": lambda folder: ours(folder, True)}


def measured(python, contender, folder):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3",
                   "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([python, __file__, str(folder), "--child", contender],
                          capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{contender} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a directory per class, a few hundred JPEG files or more")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2, 3],
                        help="numbers of worker processes of torchvision's DataLoader")
    parser.add_argument("--torch-python", default="", help="interpreter with torchvision; without it: ours")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if options.child:
        kind, _, workers = options.child.partition(" ")
        rates = torchvision(options.folder, int(workers)) if workers else CONTENDERS[kind](options.folder)
        print(json.dumps([round(rate, 1) for rate in rates]))
        return rates

    from PIL import Image

    from training.device import environment
    from training.files import write_json
    contenders = dict.fromkeys(CONTENDERS, sys.executable)
    if options.torch_python:
        contenders |= {f"torchvision {workers}": options.torch_python for workers in options.workers}
    runs = {name: [] for name in contenders}
    for repeat in range(options.repeats):
        for name, python in contenders.items():
            runs[name].append(measured(python, name, options.folder))
        print(f"repetition {repeat + 1} of {options.repeats} done", flush=True)
    medians = {name: statistics.median(wall for wall, _ in values) for name, values in runs.items()}
    processor = {name: statistics.median(rate for _, rate in values) for name, values in runs.items()
                 if name in (*CONTENDERS, "torchvision 0")}
    files = [path for path in options.folder.rglob("*") if path.is_file()]
    sizes = [Image.open(path).size for path in files]
    peers = [rate for name, rate in medians.items() if name.startswith("torchvision")]
    report = {"unit": "images of 224x224 per second; torchvision's by number of worker processes",
              "files": len(files),
              "mean_bytes": round(statistics.mean(path.stat().st_size for path in files)),
              "median_pixels": statistics.median(width * height for width, height in sizes),
              "environment": environment(), "date": time.strftime("%Y-%m-%d"), "median": medians,
              "per_second_of_processor_time": processor,
              "over_torchvision": {
                  name: round(medians[name] / max(peers), 2) for name in CONTENDERS if peers},
              "runs": runs}
    write_json(options.out, report)
    print(json.dumps({name: report[name] for name in ("median", "per_second_of_processor_time")}, indent=1))
    return report


if __name__ == "__main__":
    main()
