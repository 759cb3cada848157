"""The command line: python -m tuning COMMAND."""
import contextlib
import dataclasses
import json
import os
import signal
import socket
import sys
import textwrap
import threading
import time
from pathlib import Path

from training.command_line import (
    Parser,
    RunFlags,
    config_from,
    from_arguments,
    nearest,
    plain_errors,
    refuse_unknown,
    terminable,
)
from training.files import read_json
from tuning import spaces
from tuning.search import ALGORITHMS, CHIEF, Search, Stopped, ranked, records, shown

PASSED_ON = ("strategy", "precision", "jit", "checkpoint_every", "deterministic", "synchronized", "data_dir")
PORT = 5270                    # of a chief
USAGE = """python -m tuning COMMAND

  list                        the recipes that have a search space
  search NAME [flags]         search its hyperparameters; search --help lists the flags
  resume FOLDER               go on with a search that was interrupted
  show FOLDER                 the best trials, as a table
  report FOLDER               write report.html: curves, parameters, importance
  best FOLDER > config.json   the best configuration: python -m recipes run NAME --config config.json
  chief NAME [flags]          as search, and let workers of other machines join over a port
  worker FOLDER               join the search of a chief

Begin with: python -m tuning search convnet_mnist --data digits --epochs 3 --trials 5"""


def list_spaces(arguments):
    """Prints the recipes that can be searched, and why the others cannot."""
    Parser("list", "The recipes that have a search space.", program="tuning").read(arguments)
    for name in spaces.names():
        print(name)
    for name, reason in spaces.WITHOUT.items():
        print(textwrap.fill(f"{name} has none: {reason}", 100, subsequent_indent="    "))


def search_parser(command):
    """The flags of search and of chief, which have the same."""
    parser = Parser(command, "Searches the hyperparameters of a recipe, each trial in a process of its own. "
                    "The objective is a validation metric; the test set is never looked at.",
                    program="tuning")
    parser.epilog = ("Any field of the recipe's configuration fixes that value: --data digits "
                     "--learning-rate 0.1. --config FILE and --smoke say what to start from. " + ", ".join(
                         "--" + name.replace("_", "-") for name in PASSED_ON) + " go to each trial.")
    parser.add_argument("name", metavar="NAME", help=f"{', '.join(spaces.names())}, or a Python file")
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="random")
    parser.add_argument("--trials", type=int, metavar="N",
                        help="default: 20; grid: all; hyperband: one round of its brackets")
    parser.add_argument("--epochs", type=int, metavar="E", help="length of a trial, the longest of hyperband")
    parser.add_argument("--minutes", type=float, metavar="M",
                        help="end the search after so long; what runs then counts with its value so far")
    parser.add_argument("--workers", type=int, metavar="W", default=0 if command == "chief" else 1,
                        help="trials at a time on this machine, whose cores and GPUs they share out")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the search and of its trainings")
    parser.add_argument("--repeats", type=int, default=1, metavar="K", help="seeds whose mean is the value")
    parser.add_argument("--folds", type=int, default=0, metavar="K", help="cross-validate, for small data")
    parser.add_argument("--factor", type=int, default=3, help="of hyperband: a third (3) is trained on")
    parser.add_argument("--initial-points", type=int, metavar="N", help="of bayesian: trials before its "
                        "model chooses; default: one more than there are parameters")
    parser.add_argument("--no-pruning", action="store_true", help="let bad trials run to their end")
    parser.add_argument("--folder", default="", metavar="DIR", help="by default runs/search-NAME-<time>")
    if command == "chief":
        add_address(parser)
    return parser


