"""Seconds to build ResNet-152 and DenseNet-201 with random weights: ours, and keras.applications.

The two build the same network in turn, in one process that has built both before, with a garbage
collection before each; the first of a pair is ours and theirs alternately. What counts is processor
time, which other work on the machine disturbs least; the wall clock is kept beside it.
Run:  python benchmarks/build_time.py --repeats 15
"""
import argparse
import gc
import json
import os
import statistics
import time
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results" / "speed" / "build_time.json"


def builders():
    """{network: {contender: function without arguments}}"""
    import keras

    import models
    return {
        "ResNet-152": {"ours": models.resnet152,
                       "keras": lambda: keras.applications.ResNet152(weights=None)},
        "DenseNet-201": {"ours": models.densenet201,
                         "keras": lambda: keras.applications.DenseNet201(weights=None)},
    }


def seconds(build):
    """{"processor": ..., "wall": ...} of one call; its result is dropped afterwards."""
    gc.collect()
    processor, wall = time.process_time(), time.perf_counter()
    model = build()
    found = {"processor": round(time.process_time() - processor, 3),
             "wall": round(time.perf_counter() - wall, 3)}
    del model
    return found


def summary(runs):
    """Medians of both clocks, and of the paired ratios of processor time, for each network."""
    return {network: {
        **{f"{name}, {clock}": round(statistics.median(run[clock] for run in each), 3)
           for name, each in contenders.items() for clock in ("processor", "wall")},
        "keras_over_ours": round(statistics.median(
            theirs["processor"] / ours["processor"]
            for ours, theirs in zip(contenders["ours"], contenders["keras"], strict=True)), 3),
    } for network, contenders in runs.items()}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    from training.device import environment
    from training.files import write_json
    runs = {}
    for network, contenders in builders().items():
        for build in contenders.values():
            build()                                    # what is loaded and cached once
        runs[network] = {name: [] for name in contenders}
        for repeat in range(options.repeats):
            for name in sorted(contenders, reverse=repeat % 2 == 0):
                runs[network][name].append(seconds(contenders[name]))
    report = {"unit": "seconds", "environment": environment(), "date": time.strftime("%Y-%m-%d"),
              "median": summary(runs), "runs": runs}
    write_json(options.out, report)
    print(json.dumps(report["median"], indent=1))
    return report


if __name__ == "__main__":
    main()
