"""benchmarks/results: measured figures from finished runs, and the README's table of them."""
import datetime
import json
import math
import statistics
from pathlib import Path

from training.files import read_json, replacing, write_json

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
CHANGED = "Trainings with settings given by flags, among them those by which defaults were chosen"
TITLES = ("Recipe", "Configuration", "Published", "Measured", "Gap", "Minutes", "Device")


def read(recipe, folder=FOLDER):
    """The entries of one recipe: a list, [] where nothing is recorded."""
    path = Path(folder) / f"{recipe}.json"
    return read_json(path) if path.exists() else []


def record(folders, cards, results=FOLDER):
    """Writes finished runs into results/<recipe>.json and returns the paths written.

    cards: {recipe: its Card}, for what was published. A series stands for its children; a part of a
    run, such as a member of an ensemble, for the named configuration that it equals.
    One entry per configuration; the same seed again replaces, another seed is added.
    Raises ValueError or FileNotFoundError if any folder is no finished run: nothing is
    written then.
    """
    runs = [run for folder in folders for run in finished(Path(folder), cards)]
    entries = {recipe: read(recipe, results) for recipe, _ in runs}
    for recipe, run in runs:
        add(entries[recipe], run, cards[recipe])
    paths = []
    for recipe, found in entries.items():
        order = {name: index for index, name in enumerate(cards[recipe].published)}
        found.sort(key=lambda entry, order=order: (order.get(entry["name"], len(order)), entry["name"],
                                                   json.dumps(entry["config"])))
        paths.append(Path(results) / f"{recipe}.json")
        write_json(paths[-1], found)
    return paths


def finished(folder, cards):
    """[(recipe, run)] of a run folder, or of all children of a series."""
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} is not a run folder: it has no config.json")
    saved = read_json(folder / "config.json")
    if not isinstance(saved, dict) or saved.get("recipe") not in cards:
        raise ValueError(f"{folder} is not of a recipe that exists here")
    if not (folder / "metrics.json").exists():
        raise ValueError(f"the run in {folder} is not finished. "
                         f"`python -m recipes resume {folder}` goes on with it.")
    metrics = read_json(folder / "metrics.json")
    if saved.get("name") == "all":                      # the metrics of a series are {name: metrics}
        return [run for name in metrics for run in finished(folder / name, cards)]
    metrics = {name: value for name, value in metrics.items()
               if isinstance(value, (int, float)) and not isinstance(value, bool)}
    environment = read_json(folder / "environment.json")
    written = datetime.datetime.fromtimestamp((folder / "metrics.json").stat().st_mtime, datetime.UTC)
    return [(saved["recipe"], {
        "name": name_of(saved, folder, cards[saved["recipe"]]), "config": without_paths(saved["config"]),
        "changed": {name: value for name, value in saved.get("changed", {}).items()
                    if without_paths({name: value})[name] == value},
        "precision": saved.get("precision", "float32"),
        "metrics": metrics, "seed": saved.get("seed", 0), "minutes": minutes(folder, environment),
        "device": environment.get("device"), "versions": environment.get("versions"),
        "commit": environment.get("commit"),
        "date": environment.get("finished", written.isoformat(timespec="seconds"))[:10]})]


def name_of(saved, folder, card):
    """The configuration's name; for a part of another run, that of the one whose fields it has."""
    if not saved.get("part"):
        return saved.get("name", "")
    for name, fields in card.named.items():
        if json.loads(json.dumps(fields)) == saved["config"]:
            return name
    raise ValueError(f"{folder} is a part of the run in {folder.resolve().parent}, and no named "
                     "configuration of the recipe equals it. Record the whole run.")


def minutes(folder, environment):
    """Minutes of training over all starts of the run, else of its last start; None where neither is known.

    A run of several networks has those of all of them, in turn, however they were trained.
    """
    seconds = seconds_trained(folder)
    if seconds is None:
        parts = [seconds_trained(path.parent) or 0 for path in folder.glob("*/config.json")]
        seconds = max(sum(parts), environment.get("seconds", 0)) if parts else environment.get("seconds")
    return None if seconds is None else round(seconds / 60, 2)


def seconds_trained(folder):
    """The last of times.csv; None where there is none."""
    times = folder / "times.csv"
    return float(times.read_text().splitlines()[-1].split(",")[1]) if times.exists() else None


def without_paths(config):
    """A config whose folders of this machine are replaced by how many there are."""
    def is_path(value):
        return isinstance(value, str) and ("/" in value or "\\" in value)
    return {name: len(value) if isinstance(value, list) and any(map(is_path, value))
            else "(path)" if is_path(value) else value for name, value in config.items()}