def add_address(parser):
    """The flags of a command that listens."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; by default this machine's "
                        "programs alone reach it. There is no password: use a network that you trust")
    parser.add_argument("--port", type=int, default=PORT, help=f"default: {PORT}")


def search(arguments, command="search"):
    """A new search of a recipe, in this process or, as chief, for workers elsewhere."""
    flags, rest = search_parser(command).parse_known_args(arguments)
    for name, least in (("trials", 1), ("epochs", 1), ("repeats", 1), ("factor", 2), ("seed", 0),
                        ("initial_points", 1), ("workers", 0 if command == "chief" else 1)):
        value = getattr(flags, name)
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {least}. Received: {value}")
    if flags.folds and flags.folds < 2:
        raise ValueError(f"--folds must be at least 2. Received: {flags.folds}")
    if flags.minutes is not None and flags.minutes <= 0:
        raise ValueError(f"--minutes must be positive. Received: {flags.minutes}")
    if flags.initial_points is not None and flags.algorithm != "bayesian":
        raise ValueError("--initial-points goes with --algorithm bayesian alone. "
                         f"Received: --algorithm {flags.algorithm}")
    if not flags.name.endswith(".py") and flags.name not in spaces.names():
        spaces.load(flags.name)                              # says why, without waiting for TensorFlow
    start_tensorflow()
    space = spaces.load(flags.name)
    base, fixed, passed_on = configuration(space, rest)
    if flags.epochs is not None:
        length = space.budget or "epochs"
        if not hasattr(base, length):
            raise ValueError(f"{flags.name} has no --epochs to set. Fix the field of its configuration that "
                             "says how long it trains.")
        base = dataclasses.replace(base, **{length: flags.epochs})
    if flags.trials is None and flags.algorithm in ("random", "bayesian") and flags.minutes is None:
        flags.trials = 20
    name = Path(flags.name).stem
    folder = flags.folder or f"runs/search-{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    made = Search.new(folder, space, base, algorithm=flags.algorithm, trials=flags.trials, seed=flags.seed,
                      repeats=flags.repeats, folds=flags.folds, factor=flags.factor, minutes=flags.minutes,
                      initial_points=flags.initial_points,
                      pruning=not flags.no_pruning and flags.algorithm != "hyperband",
                      fixed=fixed, flags=passed_on)
    address = {"host": flags.host, "port": flags.port} if command == "chief" else {}
    return go_on(made, flags.workers, **address)


def configuration(space, arguments):
    """The recipe's own flags -> (Config to start from, fields that are fixed, flags for each trial)."""
    given, rest = from_arguments(RunFlags, RunFlags(), arguments)
    refused = [name for name in ("run_dir", "resume", "evaluate", "fold", "trial")
               if getattr(given, name) != getattr(RunFlags(), name)]
    if refused:
        raise ValueError(f"--{refused[0].replace('_', '-')} does not go with a search")
    default = space.Config()
    if given.config:
        default = config_from(given.config, space.Config)
    elif given.smoke and space.smoke is not None:
        default = space.smoke
    base, unknown = from_arguments(space.Config, default, rest)
    refuse_unknown(unknown, space.Config, None)
    named = {argument.split("=")[0].removeprefix("--").replace("-", "_") for argument in rest
             if argument.startswith("--")}
    fixed = [each.name for each in dataclasses.fields(space.Config)
             if {each.name, f"no_{each.name}"} & named]
    passed_on = []
    for name in PASSED_ON:
        value = getattr(given, name)
        if value != getattr(RunFlags(), name):
            flag = "--" + name.replace("_", "-")
            value = str(Path(value).resolve()) if name == "data_dir" else value
            passed_on += [flag] if value is True else [flag, str(value)]
    return base, fixed, passed_on


