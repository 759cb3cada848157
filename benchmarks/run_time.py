"""What training/ costs: beside bare Keras, for a checkpoint, in memory, under XLA, on two devices.

    fit         milliseconds per update, run.fit beside model.fit over tf.data with the same steps per
                execution: a tiny step (FC100, batches of 10) and one of about 10 ms (batches of 40)
    checkpoint  seconds that training stands still while a checkpoint is written, by number of parameters
    memory      MiB of the process after each of 50 fits in a row, run.fit and bare Keras
    jit         milliseconds per update with and without XLA
    devices     milliseconds per update of the same global batch on one device with one and two threads,
                on two mirrored logical devices, and in two workers on loopback
    parts       milliseconds per update of ResNet-20, 128 images of 32x32 or 24x24: the batch as a whole, in
                two parts that go through the network at once, and on two mirrored logical devices
    allreduce   milliseconds of one sum of that network's gradients over two devices, and over two workers
Every measurement is a process of its own, and contenders take turns.
Run:  python benchmarks/run_time.py [PART ...] --repeats 5
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
RESULTS = ROOT / "benchmarks" / "results" / "speed" / "run_time.json"
NETWORKS = {                     # arguments of nielsen_convnet, batch size, steps an execution, steps to time
    "tiny": ({"filters": (), "hidden": (100,)}, 10, 100, 6000),
    "10 ms": ({"filters": (20, 40), "hidden": (1000, 1000)}, 40, 10, 300),
}
EXAMPLES = 10_000


def examples():
    """Uniform noise of MNIST's shape; the speed of a step does not depend on what is in it."""
    import numpy as np
    generator = np.random.default_rng(0)
    return (generator.integers(0, 256, (EXAMPLES, 28, 28, 1), dtype=np.uint8),
            generator.integers(0, 10, EXAMPLES))


def compiled(arguments, momentum=0.0):
    import keras

    from models import nielsen_convnet
    model = nielsen_convnet(**arguments)
    model.compile(keras.optimizers.SGD(0.03, momentum=momentum),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


@functools.cache
def clock_class():
    import keras

    class Clock(keras.callbacks.Callback):
        """The ends of the executions; the first two, with tracing, do not count."""

        def __init__(self):
            super().__init__()
            self.ends = []

        def on_train_batch_end(self, batch, logs=None):
            self.ends.append(time.perf_counter())

        def milliseconds(self, updates):
            """Median over the executions, of so many updates each."""
            spans = [after - before for before, after in zip(self.ends[1:], self.ends[2:], strict=False)]
            return 1e3 * statistics.median(spans) / updates
    return Clock


def run_fit(arguments, batch, execution, steps, *, strategy="none", jit="off"):
    """Milliseconds per update of run.fit, checkpoints every ten minutes as by default."""
    from pipelines.stream import Examples, Stream
    from training import Run
    clock = clock_class()()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, strategy=strategy, jit=jit)
        with run.scope():
            model = compiled(arguments)
        run.fit(model, Stream(Examples(*examples()), batch), updates=steps + 2 * execution,
                validate_every=steps + 2 * execution, steps_per_execution=execution, callbacks=[clock],
                verbose=0)
    return clock.milliseconds(execution)


def bare_fit(arguments, batch, execution, steps):
    """Milliseconds per update of model.fit over a shuffled tf.data pipeline of the same images."""
    import tensorflow as tf
    images, labels = examples()
    model = compiled(arguments)
    model.compile(model.optimizer, model.loss, metrics=["accuracy"], steps_per_execution=execution)
    data = (tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(EXAMPLES).repeat().batch(batch)
            .map(lambda x, y: (tf.cast(x, tf.float32) / 255, y)).prefetch(tf.data.AUTOTUNE))
    clock = clock_class()()
    model.fit(data, steps_per_epoch=steps + 2 * execution, callbacks=[clock], shuffle=False,
              verbose=0)
    return clock.milliseconds(execution)


def fit_part(contender, network):
    return {"run.fit": run_fit, "model.fit": bare_fit}[contender](*NETWORKS[network])


def jit_part(jit, network):
    return run_fit(*NETWORKS[network], jit=jit)


def devices_part(contender, network):
    return run_fit(*NETWORKS[network], strategy=joined(contender))


