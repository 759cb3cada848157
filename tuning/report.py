"""report.html of a search: one file that opens anywhere, from what the folder of the search holds."""
import io
import math
import shlex
import time
from html import escape
from pathlib import Path

import numpy as np

from training.files import replacing
from training.page import PAGE, STYLE, data_uri, section, settings
from tuning.search import ranked, records, shown

TREES = 100                    # of the random forest behind the importance
SHUFFLES = 10                  # of each parameter
LEAST = 6                      # trials with a value, below which an importance would be noise
BEST = 10                      # rows of the table
BLUE, VERMILION, ORANGE, GREY, PALE = "#0072B2", "#D55E00", "#E69F00", "#666666", "#d0d4d9"
LENGTH = "(epochs)"            # of a trial's training, where hyperband varies it


def write(search):
    """Writes report.html into the folder of a search and returns its path."""
    rows = records(search)
    for row in rows:
        row["trained"] = row["config"].get(search.budget, 0) if search.algorithm == "hyperband" else 0
    best = ranked(search, rows)
    parts = [head(search, rows, best), progress(search, rows), best_trials(search, best)]
    parameters = searched(rows)
    if best and parameters:
        parts += [importance_section(search, rows, parameters), each_parameter(search, rows, parameters),
                  coordinates(search, rows, parameters)]
    parts += [budgets(search, rows), badly(rows), commands(search)]
    page = PAGE.substitute(title=escape(f"search of {Path(search.recipe).stem}"), style=STYLE,
                           body="\n".join(filter(None, parts)), written=time.strftime("%Y-%m-%d %H:%M"))
    path = search.folder / "report.html"
    with replacing(path) as part:
        part.write_text(page.replace("of the run folder", "of the search's folder"), encoding="utf-8")
    return path


def searched(rows):
    """{parameter: its different values, sorted} of those that vary."""
    found = {}
    for row in rows:
        for name, value in row["values"].items():
            found.setdefault(name, set()).add(value)
    return {name: sorted(values, key=lambda value: (isinstance(value, str), value))
            for name, values in found.items() if len(values) > 1}


def positions(values, every):
    """Values of one parameter as numbers for an axis: itself, its logarithm, or its place among words.

    -> (float array, NaN for None; "linear", "log" or "words").
    """
    if any(isinstance(value, (str, bool)) for value in every):
        return np.array([math.nan if value is None else every.index(value) for value in values]), "words"
    numbers = np.array([math.nan if value is None else value for value in values], float)
    if min(every) > 0 and max(every) / min(every) >= 50:
        return numbers, "log"
    return numbers, "linear"


