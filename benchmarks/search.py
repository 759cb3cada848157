"""Searches measured: against time, beside Optuna, beside keras-tuner alone, and with two workers.

    curves     best validation error against time: random, Bayesian and Hyperband, three seeds each
    optuna     Optuna (TPE, median pruner) on the same space, budget and machine, the same seeds
    overhead   seconds per trial beyond training, here and in keras-tuner's own RandomSearch
    workers    trials an hour of two workers and of one, each trial with one thread

Each is a part of results/speed/search.json; parts that are not run stay as they are there. Each search
of curves and optuna is kept there as soon as it ends: the same command goes on with those that are missing,
or does all again with --again. `plot` draws curves and optuna into one picture, from that file.

Run:  TFDS_DATA_DIR=... python benchmarks/search.py curves --minutes 20 --seeds 3
      python -m pip install --target optuna-packages optuna
      TFDS_DATA_DIR=... python benchmarks/search.py optuna --optuna-path optuna-packages
      python benchmarks/search.py overhead;  python benchmarks/search.py workers
      --quick: digits and seconds; it shows that all runs, and measures nothing.
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

from training.device import environment
from training.files import read_json, write_json
from tuning.search import Search, ranked, records
from tuning.shares import threads

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "speed" / "search.json"
PEERS = ROOT / "benchmarks" / "peers"
ALGORITHMS = ("random", "bayesian", "hyperband")
# A trial of 6 epochs of rung 4's network on MNIST takes about a minute on two cores: with 20 minutes that
# is some twenty trials, as many as hyperband needs for its first bracket of shorter ones and more.
FIXED = ["--epochs", "6", "--batch-size", "32"]


def call(command, **more):
    """Runs a command. Raises RuntimeError with the end of its output if it fails; the seconds it took."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(ROOT), **more})
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed: {done.stdout[-2000:]}")
    return time.perf_counter() - started


def searched(folder, algorithm, seed, options, *flags, **more):
    """One search by this project."""
    seconds = call(["-m", "tuning", "search", "convnet_mnist", "--algorithm", algorithm, "--seed", seed,
                    "--folder", folder, *options.fixed, *flags], **more)
    search = Search(folder)
    return told(seconds, [
        {"value": row["value"], "seconds": row["seconds"], "outcome": row["outcome"],
         "training_seconds": row.get("training_seconds"), "process_seconds": row.get("process_seconds"),
         "config": row["config"]} for row in records(search)], ranked(search, records(search)))


def told(seconds, trials, best):
    """The figures of one search, and every improvement with its second."""
    known = sorted((trial for trial in trials if trial["value"] is not None), key=lambda one: one["seconds"])
    curve, so_far = [], -1.0
    for trial in known:
        if trial["value"] > so_far:
            so_far = trial["value"]
            curve.append([trial["seconds"], round(1 - so_far, 5)])
    ended = [trial for trial in trials if trial["outcome"] != "running"]
    return {"best_error": round(1 - so_far, 5) if known else None,
            "best_config": best[0]["config"] if best else None, "trials": len(ended),
            "trials_per_hour": round(3600 * len(ended) / seconds, 1), "seconds": round(seconds, 1),
            "error_against_seconds": curve}


def ours_searched(folder, algorithm, seed, options):
    return searched(folder, algorithm, seed, options, "--minutes", options.minutes,
                    *(["--workers", options.workers] if options.workers > 1 else []),
                    *(["--trials", "1000"] if algorithm == "hyperband" else []))


def optuna_searched(folder, algorithm, seed, options):
    """The same space and the same training, asked by Optuna in one process, as its users do."""
    out = folder.with_suffix(".json")
    path = os.pathsep.join(filter(None, [str(ROOT), options.optuna_path]))
    seconds = call([PEERS / "optuna_convnet.py", "--seed", seed, "--minutes", options.minutes,
                    "--out", out, "--", *options.fixed], PYTHONPATH=path)
    trials = read_json(out)
    best = sorted((one for one in trials if one["outcome"] == "finished"), key=lambda one: -one["value"])
    return told(seconds, trials, best)


