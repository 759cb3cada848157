"""Milliseconds per training step at mini-batch 10, for Nielsen's networks: ours, Keras, PyTorch.

    loop           training.loop.fit, as every recipe trains: blocks of 100 updates in the graph
    keras-1        model.fit over tf.data, one update per call
    keras-100      the same with steps_per_execution=100
    pytorch        eager, SGD as it comes
    pytorch-fused  eager, channels last, SGD(fused=True)
All start from the same kind of data (uint8 images in memory, shuffled, scaled to [0, 1]), use
plain SGD and cross-entropy; ours and Keras also keep loss and accuracy, PyTorch neither.
PyTorch draws its order once and scales all images beforehand, which is in its favour.

Every (library, number of threads) is a process of its own; the processes take turns, and the
median of the repetitions is kept.
Run:  python benchmarks/small_steps.py --repeats 5 --torch-python PATH
"""
import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "speed" / "small_steps.json"
NETWORKS = {                     # arguments of nielsen_convnet, and steps to time
    "FC100": ({"filters": (), "hidden": (100,)}, 4000),
    "conv20-FC100": ({"filters": (20,), "hidden": (100,)}, 1000),
    "conv20-conv40-FC100": ({"filters": (20, 40), "hidden": (100,)}, 600),
    "conv20-conv40-2xFC1000-dropout": ({"filters": (20, 40), "hidden": (1000, 1000), "dropout": 0.5}, 300),
}
BATCH, EXAMPLES, RATE = 10, 10_000, 0.03


def random_digits():
    """Uniform noise of MNIST's shape; the speed of a step does not depend on what is in it."""
    import numpy as np
    generator = np.random.default_rng(0)
    return (generator.integers(0, 256, (EXAMPLES, 28, 28, 1), dtype=np.uint8),
            generator.integers(0, 10, EXAMPLES))