def importance(rows, parameters):
    """How much each parameter decides the value: [(parameter, mean, standard deviation)], greatest first.

    Permutation importance (Breiman 2001) of a random forest that predicts a trial's value:
    by how much its squared error on trials it has not seen, in cross-validation, grows
    when one parameter is shuffled among them, as a share of the values' variance. In a
    Hyperband search the epochs of a trial are a parameter too. Returns None below LEAST
    trials or where all values agree.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import KFold
    known = [row for row in rows if row["value"] is not None]
    parameters = {**parameters, **searched([{"values": {LENGTH: row["trained"]}} for row in known])}
    known = [{**row, "values": {**row["values"], LENGTH: row["trained"]}} for row in known]
    values = np.array([row["value"] for row in known])
    if len(known) < LEAST or np.ptp(values) == 0:
        return None
    columns = []
    for name, every in parameters.items():
        column, kind = positions([row["values"].get(name) for row in known], every)
        column = np.log(column) if kind == "log" else column
        columns.append(np.where(np.isnan(column), np.nanmean(column) if not np.all(np.isnan(column)) else 0,
                                column))                         # where a condition makes it inactive
    table, drops = np.stack(columns, axis=1), []
    for training, rest in KFold(min(5, len(known) // 2), shuffle=True, random_state=0).split(table):
        forest = RandomForestRegressor(TREES, random_state=0, n_jobs=1).fit(table[training], values[training])
        drops.append(permutation_importance(forest, table[rest], values[rest], random_state=0,
                                            n_repeats=SHUFFLES, scoring="neg_mean_squared_error").importances)
    drops = np.concatenate(drops, axis=1) / np.var(values)
    return sorted(zip(parameters, drops.mean(axis=1), drops.std(axis=1), strict=True),
                  key=lambda each: -each[1])


# ---- the page, from top to bottom

def head(search, rows, best):
    """The tiles above all else, and what was searched."""
    ended = [row for row in rows if row["outcome"] != "running"]
    counts = [(outcome, sum(row["outcome"] == outcome for row in rows))
              for outcome in dict.fromkeys(row["outcome"] for row in rows)]
    tiles = [("trials", str(len(rows)), ", ".join(f"{count} {outcome}" for outcome, count in counts), "")]
    if best:
        tiles.insert(0, (f"best {search.objective}", f"{best[0]['value']:.4f}", f"trial {best[0]['id']}",
                         "main"))
        first = next((row for row in rows if row["value"] is not None), None)
        tiles.append(("first trial", f"{first['value']:.4f}", "the recipe's own configuration"
                      if first is rows[0] else f"trial {first['id']}", ""))
    spent = max((row["seconds"] or 0 for row in ended), default=0)
    if ended and spent:
        tiles.append(("time", length(spent), f"{3600 * len(ended) / spent:.0f} trials an hour", ""))
    facts = [f"{search.algorithm} search", f"seed {search.seed}",
             f"{search.objective}, {search.direction}imum",
             f"{search.repeats} seeds a trial" if search.repeats > 1 else "",
             f"{search.folds} folds" if search.folds else "",
             "bad trials end early" if search.pruning else ""]
    notice = ("" if rows and len(ended) == len(rows) else
              '<p class="notice"><b>Not finished.</b> Go on with <code>python -m tuning resume '
              f"{escape(shlex.quote(str(search.folder)))}</code>.</p>")
    return ('<header><p class="kind">Report of a search</p>'
            f"<h1>{escape(Path(search.recipe).stem)}</h1>{tiles_html(tiles)}"
            f'<p class="facts">{" · ".join(map(escape, filter(None, facts)))}</p></header>{notice}')


def tiles_html(tiles):
    """(label, value, note, CSS class) of each tile -> HTML."""
    return '<div class="tiles">' + "".join(
        f'<div class="tile {kind}"><span>{escape(label)}</span><b>{escape(value)}</b>'
        f"<small>{escape(note)}</small></div>" for label, value, note, kind in tiles) + "</div>"


def progress(search, rows):
    """Best so far, over trials and over time, in the order in which the trials ended."""
    ended = sorted((row for row in rows if row["seconds"] is not None), key=lambda row: row["seconds"])
    if not any(row["value"] is not None for row in ended):
        return ""
    good = [row for row in ended if row["value"] is not None]
    running = (np.maximum if search.direction == "max" else np.minimum).accumulate(
        [row["value"] for row in good])
    numbers = [1 + ended.index(row) for row in good]
    unit, seconds = ("minutes", 60) if ended[-1]["seconds"] > 120 else ("seconds", 1)
    over_time = [row["seconds"] / seconds for row in good]
    figure, both = new_figure(2, 7.2)
    for axes, x, label in ((both[0], numbers, "trials"), (both[1], over_time, unit)):
        finished = [row["outcome"] == "finished" for row in good]
        for wanted, style, name in ((True, "o", "finished"), (False, "x", "ended early")):
            chosen = [index for index, each in enumerate(finished) if each is wanted]
            axes.plot([x[index] for index in chosen], [good[index]["value"] for index in chosen], style,
                      color=GREY, markersize=5, alpha=.7, label=name if chosen else None)
        axes.step([*x, (len(ended) if label == "trials" else ended[-1]["seconds"] / seconds)],
                  [*running, running[-1]], where="post", color=BLUE, linewidth=2.2, label="best so far")
        axes.set_xlabel(label)
        axes.set_ylabel(search.objective)
    both[0].legend(frameon=False, fontsize=10)
    return section("Progress", "Every trial that has a value, and the best so far: over trials as they ended "
                   "and over the time of the search, interruptions left out.", picture(
                       figure, "best value over trials and over time"))


def best_trials(search, best):
    """The table of the first BEST trials; empty where none has a value."""
    if not best:
        return ""
    names = list(dict.fromkeys(name for row in best[:BEST] for name in row["values"]))
    lines = "".join(
        f"<tr><th>{escape(row['id'])}</th><td>{row['value']:.4f}</td><td>{row['outcome']}</td>"
        f"<td>{row['epochs']}</td>" + "".join(f"<td>{escape(shown(row['values'].get(name, '–')))}</td>"
                                              for name in names) + "</tr>" for row in best[:BEST])
    titles = "".join(f"<th>{escape(title)}</th>" for title in
                     ["trial", search.objective, "outcome", "epochs", *names])
    return section("The best trials", "Finished ones first; epochs are those that the trial itself trained.",
                   f'<div class="scroll"><table class="numbers"><thead><tr>{titles}</tr></thead>{lines}'
                   "</table></div>")


def importance_section(search, rows, parameters):
    """How much each parameter matters, with the picture; or that there are too few trials to say."""
    told = importance(rows, parameters)
    known = sum(row["value"] is not None for row in rows)
    if told is None:
        return section("Importance", f"Too few trials with different values to say: {known}, and at least "
                       f"{LEAST} are needed.", "")
    figure, (axes,) = new_figure(1, .9 + .42 * len(told))
    names = [name for name, _, _ in told][::-1]
    axes.barh(names, [mean for _, mean, _ in told][::-1], xerr=[std for _, _, std in told][::-1],
              color=BLUE, ecolor=GREY, error_kw={"linewidth": 1})
    axes.axvline(0, color="black", linewidth=.8)
    axes.set_xlabel("error added by shuffling, as a share of the variance")
    return section("Importance", f"Permutation importance: a random forest of {TREES} trees predicts the "
                   f"value of held-out trials (cross-validation over {known} trials, pruned ones with the "
                   "value they had); shown is by how much its squared error grows when one parameter is "
                   "shuffled, with the standard deviation over folds and shuffles. Near zero or below: no "
                   "influence that so many trials could show.", picture(figure, "importance of parameters"))


def each_parameter(search, rows, parameters):
    """One panel per parameter: its values against the objective."""
    columns = 2
    height = math.ceil(len(parameters) / columns)
    figure, panels = new_figure(height * columns, .4 + 2.5 * height, columns)
    known = [row for row in rows if row["value"] is not None]
    for axes, (name, every) in zip(panels, parameters.items(), strict=False):
        x, kind = positions([row["values"].get(name) for row in known], every)
        if kind == "words":
            axes.set_xticks(range(len(every)), [str(value) for value in every])
            axes.set_xlim(-.5, len(every) - .5)
        elif kind == "log":
            axes.set_xscale("log")
        for style, colour, wanted in (("o", BLUE, True), ("x", GREY, False)):
            chosen = [index for index, row in enumerate(known) if (row["outcome"] == "finished") is wanted]
            axes.plot(x[chosen], [known[index]["value"] for index in chosen], style, color=colour,
                      markersize=5, alpha=.8)
        axes.set_xlabel(name)
        axes.set_ylabel(search.objective)
    for axes in panels[len(parameters):]:
        axes.set_visible(False)
    return section("Each parameter", "Dots are finished trials, crosses those that were ended early.",
                   picture(figure, "each parameter against the objective"))


def coordinates(search, rows, parameters):
    """Parallel coordinates: one line per trial, through its value of each parameter to its objective."""
    known = sorted((row for row in rows if row["value"] is not None), key=lambda row: row["value"],
                   reverse=search.direction == "min")                       # the best on top
    figure, (axes,) = new_figure(1, 4.6, wide=True)
    heights, count = [], len(parameters)
    for place, (name, every) in enumerate(parameters.items()):
        x, kind = positions([row["values"].get(name) for row in known], every)
        ends = positions(every, every)[0]
        low, high, x = ends.min(), ends.max(), np.log(x) if kind == "log" else x
        if kind == "log":
            low, high = np.log(low), np.log(high)
        heights.append((x - low) / (high - low or 1))
        marks = every if kind == "words" else [every[0], every[-1]]
        for value in marks:
            at = positions([value], every)[0][0]
            at = ((np.log(at) if kind == "log" else at) - low) / (high - low or 1)
            axes.text(place - .02, at, shown(value), ha="right", va="center", fontsize=9, zorder=3,
                      bbox={"facecolor": "white", "edgecolor": "none", "alpha": .8, "pad": 1})
    values = np.array([row["value"] for row in known])
    share = (values - values.min()) / (np.ptp(values) or 1)
    heights.append(share)
    for value, at in ((values.min(), 0), (values.max(), 1)):
        axes.text(count + .03, at, f"{value:.4f}", ha="left", va="center", fontsize=9)
    from matplotlib import colormaps
    good = share if search.direction == "max" else 1 - share
    order = np.argsort(np.argsort(good)) / max(1, len(good) - 1)     # ranks: a few bad ones hide nothing
    lines = np.stack(heights, axis=1)
    for line, rank in zip(lines, order, strict=True):
        present = ~np.isnan(line)
        axes.plot(np.arange(count + 1)[present], line[present], color=colormaps["viridis_r"](.05 + .9 * rank),
                  alpha=.35 + .6 * rank, linewidth=1 + 1.6 * rank)
    for place in range(count + 1):
        axes.axvline(place, color="black", linewidth=.8)
    axes.set_xticks(range(count + 1), [*parameters, search.objective])
    axes.set_yticks([])
    axes.set_xlim(-.35, count + .35)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.grid(False)
    return section("Parallel coordinates", "One line per trial; the darker, the better its rank. A parameter "
                   "that was not active is left out of the line.",
                   picture(figure, "parallel coordinates", True), "broad")


def budgets(search, rows):
    """What each trial got: epochs trained by itself, and seconds of its processes beside training's."""
    ended = [row for row in rows if row["outcome"] != "running"]
    if not ended:
        return ""
    figure, both = new_figure(2, 5.6)
    x = np.arange(len(ended))
    colours = {"finished": BLUE, "pruned": ORANGE}
    shades = [colours.get(row["outcome"], VERMILION) for row in ended]
    whole = total_epochs(ended)
    before = [whole.get(row["continues"], 0) for row in ended]
    both[0].bar(x, before, color=PALE)
    both[0].bar(x, [row["epochs"] for row in ended], bottom=before, color=shades)
    both[0].set_ylabel("epochs")
    both[1].bar(x, [row["process_seconds"] for row in ended], color=PALE)
    both[1].bar(x, [row["training_seconds"] for row in ended], color=shades)
    both[1].set_ylabel("seconds")
    both[1].set_xlabel("trial")
    total = sum(row["process_seconds"] for row in ended)
    training = sum(row["training_seconds"] for row in ended)
    epochs = sum(row["epochs"] for row in ended)
    return section("Budget of each trial", f"Blue finished, orange ended early, red without a value. Above: "
                   f"epochs that it trained ({epochs:,} in all), on top of those (grey) that it took over "
                   f"from the trial that it continues. Below: seconds of training ({training:,.0f} in all), "
                   f"and of its processes (grey, {total:,.0f}): starting them, importing, building.",
                   picture(figure, "budget of each trial"))


