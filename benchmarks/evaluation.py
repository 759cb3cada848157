"""Seconds that model.evaluate takes with tf.data's autotuning, and without it as Examples.dataset gives it.

The two take turns in one process, over so many of the same images each time. What is to be seen is not
the speed of reading, which is the same, but how long the end waits for the tuning thread.
Run:  python benchmarks/evaluation.py --repeats 15
"""
import argparse
import json
import os
import statistics
import time
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results" / "speed" / "evaluation.json"
COUNTS = (1_000, 5_000, 10_000, 20_000)      # images of 28x28


def contenders(count):
    """{name: tf.data.Dataset} over the same noise."""
    import numpy as np
    import tensorflow as tf

    from pipelines.stream import Examples
    generator = np.random.default_rng(0)
    examples = Examples(generator.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8),
                        generator.integers(0, 10, count))
    tuning = tf.data.Options()
    tuning.autotune.enabled = True
    return {"ours": examples.dataset(), "autotuned": examples.dataset().with_options(tuning)}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats must be at least 1. Received: {options.repeats}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    import keras

    from models import nielsen_convnet
    from training.device import environment
    from training.files import write_json
    model = nielsen_convnet((28, 28, 1), 10, filters=(20, 40))
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    runs = {}
    for count in COUNTS:
        datasets = contenders(count)
        seconds = runs[count] = {name: [] for name in datasets}
        for repeat in range(-1, options.repeats):              # the first turn, with tracing, does not count
            for name in sorted(datasets, reverse=repeat % 2 == 0):
                start = time.perf_counter()
                model.evaluate(datasets[name], verbose=0)
                if repeat >= 0:
                    seconds[name].append(round(time.perf_counter() - start, 3))
    report = {"unit": "seconds", "environment": environment(), "date": time.strftime("%Y-%m-%d"),
              "median": {count: {name: statistics.median(each) for name, each in seconds.items()}
                         for count, seconds in runs.items()},
              "longest": {count: {name: max(each) for name, each in seconds.items()}
                          for count, seconds in runs.items()},
              "runs": runs}
    write_json(options.out, report)
    print(json.dumps({name: report[name] for name in ("median", "longest")}, indent=1))
    return report


if __name__ == "__main__":
    main()