def start_tensorflow():
    """keras-tuner and the recipe import it; the search itself does not compute, and leaves GPUs alone."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    from training.start_up import import_tensorflow
    import_tensorflow()
    os.environ.pop("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible


def silence():
    """keras-tuner 1.4.8 prints the value of each condition that it sends."""
    return contextlib.redirect_stdout(open(os.devnull, "w"))


def go_on(search, workers, **address):
    """Runs a search to its end and tells the result."""
    print(f"search in {search.folder}", flush=True)
    search.messages = lambda text, out=sys.stdout: print(text, file=out, flush=True)
    try:
        with terminable(), silence():
            search.run(workers, **address)
    except KeyboardInterrupt as error:
        raise type(error)(f"all is saved; go on with: python -m tuning resume {search.folder}") from error
    except Stopped as error:
        print(f"error: {error}\n\nGo on with: python -m tuning resume {search.folder}", file=sys.stderr)
        return 2
    rows = records(search)
    best = ranked(search, rows)
    counts = {name: sum(row["outcome"] == name for row in rows) for name in
              dict.fromkeys(row["outcome"] for row in rows)}
    print(f"\n{len(rows)} trials in {search.seconds:.0f} s: "
          + ", ".join(f"{count} {name}" for name, count in counts.items()))
    if best:
        print(f"best: trial {best[0]['id']}, {search.objective} {best[0]['value']:.4f}\n"
              f"python -m tuning best {search.folder} > config.json\n"
              f"python -m recipes run {search.recipe} --config config.json")
    return 0


def resume(arguments):
    """Goes on with a search."""
    parser = Parser("resume", "Goes on with a search that was interrupted, or looks whether it is complete.",
                    program="tuning")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--workers", type=int, metavar="W", help="by default 1, or none where it was a chief")
    flags = parser.read(arguments)
    found = Search(flags.folder)
    address = read_json(found.folder / CHIEF) if (found.folder / CHIEF).exists() else {}
    workers = flags.workers if flags.workers is not None else 0 if address else 1
    if workers < (0 if address else 1):
        raise ValueError(f"--workers must be at least 1. Received: {workers}")
    start_tensorflow()
    return go_on(found, workers, **address)


def show(arguments):
    """Prints the best trials, and why others failed."""
    parser = Parser("show", "The best trials of a search, as a table.", program="tuning")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--top", type=int, default=10, metavar="K", help="how many (default: 10)")
    flags = parser.read(arguments)
    found = Search(flags.folder)
    rows = records(found)
    counts = ", ".join(f"{sum(row['outcome'] == name for row in rows)} {name}"
                       for name in dict.fromkeys(row["outcome"] for row in rows))
    print(f"{found.recipe}, {found.algorithm}, seed {found.seed}: {len(rows)} trials"
          + (f" ({counts})" if counts else ""))
    best = ranked(found, rows)[:flags.top]
    names = list(dict.fromkeys(name for row in best for name in row["values"]))
    table = [["trial", found.objective, "outcome", "epochs", "seconds", *names]]
    table += [[row["id"], f"{row['value']:.4f}", row["outcome"], str(row["epochs"]),
               f"{row['process_seconds']:.0f}", *(shown(row["values"].get(name, "-")) for name in names)]
              for row in best]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table if best else []:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    for row in rows:
        if row["reason"] and row["value"] is None:
            print(f"trial {row['id']} {row['outcome']}: {row['reason']}"[:300])


def report(arguments):
    """Writes report.html and prints where."""
    parser = Parser("report", "Writes report.html of a search: one file that opens anywhere.",
                    program="tuning")
    parser.add_argument("folder", metavar="FOLDER")
    found = Search(parser.read(arguments).folder)
    from tuning import report as pages
    print(pages.write(found))


def best(arguments):
    """Prints the best configuration as JSON; ValueError while there is none."""
    parser = Parser("best", "Prints the best configuration, for: python -m recipes run NAME --config FILE",
                    program="tuning")
    parser.add_argument("folder", metavar="FOLDER")
    found = Search(parser.read(arguments).folder)
    rows = ranked(found, records(found))
    if not rows:
        raise ValueError(f"no trial in {found.folder} has ended with a value yet")
    print(json.dumps({"recipe": found.recipe, "config": rows[0]["config"],
                      "search": {"trial": rows[0]["id"], found.objective: rows[0]["value"]}}, indent=1))


def worker(arguments):
    """Runs trials of a chief elsewhere until there are none."""
    parser = Parser("worker", "Joins a search whose chief runs elsewhere. The folder is that of the chief, "
                    "on a file system that all machines share.", program="tuning")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--chief", default="", metavar="HOST:PORT", help="by default what the folder says")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="of a trial, where several "
                        "workers share a machine: its cores over their number; by default TensorFlow's")
    flags = parser.read(arguments)
    if flags.threads < 0:
        raise ValueError(f"--threads must be at least 0. Received: {flags.threads}")
    found = Search(flags.folder)
    if not flags.chief:
        if not (found.folder / CHIEF).exists():
            raise ValueError(f"{flags.folder} does not say where its chief is: start one, or give --chief")
        address = read_json(found.folder / CHIEF)
        flags.chief = f"{address['host']}:{address['port']}"
    if not flags.chief.rpartition(":")[2].isdecimal():
        raise ValueError(f"--chief takes HOST:PORT. Received: {flags.chief}")
    start_tensorflow()
    from tuning.search import join
    name, stop = f"{socket.gethostname()}-{os.getpid()}", threading.Event()

    def ask(number, frame):
        if stop.is_set():                  # the second time: the chief may be silent; the trial ends too
            os._exit(128 + number)
        stop.set()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    print(f"worker {name} of {flags.chief}", flush=True)
    with silence():
        join(found, flags.chief, name, stop=stop, threads=flags.threads)
    return 130 if stop.is_set() else 0


COMMANDS = {"list": list_spaces, "search": search, "resume": resume, "show": show, "report": report,
            "best": best, "worker": worker, "chief": lambda arguments: search(arguments, "chief")}


def main(arguments):
    """Runs one command; its exit status."""
    with plain_errors("--debug" in arguments):
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            print(USAGE)
            return 0
        command, *rest = arguments
        if command not in COMMANDS:
            raise ValueError(f"there is no command {command}.{nearest(command, COMMANDS)} "
                             f"Commands: {', '.join(COMMANDS)}.")
        return COMMANDS[command](rest) or 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