def tensorflow_rows(shorten):
    """-> {contender: {network: milliseconds per step}}"""
    from training.start_up import use_onednn
    use_onednn()
    import keras
    import tensorflow as tf

    from models import nielsen_convnet
    from pipelines.stream import Examples, Stream
    from training import loop

    images, labels = random_digits()

    class Clock(keras.callbacks.Callback):
        """The ends of the executions; the first two, with tracing, do not count."""
        def on_train_begin(self, logs=None):
            self.ends = []

        def on_train_batch_end(self, batch, logs=None):
            self.ends.append(time.perf_counter())

        def milliseconds(self, updates_per_end):
            return 1e3 * (self.ends[-1] - self.ends[1]) / (len(self.ends) - 2) / updates_per_end

    def compiled(arguments):
        model = nielsen_convnet(**arguments)
        model.compile(keras.optimizers.SGD(RATE),
                      keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        return model

    def ours(arguments, steps, execution=100):
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            loop.fit(compiled(arguments), Stream(Examples(images, labels), BATCH),
                     folder=Path(folder), strategy=tf.distribute.get_strategy(),
                     updates=steps + 2 * execution, validate_every=steps + 2 * execution, callbacks=[clock],
                     steps_per_execution=execution, verbose=0)
        return clock.milliseconds(execution)

    def bare(arguments, steps, execution):
        model = compiled(arguments)
        model.compile(model.optimizer, model.loss, metrics=["accuracy"], steps_per_execution=execution)
        data = (tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(EXAMPLES).repeat().batch(BATCH)
                .map(lambda x, y: (tf.cast(x, tf.float32) / 255, y)).prefetch(tf.data.AUTOTUNE))
        clock = Clock()
        model.fit(data, steps_per_epoch=steps + 2 * execution, callbacks=[clock], shuffle=False,
                  verbose=0)
        return clock.milliseconds(execution)

    contenders = {"loop": ours, "keras-1": functools.partial(bare, execution=1),
                  "keras-100": functools.partial(bare, execution=100)}
    return {name: {network: contender(arguments, max(100, steps // shorten // 100 * 100))
                   for network, (arguments, steps) in NETWORKS.items()}
            for name, contender in contenders.items()}


def pytorch_rows(shorten):
    """-> {contender: {network: milliseconds per step}}"""
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    images, labels = random_digits()
    x = (torch.from_numpy(images).float() / 255).permute(0, 3, 1, 2).contiguous()
    y = torch.from_numpy(labels)

    def network(filters, hidden, dropout=0.0):
        stages, channels, side = [], 1, 28
        for width in filters:
            stages += [nn.Conv2d(channels, width, 5), nn.MaxPool2d(2), nn.ReLU()]
            channels, side = width, (side - 4) // 2
        stages += [nn.Flatten()]
        features = channels * side * side
        for width in hidden:
            stages += ([nn.Dropout(dropout)] if dropout else []) + [nn.Linear(features, width), nn.ReLU()]
            features = width
        return nn.Sequential(*stages, *([nn.Dropout(dropout)] if dropout else []), nn.Linear(features, 10))

    def eager(arguments, steps, channels_last=False, fused=False):
        model, data = network(**arguments), x
        if channels_last:
            model, data = (each.to(memory_format=torch.channels_last) for each in (model, x))
        optimizer = torch.optim.SGD(model.parameters(), RATE, fused=fused)
        order = torch.randint(EXAMPLES, ((steps + 50) * BATCH,)).split(BATCH)
        for step, rows in enumerate(order):
            if step == 50:
                started = time.perf_counter()
            optimizer.zero_grad()
            F.cross_entropy(model(data[rows]), y[rows]).backward()
            optimizer.step()
        return 1e3 * (time.perf_counter() - started) / steps

    contenders = {"pytorch": eager,
                  "pytorch-fused": functools.partial(eager, channels_last=True, fused=True)}
    return {name: {network: contender(arguments, max(20, steps // shorten))
                   for network, (arguments, steps) in NETWORKS.items()}
            for name, contender in contenders.items()}


def measured(python, library, threads, shorten):
    """The rows of one library in a process of its own, with so many threads."""
    count = str(threads)
    environment = {**os.environ, "OMP_NUM_THREADS": count, "TF_NUM_INTRAOP_THREADS": count,
                   "TF_NUM_INTEROP_THREADS": count, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run([python, __file__, "--child", library, "--shorten", str(shorten)],
                          capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{library} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has PyTorch")
    parser.add_argument("--shorten", type=int, default=1, help="time that many times fewer steps")
    parser.add_argument("--child", choices=("tensorflow", "pytorch"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if options.child:
        rows = {"tensorflow": tensorflow_rows, "pytorch": pytorch_rows}[options.child](options.shorten)
        print(json.dumps(rows))
        return rows

    from training.device import environment
    from training.files import write_json
    pythons, missing = {"tensorflow": sys.executable, "pytorch": options.torch_python}, {}
    if subprocess.run([options.torch_python, "-c", "import torch"], capture_output=True).returncode:
        del pythons["pytorch"]
        missing["pytorch"] = f"PyTorch is not installed for {Path(options.torch_python).name}"
        print(f"pytorch is left out: {missing['pytorch']}")
    runs = {}                                          # network -> "contender, threads" -> milliseconds
    for repeat in range(options.repeats):
        for threads in options.threads:
            for library, python in pythons.items():
                for contender, row in measured(python, library, threads, options.shorten).items():
                    for network, milliseconds in row.items():
                        runs.setdefault(network, {}).setdefault(f"{contender}, {threads}", []).append(
                            round(milliseconds, 4))
        print(f"repetition {repeat + 1} of {options.repeats} done", flush=True)
    medians = {network: {name: statistics.median(values) for name, values in row.items()}
               for network, row in runs.items()}
    report = {"unit": "milliseconds per step of 10 examples; contender, threads", "missing": missing,
              "environment": environment(), "date": time.strftime("%Y-%m-%d"), "median": medians,
              "pytorch_best_over_loop_best": {
                  network: round(min(v for k, v in row.items() if k.startswith("pytorch"))
                                 / min(v for k, v in row.items() if k.startswith("loop")), 2)
                  for network, row in medians.items() if any(k.startswith("pytorch") for k in row)},
              "runs": runs}
    write_json(options.out, report)
    print(json.dumps({"median": medians, "ratio": report["pytorch_best_over_loop_best"]}, indent=1))
    return report


if __name__ == "__main__":
    main()
