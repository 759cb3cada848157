"""A recipe of milliseconds: it imports no TensorFlow, and does what its configuration says.

Its curve depends on rate and width alone. Each epoch appends a row to history.csv and a letter to
starts.txt, by which a test counts how often an epoch was made.
"""
import argparse
import dataclasses
import json
import math
import os
import signal
import sys
import time
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 0.1
    width: int = 4
    kind: str = "plain"          # or momentum
    momentum: float = 0.0
    epochs: int = 4
    pause: float = 0.0           # seconds an epoch
    fault: str = ""              # what happens in the third epoch
    marker: str = ""             # a file whose existence prevents a kill: it is killed once


SMOKE = Config(epochs=2)


def value(config, epoch, seed):
    optimum = -abs(math.log10(config.rate) + 2) / 4 - abs(config.width - 6) / 20 + config.momentum / 10
    return 1 - 0.5 ** epoch + optimum / 2 + seed / 1000


def main(flags, config):
    folder = Path(flags.run_dir)
    path = folder / "history.csv"
    rows = path.read_text().splitlines()[1:] if flags.resume and path.exists() else []
    (folder / "config.json").write_text(json.dumps({"recipe": "fake_recipe",
                                                    "config": dataclasses.asdict(config)}))
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / "state").write_text("x")
    with open(folder / "starts.txt", "a") as file:
        file.write("s")
    if not rows:
        path.write_text("epoch,updates,val_score\n")
    for epoch in range(len(rows) + 1, config.epochs + 1):
        time.sleep(config.pause)
        if epoch == 3:
            fault(config)
        with open(path, "a") as file:
            file.write(f"{epoch},{10 * epoch},{value(config, epoch, flags.seed)!r}\n")
        with open(folder / "starts.txt", "a") as file:
            file.write("e")
    (folder / "metrics.json").write_text(json.dumps({"val_score": value(config, config.epochs, flags.seed)}))


def fault(config):
    if config.fault == "nan":
        print("error: the loss became nan at update 25", file=sys.stderr)
        sys.exit(3)
    if config.fault == "impossible":
        print(f"error: width must be even. Received: {config.width}", file=sys.stderr)
        sys.exit(2)
    if config.fault == "exception":
        raise RuntimeError(f"no such width: {config.width}")
    if config.fault == "memory":
        os.kill(os.getpid(), signal.SIGKILL)
    if config.fault == "killed once" and not Path(config.marker).exists():
        Path(config.marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    parser.add_argument("--run-dir")
    parser.add_argument("--fold", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trial", action="store_true")
    parser.add_argument("--resume", action="store_true")
    flags = parser.parse_args()
    saved = Path(flags.run_dir) / "config.json" if flags.resume else Path(flags.config)
    main(flags, Config(**json.loads(saved.read_text())["config"]))
