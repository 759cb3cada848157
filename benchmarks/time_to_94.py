"""Seconds to 94 % on CIFAR-10's test set on one GPU: fast_cifar10 beside airbench94 in PyTorch.

    ours      recipes/images/fast_cifar10.py: network, optimizer and stream of --config paper, in the loop
              that run.fit trains with, under XLA; ours-muon the same of --config muon
    pytorch   peers/pytorch_airbench.py, which is as --config paper; pytorch-compiled with torch.compile
Both measure as the authors do: images are on the device, a first training that warms up (and compiles) is
left out, and the clock covers whitening, all epochs and the evaluation of six views of each test image.

Run:  TFDS_DATA_DIR=... python benchmarks/time_to_94.py --seeds 5 [--torch-python PATH] [--only ours pytorch]
      --quick: 2,000 digits and one epoch; it shows that all runs, and measures nothing.
"""
import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from benchmarks.time_to_99 import follow
from pipelines import cifar
from recipes.images import fast_cifar10
from training import loop
from training.device import environment, set_precision
from training.files import write_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "speed" / "time_to_94.json"
OURS = {"ours": fast_cifar10.NAMED["paper"], "ours-muon": fast_cifar10.NAMED["muon"]}
QUICK = {"data": "digits", "epochs": 1.0, "batch_size": 256, "widths": (8, 16, 16)}
AT_ONCE = 2_000                  # test images


def ours(options, config, name, kept):
    """Calls kept after each training with the rows so far: [{seed, seconds, test_accuracy, ...}].

    All in one process; the first training, which compiles, is left out.
    """
    set_precision(options.precision)
    config = dataclasses.replace(config, **QUICK) if options.quick else config
    data = cifar.load(config.data, config.batch_size, validation=0,
                      augment=fast_cifar10.augmentation(config))
    updates, stream = fast_cifar10.updates_of(config, data), data.train
    first, whitening = data.training[:5000].arrays()[0], config.whitening
    keras.utils.set_random_seed(0)
    model = fast_cifar10.compiled_model(config, data)
    loop.build(model, stream, None)
    with tf.device("CPU:0"):
        stream.seed = tf.Variable(0, dtype=tf.int64)               # so that another seed needs no other graph
    block = loop.block_function(model, stream, tf.distribute.get_strategy(), jit=options.jit)
    images, labels = tf.constant(data.test.inputs), data.test.labels

    @tf.function(jit_compile=options.jit or None)
    def logits(pixels):
        total, prepared = 0.0, data.test.prepare(pixels)
        for row, column, mirrored, weight in fast_cifar10.VIEWS[config.views]:
            seen = fast_cifar10.view(prepared, row, column, mirrored)
            total += weight * tf.cast(model(seen, training=False), tf.float32)
        return total
    state = [*model.variables, *model.optimizer.variables]
    begin = [np.asarray(variable) for variable in state]
    results = []
    for seed in range(-1, options.seeds):
        for variable, value in zip(state, begin, strict=True):
            variable.assign(value)
        keras.utils.set_random_seed(seed + 1)
        fresh = fast_cifar10.compiled_model(dataclasses.replace(config, whitening=False), data)
        model.set_weights(fresh.get_weights())
        stream.seed.assign(seed + 1)
        started = time.perf_counter()
        if whitening:
            fast_cifar10.set_whitening(model, first)
        whitened = time.perf_counter()
        float(block(0, updates)["loss"])
        trained = time.perf_counter()
        scores = [logits(images[i:i + AT_ONCE]) for i in range(0, len(labels), AT_ONCE)]
        accuracy = float(np.mean(np.concatenate(scores).argmax(axis=1) == labels))
        ended = time.perf_counter()
        if seed >= 0:
            results.append({"seed": seed, "seconds": round(ended - started, 3), "test_accuracy": accuracy,
                            "whitening_seconds": round(whitened - started, 3),
                            "training_seconds": round(trained - whitened, 3),
                            "evaluation_seconds": round(ended - trained, 3)})
            print(name, json.dumps(results[-1]), flush=True)
            kept(results)
        else:
            print(f"warmed up in {ended - started:.1f} s", flush=True)


def pytorch(options, folder, *flags):
    """The same of the peer, on the same images."""
    data = cifar.load("digits" if options.quick else "cifar10", 100, validation=0)
    path = Path(folder) / "images.npz"
    np.savez(path, x_train=data.training.inputs, y_train=data.training.labels,
             x_test=data.test.inputs, y_test=data.test.labels)
    lines = follow([options.torch_python, ROOT / "benchmarks/peers/pytorch_airbench.py", path,
                    "--seeds", str(options.seeds), *flags])
    results = [json.loads(line) for _, line in lines if line.startswith("{")]
    for row in results:
        print("pytorch", json.dumps(row), flush=True)
    return results


def summary(rows):
    accuracies, seconds = ([row[name] for row in rows] for name in ("test_accuracy", "seconds"))
    return {"runs": len(rows), "mean_test_accuracy": round(statistics.mean(accuracies), 5),
            "std_test_accuracy": round(statistics.stdev(accuracies), 5) if len(rows) > 1 else None,
            "median_seconds": statistics.median(seconds), "least_seconds": min(seconds)}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[*OURS, "pytorch", "pytorch-compiled"])
    parser.add_argument("--precision", default="mixed_bfloat16")
    parser.add_argument("--no-jit", dest="jit", action="store_false")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has PyTorch")
    parser.add_argument("--quick", action="store_true", help="tiny: shows that all runs, measures nothing")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1. Received: {options.seeds}")
    if set(OURS) & set(options.only) and not options.quick and not tf.config.list_physical_devices("GPU"):
        parser.error("TensorFlow finds no GPU here, and on a CPU this takes hours: install "
                     "requirements-gpu.txt, or see that it runs with --quick")
    report = {"environment": environment(), "date": time.strftime("%Y-%m-%d"), "precision": options.precision,
              "jit": options.jit, "summary": {}, "runs": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            def kept(rows, name=name):
                report["runs"][name], report["summary"][name] = rows, summary(rows)
                write_json(options.out, report)
            if name in OURS:
                ours(options, OURS[name], name, kept)
            elif subprocess.run([options.torch_python, "-c", "import torch"],
                                capture_output=True).returncode:
                report["runs"][name] = None
                print(f"{name} is left out: PyTorch is not installed for {Path(options.torch_python).name}")
            else:
                flags = ["--compile"] if name == "pytorch-compiled" else []
                flags += ["--device", "cpu", "--epochs", "1", "--batch-size", "256"] if options.quick else []
                kept(pytorch(options, folder, *flags))
    write_json(options.out, report)                              # also which contender was missing
    print(json.dumps(report["summary"], indent=1))
    return report


if __name__ == "__main__":
    main()