def total_epochs(rows):
    """{trial: its epochs with those of the trials that it continues}."""
    found = {}
    for row in rows:
        found[row["id"]] = row["epochs"] + found.get(row["continues"], 0)
    return found


def badly(rows):
    """Trials without a value, and why."""
    bad = [row for row in rows if row["value"] is None and row["outcome"] != "running"]
    if not bad:
        return ""
    lines = "".join(f"<tr><th>{escape(row['id'])}</th><td>{row['outcome']}</td>"
                    f"<td>{escape(row['reason'][:300])}</td><td>{escape(settings(row['values']))}</td></tr>"
                    for row in bad)
    return section("Trials without a value", "", '<div class="scroll"><table><thead><tr><th>trial</th>'
                   f"<th>outcome</th><th>why</th><th>values</th></tr></thead>{lines}</table></div>")


def commands(search):
    """What to type next."""
    folder = shlex.quote(str(search.folder))
    lines = {f"python -m tuning best {folder} > config.json": "the best configuration",
             f"python -m recipes run {search.recipe} --config config.json":
             "trains it, and looks at the test set for the first time"}
    items = "".join(f"<li><code>{escape(command)}</code><span>{escape(what)}</span></li>"
                    for command, what in lines.items())
    return section("What to do next", "", f'<ul class="commands">{items}</ul>')


def length(seconds):
    """A time as read: seconds up to two minutes, then minutes."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


# ---- pictures


def new_figure(panels, height, columns=1, wide=False):
    """-> (figure, [axes])."""
    from matplotlib.figure import Figure
    figure = Figure((11 if wide else 7.2, height), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(panels // columns, columns)).flat)
    for each in axes:
        each.grid(alpha=.25)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def picture(figure, alternative, wide=False):
    """The figure as an HTML image within the page."""
    from training import figures
    content = io.BytesIO()
    figures.save(figure, content)
    return (f'<div class="scroll"><img class="plot{" wide" if wide else ""}" alt="{escape(alternative)}" '
            f'src="{data_uri(content.getvalue())}"></div>')