def each_search(options, report, folder, search):
    """Measures every (algorithm, seed) that the report lacks, and writes the report after each."""
    algorithms = options.algorithms if options.part == "curves" else ["optuna"]
    setting = {"minutes": options.minutes, "quick": options.quick, "flags": options.fixed}

    def place(run):
        return run["algorithm"], run.get("workers", 1), run["seed"]
    runs = {place(run): run for run in report.get(options.part, {}).get("runs", [])}
    for seed in range(options.seeds):
        for algorithm in algorithms:
            new = {"algorithm": algorithm, "seed": seed, "workers": options.workers, **setting}
            stored = runs.get(place(new), {})
            if not options.again and all(stored.get(name) == value for name, value in setting.items()):
                print(f"{algorithm}, seed {seed}: measured on {stored['date']}; --again measures it anew")
                continue
            load = round(os.getloadavg()[0], 1)
            found = search(folder / f"{algorithm}-{seed}", algorithm, seed, options)
            runs[place(new)] = {**new, "date": today(), "load_before": load, "environment": environment(),
                                **found}
            report[options.part] = {"runs": sorted(runs.values(), key=place)}
            report["compared"] = compared(report)
            write_json(options.out, report)
            print(f"{algorithm}, seed {seed}: validation error {found['best_error']}, "
                  f"{found['trials']} trials", flush=True)


def compared(report):
    """For each algorithm and number of workers, over its seeds: best validation error, trials an hour."""
    found = {}
    for run in [run for part in SEARCHES for run in report.get(part, {}).get("runs", [])]:
        workers = run.get("workers", 1)
        name = run["algorithm"] + (f", {workers} workers" if workers > 1 else "")
        found.setdefault(name, []).append(run)
    return {name: {"seeds": len(runs),
                   "best_error_percent": summary([100 * run["best_error"] for run in runs]),
                   "trials_per_hour": summary([run["trials_per_hour"] for run in runs])}
            for name, runs in found.items() if all(run["best_error"] is not None for run in runs)}


def overhead(options, folder):
    """Seconds per trial that are not training: of processes, and of keras-tuner in one process."""
    count = 2 if options.quick else 8
    flags = ["--data", "digits", "--epochs", "2", "--no-pruning", "--trials", count]
    seconds = call(["-m", "tuning", "search", "convnet_mnist", *flags, "--folder", folder / "ours"])
    rows = records(Search(folder / "ours"))
    ours = [row["process_seconds"] - row["training_seconds"] for row in rows]
    ended = max(row["seconds"] for row in rows)
    spent = ended - sum(row["process_seconds"] for row in rows)
    out = folder / "bare.json"
    call([PEERS / "keras_tuner_bare.py", "--trials", count, "--out", out])
    bare = read_json(out)
    return {"trials": count, "start_and_end_of_the_search_seconds": round(seconds - ended, 2),
            "process_seconds_beyond_training": summary(ours),
            "between_processes_seconds_per_trial": round(spent / count, 3),
            "of_which_import_seconds": summary([import_seconds() for _ in range(3)]),
            "keras_tuner_bare_seconds_beyond_fit": summary([one["overhead"] for one in bare]),
            "keras_tuner_bare_first_trial": round(bare[0]["overhead"], 2)}


def import_seconds():
    """Start of Python and import of TensorFlow, Keras and the recipe, alone."""
    return call(["-c", "from training.start_up import import_tensorflow; import_tensorflow(); "
                 "import recipes.images.convnet_mnist"])