def parts_part(contender, side):
    """contender: the number of parts, or "mirrored"."""
    import keras
    import numpy as np

    from models import resnet_cifar
    from pipelines.stream import Examples, Stream
    from training import Run
    generator, side, clock = np.random.default_rng(0), int(side), clock_class()()
    images = generator.integers(0, 256, (1280, side, side, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, strategy=joined("mirrored" if contender == "mirrored" else "one"))
        with run.scope():
            model = resnet_cifar((side, side, 3))
            model.compile(keras.optimizers.SGD(0.03, momentum=0.9),
                          keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        run.fit(model, Stream(Examples(images, generator.integers(0, 10, 1280)), 128), updates=60,
                in_parts=1 if contender == "mirrored" else int(contender), validate_every=60,
                steps_per_execution=5, callbacks=[clock], verbose=0)
    return clock.milliseconds(5)


def joined(contender):
    """The name of a contender's strategy; "mirrored" makes two logical devices of the CPU first."""
    import tensorflow as tf
    if contender == "mirrored":
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
    return {"one": "none", "workers": "multi_worker"}.get(contender, contender)


def allreduce_part(contender, network, repeats=200):
    """Milliseconds of one sum of a network's gradients over all replicas, all packed into one tensor."""
    import tensorflow as tf

    from training import device
    strategy = device.strategy(joined(contender))
    with strategy.scope():
        weights = compiled(NETWORKS[network][0]).count_params()

    @tf.function
    def sums(count):
        def body(i):
            def replica_sum():
                context = tf.distribute.get_replica_context()
                values = tf.fill([weights], tf.cast(i, tf.float32))    # others each time, or it is done once
                return context.all_reduce("SUM", values)[0]
            strategy.run(replica_sum)
            return (i + 1,)
        return tf.while_loop(lambda i: i < count, body, (tf.constant(0),), parallel_iterations=1)
    sums(tf.constant(3))
    started = time.perf_counter()
    sums(tf.constant(repeats))
    return 1e3 * (time.perf_counter() - started) / repeats


def checkpoint_part(width):
    """Seconds of one Progress.save, median of five: parameters and their momentum, fsync included."""
    import keras

    from training.progress import Progress
    model = keras.Sequential([keras.Input((int(width),)), keras.layers.Dense(int(width))])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    with tempfile.TemporaryDirectory() as folder:
        progress, seconds = Progress(folder, {"model": model}), []
        for update in range(6):
            progress.updates = update
            started = time.perf_counter()
            progress.save()
            seconds.append(time.perf_counter() - started)
        size = max(path.stat().st_size for path in Path(folder).rglob("*.npz"))
    return {"parameters": model.count_params(), "MiB": round(size / 2**20, 1),
            "seconds": round(statistics.median(seconds[1:]), 4)}


def memory_part(contender, fits=50):
    """MiB of resident memory after each fit of a small convnet."""
    arguments, batch, execution, _ = NETWORKS["tiny"]
    arguments = {**arguments, "filters": (8,)}
    fit, sizes = {"run.fit": run_fit, "model.fit": bare_fit}[contender], []
    for _ in range(int(fits)):
        fit(arguments, batch, execution, 3 * execution)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sizes.append(round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1))
    return sizes


PARTS = {                        # name -> function, and its contenders: arguments and threads
    "fit": (fit_part, [((contender, network), 1) for network in NETWORKS
                       for contender in ("run.fit", "model.fit")]),
    "jit": (jit_part, [((jit, network), 1) for network in NETWORKS for jit in ("off", "on")]),
    "devices": (devices_part, [(("one", "10 ms"), 1), (("one", "10 ms"), 2), (("mirrored", "10 ms"), 2),
                               (("workers", "10 ms"), 1)]),
    "parts": (parts_part, [(("1", "32"), 2), (("2", "32"), 2), (("2", "32"), (1, 2)),
                           (("mirrored", "32"), (1, 2)), (("2", "24"), (1, 2))]),
    "allreduce": (allreduce_part, [(("mirrored", "10 ms"), 2), (("workers", "10 ms"), 1)]),
    "checkpoint": (checkpoint_part, [((width,), 1) for width in ("300", "1300", "5000")]),
    "memory": (memory_part, [((contender,), 1) for contender in ("run.fit", "model.fit")]),
}


def measured(part, arguments, threads):
    """One measurement in a process of its own; threads: of an operation and of operations, or both in one."""
    within, between = threads if isinstance(threads, tuple) else (threads, threads)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2",
                   "TF_NUM_INTRAOP_THREADS": str(within), "TF_NUM_INTEROP_THREADS": str(between)}
    command = [sys.executable, __file__, "--child", part, *arguments]
    if "workers" in arguments:
        command = [sys.executable, "-m", "training.launch", "--workers", "2", "--restarts", "0", "--",
                   *command]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{part} {' '.join(arguments)} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def named(threads):
    """2 -> "2 threads"; (1, 2) -> "2 operations of 1 thread"."""
    if isinstance(threads, tuple):
        return f"{threads[1]} operations of {named(threads[0])}"
    return f"{threads} thread{'s' * (threads > 1)}"


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--repeats", type=int, default=5, help="of the timings (default: 5)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        from training.start_up import use_onednn
        use_onednn()
        name, *values = options.child
        print(json.dumps(PARTS[name][0](*values)))
        return None
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"PART must be of {', '.join(PARTS)}. Received: {unknown[0]}")

    from training.device import environment
    from training.files import read_json, write_json
    report = read_json(options.out) if options.out.exists() else {}
    for part in options.parts or PARTS:
        _, contenders = PARTS[part]
        runs = {}
        for _ in range(1 if part == "memory" else options.repeats):
            for values, threads in contenders:
                name = f"{', '.join(values)}, {named(threads)}"
                runs.setdefault(name, []).append(measured(part, values, threads))
        timed = all(isinstance(value, float) for values in runs.values() for value in values)
        report[part] = {"date": time.strftime("%Y-%m-%d"), "environment": environment(), "runs": runs,
                        **({"median": {name: round(statistics.median(values), 4)
                                       for name, values in runs.items()}} if timed else {})}
        write_json(options.out, report)
        print(json.dumps({part: report[part].get("median", runs)}, indent=1), flush=True)
    return report


if __name__ == "__main__":
    main()
