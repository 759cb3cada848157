"""Projects the speed-up of data-parallel training from a step's time, its gradients and the links.

Synchronous training on N devices, each with its own batch of the same size as the one that was timed:

    a ring's all-reduce    t_sum = 2 (N - 1) / N * G / B + 2 (N - 1) * L
    a step                 t(N)  = t_step + (1 - o) * t_sum
    speed-up               N * t_step / t(N)

G: bytes of all gradients, 4 per weight.  B: bytes per second of the slowest link of the ring, one way.
L: seconds until a message arrives.  o: the part of the sum that is hidden behind the backward pass; 0 is
what MultiWorkerMirroredStrategy does with one packed sum at the end of the step.
Over M machines with K devices each, the ring runs within the machines first and then between them:
t_sum is the sum of both, the second over M with the network's B and L.

Run:  python benchmarks/scaling.py --step-ms 90 --parameters 25557032
      python benchmarks/scaling.py --page            writes docs/scaling.md from benchmarks/results/speed
"""
import argparse
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "benchmarks" / "results" / "speed" / "run_time.json"
PAGE = ROOT / "docs" / "scaling.md"
LINKS = {                        # name -> (bytes per second one way, seconds of latency); vendors' figures
    "NVLink 4 (450 GB/s)": (450e9, 5e-6),
    "PCIe 4 x16 (32 GB/s)": (32e9, 10e-6),
    "InfiniBand 400 Gb/s": (50e9, 5e-6),
    "Ethernet 100 Gb/s": (12.5e9, 20e-6),
    "Ethernet 10 Gb/s": (1.25e9, 50e-6),
}
RESNET50 = 25_557_032            # parameters


def sum_seconds(devices, gradient_bytes, bandwidth, latency):
    """Seconds of a ring's all-reduce over so many devices."""
    return 2 * (devices - 1) / devices * gradient_bytes / bandwidth + 2 * (devices - 1) * latency


def speed_up(step, gradient_bytes, *rings, overlap=0.0):
    """Times as many examples a second; rings: (devices, bandwidth, latency), the inner one first."""
    total = 1
    for devices, _, _ in rings:
        total *= devices
    waiting = sum(sum_seconds(devices, gradient_bytes, bandwidth, latency)
                  for devices, bandwidth, latency in rings)
    return total * step / (step + (1 - overlap) * waiting)


def table(step, parameters, overlap=0.0):
    """Rows of a Markdown table: per link, 8 devices of one machine; then 8 machines with 8 devices each."""
    rows = ["| link | 8 devices | efficiency | 8 machines of 8 devices over it | efficiency |",
            "|---|---|---|---|---|"]
    inner = (8, *LINKS["NVLink 4 (450 GB/s)"])
    for name, link in LINKS.items():
        one = speed_up(step, 4 * parameters, (8, *link), overlap=overlap)
        many = speed_up(step, 4 * parameters, inner, (8, *link), overlap=overlap)
        rows.append(f"| {name} | {one:.2f} x | {one / 8:.0%} | {many:.1f} x | {many / 64:.0%} |")
    return "\n".join(rows)


def page(measured):
    """docs/scaling.md: what was measured on one machine, and what follows from it."""
    devices, sums = ({name: min(values) for name, values in measured[part]["runs"].items()}
                     for part in ("devices", "allreduce"))
    one, two = devices["one, 10 ms, 1 thread"], devices["one, 10 ms, 2 threads"]
    mirrored, workers = devices["mirrored, 10 ms, 2 threads"], devices["workers, 10 ms, 1 thread"]
    local, loopback = sums["mirrored, 10 ms, 2 threads"], sums["workers, 10 ms, 1 thread"]
    gradients, count = 4 * 1_672_570, len(measured["devices"]["runs"]["one, 10 ms, 1 thread"])
    environment = measured["devices"]["environment"]
    formulas = __doc__.split("\n\n")[2]
    return f"""# What more devices bring

Written by `python benchmarks/scaling.py --page` from `benchmarks/results/speed/run_time.json`.

## Formulas
Synchronous data parallelism; each device keeps its batch, so that the global batch grows with their number.

{formulas}

`G` are the bytes of all gradients, 4 per weight; `B` the bytes per second of the slowest link, one way; `L`
seconds of latency; `o` the part of the sum that is hidden behind the backward pass. Here `o = 0`: one packed
sum at the end of a step, as `MultiWorkerMirroredStrategy` does it; NCCL's streams may hide a part. Over
machines, a ring within each comes first.

## Measured: two devices on two cores
{environment["device"]}, {measured["devices"]["date"]}. Nielsen's conv20-conv40-FC1000-FC1000 (1,672,570
weights, {gradients / 1e6:.1f} MB of gradients), 40 images an update in all: the devices share the batch, and
the two cores. The least of {count} runs, because other work on the machine only adds to them.

| | ms per update | beside one core |
|---|---|---|
| one device, one thread | {one:.1f} | 1.00 x |
| one device, two threads | {two:.1f} | {one / two:.2f} x |
| two mirrored logical devices, two threads | {mirrored:.1f} | {one / mirrored:.2f} x |
| two workers on loopback, one thread each | {workers:.1f} | {one / workers:.2f} x |

One sum of the gradients, alone: {local:.1f} ms between two logical devices, {loopback:.1f} ms between two
workers over gRPC on loopback ({gradients / loopback / 1e6:.2f} GB/s), {loopback / workers:.0%} of the
workers' step. The rest is each device's half of the batch, the update of all weights (not halved), and
the work that gRPC itself does on the same two cores. There several devices are for trying out what will run
on more; threads are what uses the cores.

## Projected
ResNet-50 ({RESNET50:,} weights, {4 * RESNET50 / 1e6:.0f} MB of gradients). The step times are assumptions:
ResNet-50 has not been timed on a GPU here. Put your own in:
`python benchmarks/scaling.py --step-ms MS --parameters N --overlap O`. Bandwidths are the vendors' figures;
what a library reaches is below them. For the 8 machines, NVLink within each.

### A step of 90 ms
{table(0.090, RESNET50)}

### A step of 20 ms
{table(0.020, RESNET50)}

What follows: within a machine the sum costs next to nothing; between machines the network decides, and a
faster device needs a faster one. Twice the batch per device halves what the sum costs an image.
"""


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step-ms", type=float, default=90.0, help="milliseconds of a step on one device")
    parser.add_argument("--parameters", type=float, default=RESNET50, help="trainable weights")
    parser.add_argument("--overlap", type=float, default=0.0,
                        help="part of the sum that the backward pass hides")
    parser.add_argument("--page", action="store_true", help="write docs/scaling.md")
    options = parser.parse_args(arguments)
    if options.step_ms <= 0 or options.parameters < 1 or not 0 <= options.overlap <= 1:
        parser.error("--step-ms and --parameters must be positive, --overlap in [0, 1]. Received: "
                     f"{options.step_ms}, {options.parameters}, {options.overlap}")
    if options.page:
        PAGE.write_text(page(json.loads(MEASURED.read_text())))
        print(PAGE)
    else:
        print(table(options.step_ms / 1e3, options.parameters, options.overlap))


if __name__ == "__main__":
    main()
