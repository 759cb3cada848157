"""Milliseconds per training step of classifiers: ours, Keras's own kernels, PyTorch.

    ours            training.loop's block function, as run.fit trains: updates in a loop within the graph,
                    the kernels of training.kernels where they are of use
    keras           the same with all kernels as Keras composes them
    xla             the same, each update compiled by XLA (--jit on)
    as-it-comes     ours without asking for oneDNN, which TensorFlow takes by itself from AVX-512 VNNI on
    pytorch         eager, channels last, SGD(fused=True), Adam(fused=True)
    pytorch-compile torch.compile of the network, its loss and both passes
All train the same architectures on batches of random images, with cross-entropy and SGD with
momentum .9, Cirešan's largest multilayer perceptron with Adam; ours and Keras also gather their batch from
uint8 images and keep loss and accuracy, PyTorch has one batch ready and keeps neither. mixed_bfloat16 is
Keras's policy and PyTorch's autocast.

Every (contender, network, precision) is a process of its own; they take turns, and the median of
the repetitions is kept: of the wall clock, and of the processor time of all threads. Where the machine
has other work, --threads 1 and processor time tell more: threads wait for one another, PyTorch's spinning.
Run:  python benchmarks/step_time.py --repeats 3 --torch-python PATH
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
RESULTS = ROOT / "benchmarks" / "results" / "speed" / "step_time.json"
# (an image's shape, batch, steps to time after two that are not, parameters that both libraries must have)
NETWORKS = {"resnet20": ((32, 32, 3), 128, 20, 269_722), "densenet40": ((32, 32, 3), 64, 8, 1_019_722),
            "airbench94": ((32, 32, 3), 512, 5, 1_971_328), "resnet18": ((224, 224, 3), 16, 4, 11_689_512),
            "resnet50": ((224, 224, 3), 16, 3, 25_557_032), "ciresan": ((29, 29, 1), 200, 30, 12_115_010)}
HIDDEN = 2500, 2000, 1500, 1000, 500      # units of Cirešan's net
CONTENDERS = ("ours", "keras", "xla", "as-it-comes", "pytorch", "pytorch-compile")
PRECISIONS = ("float32", "mixed_bfloat16")


def keras_network(name):
    from models import airbench94, densenet_cifar, mlp, resnet18, resnet50, resnet_cifar, scaled_tanh
    network = {"resnet20": lambda: resnet_cifar(depth=20), "densenet40": lambda: densenet_cifar(depth=40),
               "airbench94": airbench94, "resnet18": resnet18,
               "resnet50": lambda: resnet50(version="v1.5"),
               "ciresan": lambda: mlp(NETWORKS[name][0], 10, hidden=HIDDEN, activation=scaled_tanh)}[name]()
    if name == "airbench94":                          # as fast_cifar10's sgd trains it
        network.get_layer("whitening_bias").trainable = False
    return network


def tensorflow_times(contender, name, precision, steps):
    """-> (seconds, processor seconds, seconds to the end of the first update), per step but for the last."""
    from training.start_up import use_onednn
    if contender == "as-it-comes":
        os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)
    else:
        use_onednn()
    import keras
    import numpy as np
    import tensorflow as tf

    from pipelines.stream import Examples, Stream
    from training import kernels, loop
    keras.config.set_dtype_policy(precision)
    shape, batch, _, parameters = NETWORKS[name]
    model = keras_network(name)
    found = sum(variable.shape.num_elements() for variable in model.trainable_variables)
    if found != parameters:
        raise ValueError(f"{name} has {found} parameters in Keras, not {parameters}")
    model.compile(keras.optimizers.Adam(3e-4) if name == "ciresan" else
                  keras.optimizers.SGD(0.01, momentum=0.9),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    generator = np.random.default_rng(0)
    stream = Stream(Examples(generator.integers(0, 256, (2 * batch, *shape), dtype=np.uint8),
                             generator.integers(0, 10, 2 * batch)), batch)
    loop.build(model, stream, None)
    with kernels.faster(model, wanted=contender in ("ours", "as-it-comes")):
        block = loop.block_function(model, stream, tf.distribute.get_strategy(), jit=contender == "xla")
        begun = time.perf_counter()
        float(block(0, 1)["loss"])
        first = time.perf_counter() - begun
        float(block(1, 2)["loss"])
        started, worked = time.perf_counter(), time.process_time()
        float(block(2, 2 + steps)["loss"])
    return (time.perf_counter() - started) / steps, (time.process_time() - worked) / steps, first


def torch_network(name):
    """The architectures of keras_network, channels last."""
    import torch
    from torch import nn

    def conv(inputs, outputs, size, stride=1):
        return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)

    class Residual(nn.Module):
        def __init__(self, body, shortcut):
            super().__init__()
            self.body, self.shortcut = body, shortcut

        def forward(self, x):
            return torch.relu(self.body(x) + self.shortcut(x))

    class Subsampled(nn.Module):                      # shortcut A: every other pixel, zeros for new maps
        def __init__(self, more):
            super().__init__()
            self.more = more

        def forward(self, x):
            return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more // 2, self.more // 2))

    class Grown(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body

        def forward(self, x):
            return torch.cat([x, self.body(x)], 1)

    def normalised(*convolutions):
        modules = []
        for one in convolutions:
            modules += [one, nn.BatchNorm2d(one.out_channels), nn.ReLU()]
        return nn.Sequential(*modules[:-1])

    def ended(modules, width, classes):
        return nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))

    def resnet20():
        modules, width = [normalised(conv(3, 16, 3)), nn.ReLU()], 16
        for stage in (16, 32, 64):
            for _ in range(3):
                stride = 1 if stage == width else 2
                shortcut = nn.Identity() if stride == 1 else Subsampled(stage - width)
                modules.append(Residual(normalised(conv(width, stage, 3, stride), conv(stage, stage, 3)),
                                        shortcut))
                width = stage
        return ended(modules, 64, 10)

    def densenet40():
        modules, width = [conv(3, 16, 3)], 16
        for block in range(3):
            for _ in range(12):
                modules.append(Grown(nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), conv(width, 12, 3))))
                width += 12
            modules += [nn.BatchNorm2d(width), nn.ReLU()]
            if block < 2:
                modules += [conv(width, width, 1), nn.AvgPool2d(2)]
        return ended(modules, width, 10)

    def airbench94():
        whitening = nn.Conv2d(3, 24, 2)
        whitening.requires_grad_(False)
        modules, width = [whitening, nn.GELU()], 24
        for stage in (64, 256, 256):
            modules += [conv(width, stage, 3), nn.MaxPool2d(2), nn.BatchNorm2d(stage), nn.GELU(),
                        conv(stage, stage, 3), nn.BatchNorm2d(stage), nn.GELU()]
            width = stage
        for module in modules:                        # offsets are trained, scales are not
            if isinstance(module, nn.BatchNorm2d):
                module.weight.requires_grad_(False)
        return nn.Sequential(*modules, nn.MaxPool2d(3), nn.Flatten(), nn.Linear(256, 10, bias=False))

    def imagenet(bottleneck, blocks):
        modules, width = [normalised(nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)), nn.ReLU(),
                          nn.MaxPool2d(3, 2, padding=1)], 64
        for stage, (maps, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True)):
            for block in range(count):
                stride, out = 2 if stage and not block else 1, 4 * maps if bottleneck else maps
                body = (normalised(conv(width, maps, 1), conv(maps, maps, 3, stride), conv(maps, out, 1))
                        if bottleneck else normalised(conv(width, maps, 3, stride), conv(maps, maps, 3)))
                shortcut = (nn.Identity() if width == out and stride == 1
                            else normalised(conv(width, out, 1, stride)))
                modules.append(Residual(body, shortcut))
                width = out
        return ended(modules, width, 1000)
    class ScaledTanh(nn.Module):
        def forward(self, x):
            return 1.7159 * torch.tanh(2 / 3 * x)

    def ciresan():
        modules, width = [nn.Flatten()], 841
        for units in HIDDEN:
            modules += [nn.Linear(width, units), ScaledTanh()]
            width = units
        return nn.Sequential(*modules, nn.Linear(width, 10))
    network = {"resnet20": resnet20, "densenet40": densenet40, "airbench94": airbench94, "ciresan": ciresan,
               "resnet18": lambda: imagenet(False, (2, 2, 2, 2)),
               "resnet50": lambda: imagenet(True, (3, 4, 6, 3))}[name]()
    return network.to(memory_format=torch.channels_last)


def pytorch_times(contender, name, precision, steps):
    """-> (seconds, processor seconds, seconds to the end of the first update), per step but for the last."""
    import torch
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    (*side, channels), batch, _, parameters = NETWORKS[name]
    network = torch_network(name)
    found = sum(each.numel() for each in network.parameters() if each.requires_grad)
    if found != parameters:
        raise ValueError(f"{name} has {found} parameters in PyTorch, not {parameters}")
    images = torch.rand(batch, channels, *side).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))
    trained = [each for each in network.parameters() if each.requires_grad]
    optimizer = (torch.optim.Adam(trained, 3e-4, fused=True) if name == "ciresan"
                 else torch.optim.SGD(trained, 0.01, momentum=0.9, fused=True))

    def loss():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "mixed_bfloat16"):
            return torch.nn.functional.cross_entropy(network(images), labels)
    function = torch.compile(loss) if contender == "pytorch-compile" else loss

    def step():
        optimizer.zero_grad()
        function().backward()
        optimizer.step()
    begun = time.perf_counter()
    step()
    first = time.perf_counter() - begun
    step()
    started, worked = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    return (time.perf_counter() - started) / steps, (time.process_time() - worked) / steps, first


def measured(python, contender, name, precision, threads, shorten):
    """{"wall", "processor" in milliseconds per step, "first" in seconds} by a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TF_NUM_INTRAOP_THREADS": str(threads),
                   "TF_NUM_INTEROP_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([python, __file__, "--child", contender, name, precision, "--shorten",
                           str(shorten)], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{contender}, {name}, {precision} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def child(contender, name, precision, shorten):
    steps = max(2, NETWORKS[name][2] // shorten)
    times = pytorch_times if contender.startswith("pytorch") else tensorflow_times
    wall, processor, first = times(contender, name, precision, steps)
    return {"wall": round(1e3 * wall, 2), "processor": round(1e3 * processor, 2), "first": round(first, 2)}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--precisions", nargs="*", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--contenders", nargs="*", choices=CONTENDERS, default=["ours", "keras", "pytorch"])
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has PyTorch")
    parser.add_argument("--shorten", type=int, default=1, help="time that many times fewer steps")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS, help="measurements that it has are added to")
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(child(*options.child, options.shorten)))
        return None

    from training.device import environment
    from training.files import read_json, write_json
    missing = {}
    if subprocess.run([options.torch_python, "-c", "import torch"], capture_output=True).returncode:
        missing["pytorch"] = f"PyTorch is not installed for {Path(options.torch_python).name}"
        print(f"pytorch is left out: {missing['pytorch']}")
    runs = read_json(options.out)["runs"] if options.out.exists() else {}
    threads = f"{options.threads} thread" + "s" * (options.threads > 1)
    for _ in range(options.repeats):
        for name in options.networks:
            for precision in options.precisions:
                for contender in options.contenders:
                    is_torch = contender.startswith("pytorch")
                    if is_torch and missing:
                        continue
                    python = options.torch_python if is_torch else sys.executable
                    row = runs.setdefault(f"{name}, {precision}, {threads}", {}).setdefault(contender, [])
                    row.append(measured(python, contender, name, precision, options.threads,
                                        options.shorten))
                    print(f"{name}, {precision}, {contender}: {row[-1]}", flush=True)
                report = summary(runs, missing, environment())
                write_json(options.out, report)              # each time, so that none is lost
    return report


def summary(runs, missing, environment):
    """The report: medians, and how many times PyTorch's time ours is; under 1 ours is faster."""
    median = {kind: {name: {contender: statistics.median(one[kind] for one in row)
                            for contender, row in contenders.items()}
                     for name, contenders in runs.items()} for kind in ("wall", "processor", "first")}
    batches = {name: f"{batch} images of {width}x{height}"
               for name, ((height, width, _), batch, *_) in NETWORKS.items()}
    return {"unit": "milliseconds per step; first: seconds to the end of the first update",
            "steps_of": batches, "missing": missing, "environment": environment,
            "date": time.strftime("%Y-%m-%d"),
            "median": median,
            "ours_over_pytorch": {kind: {
                name: round(row["ours"] / row["pytorch"], 2)
                for name, row in median[kind].items() if {"ours", "pytorch"} <= set(row)}
                for kind in ("wall", "processor")},
            "runs": runs}


if __name__ == "__main__":
    main()