def workers(options, folder):
    """Trials an hour of one worker and of two; one thread each, two epochs a trial."""
    count, epochs = 4 if options.quick else 12, 2
    flags = ["--trials", count, "--no-pruning", "--epochs", epochs]
    found = {str(number): searched(folder / f"workers-{number}", "random", 0, options, *flags,
                                   "--workers", number, **threads(1)) for number in (1, 2)}
    for one in found.values():
        del one["best_config"], one["error_against_seconds"]
    ratio = found["2"]["trials_per_hour"] / found["1"]["trials_per_hour"]
    return {"epochs": epochs, **found, "ratio": round(ratio, 2)}


def summary(values):
    return {"mean": round(statistics.mean(values), 2),
            "std": round(statistics.stdev(values), 2) if len(values) > 1 else None,
            "median": round(statistics.median(values), 2), "all": [round(value, 2) for value in values]}


def plot(report, path):
    """Best validation error against time: the median over seeds, and each seed thin."""
    import numpy as np
    from matplotlib.figure import Figure
    runs = report.get("curves", {}).get("runs", []) + report.get("optuna", {}).get("runs", [])
    figure = Figure((8, 5), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip([*ALGORITHMS, "optuna"], ("#666666", "#0072B2", "#D55E00", "#009E73"), strict=True))
    kinds = sorted({(run["algorithm"], run.get("workers", 1)) for run in runs})
    for algorithm, workers in kinds:
        colour, style = colours[algorithm], "-" if workers == 1 else "--"
        own = [run for run in runs if run["error_against_seconds"]
               and (run["algorithm"], run.get("workers", 1)) == (algorithm, workers)]
        if not own:
            continue
        times = np.linspace(0, 60 * max(run["minutes"] for run in own), 500)
        lines = [[min((error for at, error in run["error_against_seconds"] if at <= when), default=np.nan)
                  for when in times] for run in own]
        for each in lines:
            axes.step(times / 60, 100 * np.array(each), style, color=colour, alpha=.3, linewidth=1,
                      where="post")
        label = algorithm + (f", {workers} workers" if workers > 1 else "")
        axes.step(times / 60, 100 * np.median(lines, axis=0), style, color=colour, linewidth=2.5,
                  where="post", label=f"{label} ({len(own)} seed{'s' if len(own) > 1 else ''})")
    machines = sorted({run["environment"]["device"] for run in runs})
    axes.set(xlabel="minutes", ylabel="best validation error so far (%)", yscale="log",
             title=f"Search of convnet_mnist, {' and '.join(machines)}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(alpha=.3, which="both")
    if axes.lines:
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


SEARCHES = {"curves": ours_searched, "optuna": optuna_searched}
PARTS = {"overhead": overhead, "workers": workers}


def today():
    return time.strftime("%Y-%m-%d")


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*SEARCHES, *PARTS, "plot"])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--algorithms", nargs="*", default=ALGORITHMS, choices=ALGORITHMS)
    parser.add_argument("--workers", type=int, default=1, help="of curves: trials at a time")
    parser.add_argument("--again", action="store_true", help="measure searches that are there already, too")
    parser.add_argument("--optuna-path", default="", help="folder of pip install --target, with Optuna")
    parser.add_argument("--quick", action="store_true", help="digits, seconds")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if options.workers > 1 and options.part != "curves":
        parser.error("--workers is of curves alone")
    options.fixed = ["--data", "digits", "--epochs", "2"] if options.quick else FIXED
    report = read_json(options.out) if options.out.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        if options.part in SEARCHES:
            each_search(options, report, Path(folder), SEARCHES[options.part])
        elif options.part in PARTS:
            load = round(os.getloadavg()[0], 1)
            measured = PARTS[options.part](options, Path(folder))
            report["environment"] = environment()
            report[options.part] = {"date": today(), "load_before": load, "quick": options.quick,
                                    "flags": options.fixed, **measured}
            write_json(options.out, report)
            print(json.dumps(report[options.part], indent=1))
    if "curves" in report or "optuna" in report:
        plot(report, options.out.with_suffix(".png"))
    return report


if __name__ == "__main__":
    main()
