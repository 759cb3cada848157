"""Milliseconds per training step of recurrent networks on a CPU: HoistedLSTM, Keras's LSTM, PyTorch's.

    hoisted, keras     training.loop's blocks of updates in the graph, with the layer that the name says
    xla                the same with Keras's layer, the whole update compiled by XLA (--jit on)
    pytorch            eager
    -bfloat16          mixed precision: Keras's mixed_bfloat16, PyTorch's autocast
The networks, with random inputs of full length, Adam:
    lstm_imdb          32 reviews of 400 words, embedding of 64, LSTM 64 in two directions, maximum over time
    keras-imdb-lstm    32 reviews of 80 words, embedding of 128, LSTM 128 (the Keras example imdb_lstm)
    char_lm            64 rows of 64 characters, two layers of 512
    pixels             64 images of 784 pixels, LSTM 128
    sequential_mnist   64 images of 784 pixels, GRU 96: the recipe's own; 781 updates are an epoch
The vocabulary of the reviews is 200 words: with 20,000 the update of the embedding is most of a step.

Both times of a step are kept: by the clock, and by the processors (of all threads together), which is the
one to compare where the machine does other things beside. Every (library, number of threads, network) is a
process of its own; the processes take turns, and the median of the repetitions is kept.
Run:  python benchmarks/recurrent_steps.py --repeats 5 --torch-python PATH
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
RESULTS = ROOT / "benchmarks" / "results" / "speed" / "recurrent_steps.json"
WORDS, SYMBOLS = 200, 66
NETWORKS = {                     # batch, steps, and how many updates to time
    "lstm_imdb": (32, 400, 5), "keras-imdb-lstm": (32, 80, 20), "char_lm": (64, 64, 3),
    "pixels": (64, 784, 2), "sequential_mnist": (64, 784, 4)}
PIXELS = {"pixels": ("lstm", 128), "sequential_mnist": ("gru", 96)}       # those that read images


def random_batch(network, shorten):
    """(inputs, labels) of full length; the speed of a step does not depend on what is in them."""
    import numpy as np
    generator = np.random.default_rng(0)
    batch, steps, _ = NETWORKS[network]
    steps = max(4, steps // shorten)
    if network in PIXELS:
        return generator.random((batch, steps, 1), np.float32), generator.integers(0, 10, batch)
    if network == "char_lm":
        return (generator.integers(1, SYMBOLS, (batch, steps)).astype(np.int32),
                generator.integers(0, SYMBOLS, (batch, steps)))
    return generator.integers(1, WORDS, (batch, steps)).astype(np.int32), generator.integers(0, 2, batch)


def timed(updates, count):
    """[milliseconds by the clock, by the processors] per update of updates(count)."""
    clock, processors = time.perf_counter(), time.process_time()
    updates(count)
    return [1e3 * (time.perf_counter() - clock) / count, 1e3 * (time.process_time() - processors) / count]


def tensorflow_rows(network, shorten):
    """-> {contender: [milliseconds by the clock, by the processors]}"""
    from training.start_up import use_onednn
    use_onednn()
    import keras
    import tensorflow as tf

    from models import recurrent_classifier, recurrent_language_model
    from training.loop import block_function

    inputs, labels = random_batch(network, shorten)

    class Same:
        """The same batch again and again."""
        @staticmethod
        def batch(i, shard=(0, 1)):
            return tf.constant(inputs), tf.constant(labels)

    def built(hoisted):
        words = {"vocabulary": WORDS, "hoisted": hoisted}
        if network == "lstm_imdb":
            return recurrent_classifier((None,), 1, embedding=64, units=(64,), bidirectional=True,
                                        pooling="max", dropout=0.5, **words)
        if network == "keras-imdb-lstm":
            return recurrent_classifier((None,), 1, embedding=128, units=(128,), **words)
        if network in PIXELS:
            cell, units = PIXELS[network]
            return recurrent_classifier((inputs.shape[1], 1), 10, cell=cell, units=(units,), hoisted=hoisted)
        return recurrent_language_model(SYMBOLS, units=(512, 512), batch_size=len(inputs), stateful=True,
                                        dropout=0.5, hoisted=hoisted)

    rows = {}
    for precision, suffix in (("float32", ""), ("mixed_bfloat16", "-bfloat16")):
        keras.config.set_dtype_policy(precision)
        for name, hoisted in (("hoisted", True), ("keras", False), ("xla", False)):
            if name == "xla" and (network not in PIXELS or suffix):          # which run so
                continue
            if hoisted and network in PIXELS and PIXELS[network][0] != "lstm":
                continue
            model = built(hoisted)
            single = model.output_shape[-1] == 1
            model.compile(keras.optimizers.Adam(), keras.losses.BinaryCrossentropy(from_logits=True) if single
                          else keras.losses.SparseCategoricalCrossentropy(from_logits=True))
            model.test_on_batch(inputs, labels)
            model.optimizer.build(model.trainable_variables)
            block = block_function(model, Same, tf.distribute.get_strategy(), jit=name == "xla")
            block(0, 1)                                                # tracing

            def updates(count, block=block):
                float(block(0, count)["loss"])
            rows[name + suffix] = timed(updates, max(1, NETWORKS[network][2] // shorten))
    return rows


def pytorch_rows(network, shorten):
    """-> {contender: [milliseconds by the clock, by the processors]}"""
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    inputs, labels = map(torch.from_numpy, random_batch(network, shorten))
    inputs = inputs.long() if network not in PIXELS else inputs

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            reviews = network in ("lstm_imdb", "keras-imdb-lstm")
            cell, width = PIXELS.get(network) or (
                "lstm", {"lstm_imdb": 64, "keras-imdb-lstm": 128, "char_lm": 512}[network])
            self.embedding = nn.Embedding(WORDS, width) if reviews else None
            layer = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
            self.layer = layer(width if reviews else SYMBOLS if network == "char_lm" else 1, width,
                               num_layers=2 if network == "char_lm" else 1, batch_first=True,
                               bidirectional=network == "lstm_imdb",
                               dropout=0.5 if network == "char_lm" else 0.0)
            outputs = 10 if network in PIXELS else SYMBOLS if network == "char_lm" else 1
            self.logits = nn.Linear(2 * width if network == "lstm_imdb" else width, outputs)
            self.dropout = nn.Dropout(0.5 if network in ("lstm_imdb", "char_lm") else 0.0)
            self.state = None

        def forward(self, x):
            if network == "char_lm":
                x = F.one_hot(x, SYMBOLS).float()
                x, state = self.layer(x, self.state)
                self.state = tuple(part.detach() for part in state)
                return self.logits(self.dropout(x)).flatten(0, 1)
            x = self.layer(x if self.embedding is None else self.dropout(self.embedding(x)))[0]
            return self.logits(self.dropout(x.amax(1) if network == "lstm_imdb" else x[:, -1]))

    rows = {}
    for low, suffix in ((False, ""), (True, "-bfloat16")):
        model = Network()
        optimizer = torch.optim.Adam(model.parameters())

        def updates(count, model=model, optimizer=optimizer, low=low):
            for _ in range(count):
                optimizer.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=low):
                    outputs = model(inputs)
                outputs = outputs.float()
                loss = (F.binary_cross_entropy_with_logits(outputs[:, 0], labels.float())
                        if outputs.shape[1] == 1 else F.cross_entropy(outputs, labels.flatten()))
                loss.backward()
                optimizer.step()
        updates(2)
        rows["pytorch" + suffix] = timed(updates, max(1, NETWORKS[network][2] // shorten))
    return rows


def measured(python, library, threads, network, shorten):
    """The rows of one library and network in a process of its own, with so many threads."""
    count = str(threads)
    environment = {**os.environ, "OMP_NUM_THREADS": count, "TF_NUM_INTRAOP_THREADS": count,
                   "TF_NUM_INTEROP_THREADS": count, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([python, __file__, "--child", library, "--networks", network,
                           "--shorten", str(shorten)], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{library} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has PyTorch")
    parser.add_argument("--shorten", type=int, default=1, help="that many times fewer updates and steps")
    parser.add_argument("--child", choices=("tensorflow", "pytorch"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if options.child:
        rows = {"tensorflow": tensorflow_rows, "pytorch": pytorch_rows}[options.child](
            options.networks[0], options.shorten)
        print(json.dumps(rows))
        return rows

    from training.device import environment
    from training.files import write_json
    pythons, missing = {"tensorflow": sys.executable, "pytorch": options.torch_python}, {}
    if subprocess.run([options.torch_python, "-c", "import torch"], capture_output=True).returncode:
        del pythons["pytorch"]
        missing["pytorch"] = f"PyTorch is not installed for {Path(options.torch_python).name}"
        print(f"pytorch is left out: {missing['pytorch']}")
    runs = {"clock": {}, "processors": {}}        # measure -> network -> "contender, threads" -> milliseconds
    for repeat in range(options.repeats):
        for network in options.networks:
            for threads in options.threads:
                for library, python in pythons.items():
                    rows = measured(python, library, threads, network, options.shorten)
                    for contender, times in rows.items():
                        for measure, milliseconds in zip(runs, times, strict=True):
                            runs[measure].setdefault(network, {}).setdefault(
                                f"{contender}, {threads}", []).append(round(milliseconds, 3))
            print(f"repetition {repeat + 1} of {options.repeats}: {network} done", flush=True)
    medians = {measure: {network: {name: statistics.median(values) for name, values in row.items()}
                         for network, row in networks.items()} for measure, networks in runs.items()}
    report = {"unit": "milliseconds per update; contender, threads", "missing": missing,
              "environment": environment(), "date": time.strftime("%Y-%m-%d"), "median": medians,
              **{f"{ours}_over_pytorch": {
                  measure: {network: {str(threads): round(row[f"{ours}, {threads}"]
                                                          / row[f"pytorch, {threads}"], 2)
                                      for threads in options.threads
                                      if {f"{ours}, {threads}", f"pytorch, {threads}"} <= set(row)}
                            for network, row in networks.items()} for measure, networks in medians.items()}
                 for ours in ("hoisted", "xla")},
              "runs": runs}
    write_json(options.out, report)
    print(json.dumps({"median": medians, "hoisted_over_pytorch": report["hoisted_over_pytorch"],
                      "xla_over_pytorch": report["xla_over_pytorch"]}, indent=1))
    return report


if __name__ == "__main__":
    main()
