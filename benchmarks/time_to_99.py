"""Wall clock to 99 % on MNIST's test set: recipes/images/fast_mnist beside two well-known examples.

Each repetition runs, one after the other and each as a process of its own,
    ours      recipes/images/fast_mnist.py, its default Config: fixed schedule, the test set seen once
    keras-io  peers/keras_mnist_convnet.py, to the first epoch with 99 % test accuracy
    pytorch   peers/pytorch_mnist.py, the same way
and reads the clock here, from before the process starts until its test accuracy arrives: imports,
data, tracing and training all count. What the examples spend on evaluating the test set in
earlier epochs is subtracted from their time. Both read MNIST as one uncompressed .npz file.

Run:  TFDS_DATA_DIR=... python benchmarks/time_to_99.py --repeats 5 --torch-python PATH
PyTorch may live in another environment: see benchmarks/requirements.txt. A peer whose libraries
are missing is left out, and the results say so.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pipelines import mnist
from training.device import environment
from training.files import read_json, write_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "speed" / "time_to_99.json"


def follow(command):
    """Runs a command: [(seconds since its start, line of its output)]. Raises RuntimeError if it fails."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT, env=environment) as process:
        lines = [(time.perf_counter() - started, line) for line in process.stdout]
        if process.wait():
            errors.seek(0)
            raise RuntimeError(f"{' '.join(map(str, command))} failed: {errors.read()[-2000:]}")
    return lines


def ours(seed, folder, flags):
    """One run of the recipe: seconds until its test accuracy was printed, and that accuracy."""
    run_dir = Path(folder) / f"fast_mnist-{seed}"
    lines = follow([sys.executable, ROOT / "recipes/images/fast_mnist.py", "--run-dir", run_dir,
                    "--seed", str(seed), *flags])
    seconds = next(at for at, line in lines if line.startswith("test_accuracy"))
    metrics = read_json(run_dir / "metrics.json")
    return {"seed": seed, "seconds": round(seconds, 2), "test_accuracy": metrics["test_accuracy"],
            "seconds_from_start": metrics["seconds_from_start"]}


def peer(python, script, seed, data, flags):
    """One run of an example: its epochs, and the seconds to the last of them."""
    epochs, evaluating = [], 0.0
    for at, line in follow([python, ROOT / "benchmarks/peers" / script, data, "--seed", str(seed), *flags]):
        if line.startswith("{"):
            row = json.loads(line)
            epochs.append({"epoch": row["epoch"], "test_accuracy": round(row["test_accuracy"], 4),
                           "seconds": round(at - evaluating, 2)})
            evaluating += row["evaluation_seconds"]
    return {"seed": seed, "seconds": epochs[-1]["seconds"], "test_accuracy": epochs[-1]["test_accuracy"],
            "epochs": epochs}


def summary(runs, target):
    reached = [run for run in runs if run["test_accuracy"] >= target]
    return {"runs": len(runs), "reached": len(reached),
            "mean_test_accuracy": statistics.mean(run["test_accuracy"] for run in runs),
            "median_seconds": statistics.median(run["seconds"] for run in runs),
            "least_seconds": min(run["seconds"] for run in runs)}


def reported(results, target, missing):
    """The report: what was measured, where, and the ratio of medians over the common repetitions."""
    report = {"target": target, "missing": missing, "environment": environment(),
              "date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(),
              "load": round(os.getloadavg()[0], 1),
              "summary": {name: summary(runs, target) for name, runs in results.items()}, "runs": results}
    peers = [row["median_seconds"] for name, row in report["summary"].items() if name != "ours"]
    if "ours" in results and peers:
        # Further seeds of ours run without the peers beside them: they are not compared.
        together = min(len(runs) for runs in results.values())
        ours_together = statistics.median(run["seconds"] for run in results["ours"][:together])
        report["ours_over_fastest_peer"] = round(ours_together / min(peers), 3)
    return report


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=0, help="so many further seeds of ours alone")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has PyTorch")
    parser.add_argument("--only", nargs="*", default=["ours", "keras-io", "pytorch"])
    parser.add_argument("--target", type=float, default=0.99)
    parser.add_argument("--quick", action="store_true", help="tiny: shows that all runs, measures nothing")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)

    our_flags, peer_flags = [], ["--target", str(options.target)]
    data = mnist.load("digits" if options.quick else "mnist")
    if options.quick:
        our_flags, peer_flags = ["--smoke"], [*peer_flags, "--epochs", "1", "--examples", "500"]
    contenders = {
        "ours": lambda seed, folder: ours(seed, folder, our_flags),
        "keras-io": lambda seed, folder: peer(sys.executable, "keras_mnist_convnet.py", seed,
                                              Path(folder) / "mnist.npz", peer_flags),
        "pytorch": lambda seed, folder: peer(options.torch_python, "pytorch_mnist.py", seed,
                                             Path(folder) / "mnist.npz", peer_flags)}
    results, missing = {name: [] for name in contenders if name in options.only}, {}
    if "pytorch" in results and subprocess.run([options.torch_python, "-c", "import torch"],
                                               capture_output=True).returncode:
        del results["pytorch"]
        missing["pytorch"] = f"PyTorch is not installed for {Path(options.torch_python).name}"
        print(f"pytorch is left out: {missing['pytorch']}")
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "mnist.npz",
                 x_train=np.concatenate([data.training.inputs, data.validation.inputs])[..., 0],
                 y_train=np.concatenate([data.training.labels, data.validation.labels]),
                 x_test=data.test.inputs[..., 0], y_test=data.test.labels)
        for repeat in range(options.repeats + options.seeds):
            for name in results:
                if repeat < options.repeats or name == "ours":
                    results[name].append(contenders[name](repeat, folder))
                    print(name, json.dumps(results[name][-1]), flush=True)
            report = reported(results, options.target, missing)
            write_json(options.out, report)             # after each repetition: they take minutes
    print(json.dumps(report["summary"], indent=1))
    return report


if __name__ == "__main__":
    main()
