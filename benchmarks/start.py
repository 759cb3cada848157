"""Seconds from `python -m recipes run resnet_cifar10` to its first training step, seen from outside.

The run is told to save a checkpoint after every update; the clock stops when the first one lies in
its folder, so that the time to write it counts, too. Then the run is killed. CIFAR-10 must be in
TFDS's cache.
Run:  python benchmarks/start.py --repeats 5
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

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "speed" / "start.json"
LONGEST = 300                    # seconds; a run that takes longer has failed


def seconds_to_first_step(arguments):
    """Of one `python -m recipes run ARGUMENTS`. Raises RuntimeError, with its last lines, where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        run, log = Path(folder) / "run", Path(folder) / "log"
        start = time.perf_counter()
        with log.open("w") as output:
            process = subprocess.Popen([sys.executable, "-m", "recipes", "run", *arguments, "--run-dir", run,
                                        "--checkpoint-every", "1"], cwd=ROOT, stdout=output, stderr=output)
        try:
            while not any(run.glob("checkpoints/*")):
                if process.poll() is not None or time.perf_counter() - start > LONGEST:
                    raise RuntimeError(f"no training step from {' '.join(arguments)}:\n"
                                       f"{log.read_text()[-2000:]}")
                time.sleep(0.01)
            return time.perf_counter() - start
        finally:
            process.kill()
            process.wait()


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("recipe", nargs=argparse.REMAINDER, help="resnet_cifar10, or another, and its flags")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats must be at least 1. Received: {options.repeats}")
    recipe = options.recipe or ["resnet_cifar10"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    from training.device import environment
    from training.files import write_json
    seconds = [round(seconds_to_first_step(recipe), 2) for _ in range(options.repeats)]
    report = {"unit": "seconds", "recipe": " ".join(recipe), "environment": environment(),
              "date": time.strftime("%Y-%m-%d"), "median": statistics.median(seconds), "runs": seconds}
    write_json(options.out, report)
    print(json.dumps({name: report[name] for name in ("median", "runs")}))
    return report


if __name__ == "__main__":
    main()