def add(entries, run, card):
    """Puts one run into its entry of the list, or into a new one.

    Where a config lacks a field, it is older than the field, whose default is how it was then.
    """
    same = {"name": run["name"], "config": card.default | run["config"], "precision": run["precision"]}
    entry = next((entry for entry in entries
                  if same == {key: entry[key] for key in same} | {"config": card.default | entry["config"]}),
                 None)
    if entry is None:
        entry = {"runs": []}
        entries.append(entry)
    entry.update(same)
    runs = [other for other in runs_of(entry) if other["seed"] != run["seed"]]
    runs = sorted([*runs, run], key=lambda run: run["seed"])
    names = dict.fromkeys(name for run in runs for name in run["metrics"])
    entry["changed"] = run["changed"]
    entry["published"] = None if run["changed"] else card.published_for(run["name"])
    entry["headline"], entry["unit"] = card.headline, card.unit
    entry["seeds"] = [run["seed"] for run in runs]
    entry["metrics"] = {name: summary([run["metrics"].get(name) for run in runs]) for name in names}
    known = [run["minutes"] for run in runs if run["minutes"] is not None]
    entry["minutes"] = round(statistics.mean(known), 2) if known else None
    entry["device"] = ", ".join(dict.fromkeys(run["device"] for run in runs if run["device"]))
    kept = ("seed", "minutes", "device", "versions", "commit", "date")
    entry["runs"] = [{key: run[key] for key in kept} for run in runs]


def runs_of(entry):
    """The runs in an entry, with their metrics again."""
    return [{**run, "metrics": {name: of["values"][index] for name, of in entry["metrics"].items()}}
            for index, run in enumerate(entry["runs"])]


def summary(values):
    """Mean and sample standard deviation; a run without that metric, or with NaN, counts as null."""
    values = [value if value is not None and math.isfinite(value) else None for value in values]
    known = [value for value in values if value is not None]
    return {"mean": statistics.mean(known) if known else None,
            "std": statistics.stdev(known) if len(known) > 1 else None, "values": values}


def headline_mean(entry):
    """The mean of the metric beside the published one, in the unit of that; None where there is none."""
    mean = entry["metrics"].get(entry["headline"], {}).get("mean")
    return None if mean is None else mean * scale(entry["unit"])


def scale(unit):
    """What a stored metric is multiplied by to stand in that unit."""
    return 100 if unit == "%" else 1                    # metrics are fractions


def figure(value, unit):
    """A value as the README shows it, without its unit: '99.11' of a percentage, else four digits."""
    return f"{value:.2f}" if unit == "%" else f"{value:.4g}"


def readme_table(folder=FOLDER):
    """All results as Markdown: a table of the configurations as named; folded away, one of changed ones."""
    named, changed = [], []
    for path in sorted(Path(folder).glob("*.json")):
        for entry in read_json(path):
            (changed if entry["changed"] else named).append(row(path.stem, entry))
    parts = [table(named)] if named else []
    if changed:
        parts += [f"<details>\n<summary>{CHANGED}: {len(changed)}</summary>", table(changed), "</details>"]
    return "\n\n".join(parts) or "Nothing is recorded yet."


def table(rows):
    """Rows of cells, as TITLES names them, as a Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [TITLES, ("---",) * len(TITLES), *rows])


def row(recipe, entry):
    """The cells of one line of the README's table, as TITLES names them."""
    unit, mean, published = entry["unit"], headline_mean(entry), entry["published"]
    changes = [f"{name} {value}" for name, value in entry["changed"].items()]
    if entry["precision"] != "float32":
        changes.append(entry["precision"])
    measured, gap = "-", "-"
    if mean is not None:
        std, count = entry["metrics"][entry["headline"]]["std"], len(entry["seeds"])
        spread = "" if std is None else f" ± {figure(std * scale(unit), unit)}"
        measured = f"{figure(mean, unit)}{spread} {unit} ({count} seed{'s' if count > 1 else ''})"
        if published is not None:
            gap = f"{mean - published:{'+.2f' if unit == '%' else '+.2g'}}"
    return (recipe, ", ".join(filter(None, [entry["name"], *changes])) or "default",
            "-" if published is None else f"{figure(published, unit)} {unit}", measured, gap,
            "-" if entry["minutes"] is None else f"{entry['minutes']:.1f}", entry["device"] or "-")


def updated(text, folder=FOLDER):
    """The README's text with the current table. Raises ValueError where the markers are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("README.md has no place for the table of results: "
                         f"put the lines {BEGIN} and {END} into it")
    return f"{before}{begin}\n{readme_table(folder)}\n{end}{after}"


def is_current(readme=README, folder=FOLDER):
    """Whether the README's table says what the stored results say."""
    text = Path(readme).read_text()
    return updated(text, folder) == text


def update(readme=README, folder=FOLDER):
    """Writes the table into the README. Raises ValueError where the markers are missing."""
    text = updated(Path(readme).read_text(), folder)
    with replacing(readme) as part:
        part.write_text(text)
