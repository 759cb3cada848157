"""report.html of a run: one file that opens anywhere, from what the run folder holds.

What is missing is left out, so an unfinished run, a recipe with a loop of its own and a
folder of several runs have a report too. TensorFlow is loaded only to tell what predict takes.
"""
import io
import math
import shlex
import time
from html import escape
from urllib.parse import quote

import numpy as np

from training import predictions
from training.files import replacing
from training.page import (
    PAGE,
    STYLE,
    data_uri,
    display,
    duration,
    exact,
    is_number,
    number,
    section,
    settings,
    signed,
)
from training.run_files import Files, as_dict

PLOTS = ("learning_curve", "confusion_matrix", "misclassified", "first_layer", "calibration")
X_AXES = ("epoch", "updates", "update", "step", "episode")
NOT_CURVES = ("epoch", "updates", "learning_rate")
MAPS_SHOWN = 64               # filters of a convolution
UNITS_SHOWN = 30              # units of a dense layer


def write(folder):
    """Writes folder/report.html and the plots in folder/figures/; returns the path of the report.

    Raises FileNotFoundError if the folder holds neither config.json nor metrics.json.
    """
    files = Files(folder)
    parts = [banner(files), headline(files), recipe_card(files), children_table(files), learning_curve(files),
             confusion(files), mistakes(files), calibration(files), first_layer(files), own_pictures(files),
             all_metrics(files), configuration(files), environment(files), commands(files)]
    if files.problems:
        parts.insert(1, '<p class="notice">Left out, because it could not be read: '
                        f'{escape("; ".join(files.problems))}</p>')
    page = PAGE.substitute(title=escape(files.title), style=STYLE, body="\n".join(filter(None, parts)),
                           written=time.strftime("%Y-%m-%d %H:%M"))
    path = files.folder / "report.html"
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


# ---- the parts of the page, each "" where the folder has nothing for it

def banner(files):
    """How far an unfinished run has come, and how to go on with it."""
    if files.finished:
        return ""
    epochs = len(next(iter(files.history.values()), ()))
    so_far = f"{epochs} epoch{'s' if epochs != 1 else ''} so far" if epochs else "no epoch so far"
    if files.children:
        done = sum((child / "metrics.json").exists() for child in files.children)
        so_far = f"{done} of the {len(files.children)} runs begun so far are complete"
    return (f'<p class="notice"><b>Not finished:</b> {so_far}. Go on with '
            f"<code>python -m recipes resume {escape(shlex.quote(str(files.folder)))}</code>.</p>")


def headline(files):
    """Recipe, idea and largest numbers; seed, time, device, versions and commit."""
    idea = files.card.idea if files.card is not None else ""
    kind = "Report of a series of runs" if files.children and not files.history else "Report of a run"
    name = f' <span class="name">{escape(files.name)}</span>' if files.name else ""
    parts = [f'<header><p class="kind">{kind}</p>'
             f"<h1>{escape(files.recipe or files.folder.resolve().name)}{name}</h1>"]
    if idea:
        parts.append(f'<p class="idea">{escape(idea)}</p>')
    parts.append(tiles(files))
    facts = [f"seed {files.about['seed']}" if "seed" in files.about else "",
             f"trained {duration(files.minutes)}" if files.minutes else "",
             files.environment.get("device"), files.about.get("precision")]
    versions = as_dict(files.environment.get("versions"))
    labels = {"keras": "Keras", "tensorflow": "TensorFlow"}
    facts += [f"{label} {versions[name]}" for name, label in labels.items() if name in versions]
    commit = files.environment.get("commit")
    facts.append(f"commit {commit}" if commit else "")
    parts.append(f'<p class="facts">{" · ".join(escape(str(fact)) for fact in facts if fact)}</p></header>')
    return "".join(parts)


def tiles(files):
    """The numbers that matter most, large: final ones, or those of the best epoch so far."""
    shown = []
    scalars = {name: value for name, value in files.metrics.items() if is_number(value)}
    if "test_accuracy" in scalars:
        note = ""
        if files.predictions is not None:
            labels, confidences = files.predictions["labels"], files.predictions["confidences"]
            right = int((confidences.argmax(axis=1) == labels).sum())
            low, high = predictions.wilson_interval(right, len(labels))
            note = (f"{len(labels) - right:,} wrong of {len(labels):,}; 95 % interval "
                    f"{100 * low:.2f} to {100 * high:.2f} %")
        shown.append(("test accuracy", number("test_accuracy", scalars.pop("test_accuracy")), note, "main"))
    elif files.headline in scalars:                  # of a recipe that is no classifier
        value = files.number(files.headline, scalars.pop(files.headline))
        shown.append((files.headline.replace("_", " "), value, files.unit, "main"))
    if files.published is not None:
        shown.append(("published", *published_tile(files), ""))
    order = ("test_loss", "val_accuracy", "best_epoch")
    for name in sorted(scalars, key=lambda name: order.index(name) if name in order else len(order)):
        if len(shown) < 6:
            shown.append((name.replace("val_", "validation ").replace("_", " "),
                          files.number(name, scalars[name]), "", ""))
    if not files.finished and files.best is not None:
        for name, label in (("val_accuracy", "validation accuracy"), ("val_loss", "validation loss")):
            if name in files.history:
                shown.append((f"{label} so far", number(name, files.history[name][files.best]), "", ""))
    return '<div class="tiles">' + "".join(
        f'<div class="tile {kind}"><span>{escape(label)}</span><b>{escape(value)}</b>'
        f"<small>{escape(note)}</small></div>"
        for label, value, note, kind in shown) + "</div>" if shown else ""


def published_tile(files):
    """(figure, remark): the gap, or why there is none to speak of."""
    figure, measured = files.published, files.metrics.get(files.headline)
    if not is_number(figure):
        return display(figure), "the authors' figure"
    per_cent = not files.unit and 1 < figure <= 100
    value = f"{figure:.2f} %" if per_cent else f"{figure:g}"
    if files.differing:
        return value, f"with other settings than here: {settings(files.differing)}"
    if is_number(measured) and per_cent:
        return value, f"measured minus published: {signed(100 * measured - figure)} points"
    return value, f"the authors' figure{', ' * bool(files.unit)}{files.unit}"


def recipe_card(files):
    """What the recipe's docstring says of its source, figures and departures."""
    if files.card is None:
        return ""
    entries = {name: text for name, text in files.card.entries.items() if name != "Run"}
    if not entries:
        return ""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries.items())
    return f'<section class="card"><dl>{rows}</dl></section>'


def children_table(files):
    """One row per run below this folder, and per table of metrics that has no folder."""
    rows = {}
    for name, value in files.metrics.items():                    # the order in which they ran
        if isinstance(value, dict) and any(is_number(item) for item in value.values()):
            rows[name] = (None, value)
    for path in files.children:
        child = Files(path)
        metrics = child.metrics or as_dict(files.metrics.get(path.name))
        rows[path.name] = (child, metrics)
    if not rows:
        return ""
    columns = []
    for _, metrics in rows.values():
        columns += [name for name, value in metrics.items() if is_number(value) and name not in columns]
    first = list(dict.fromkeys((files.headline, "test_accuracy", "test_loss", "val_accuracy", "best_epoch")))
    columns = sorted(columns, key=lambda name: first.index(name) if name in first else len(first))[:6]
    published = {name: child.published if child is not None else None for name, (child, _) in rows.items()}
    differing = any(child is not None and child.differing for child, _ in rows.values())
    minutes = {name: child.minutes if child is not None else None for name, (child, _) in rows.items()}
    head = ["run", *(column.replace("val_", "validation ").replace("_", " ") for column in columns)]
    head += ["published"] if any(value is not None for value in published.values()) else []
    head += ["time"] if any(minutes.values()) else []
    body = []
    for name, (child, metrics) in rows.items():
        label = escape(name)
        if child is not None:
            target = f"{name}/report.html" if (child.folder / "report.html").exists() else f"{name}/"
            label = f'<a href="./{quote(target)}">{label}</a>'
            if not child.finished:
                label += ' <span class="tag">not finished</span>'
        cells = [files.number(column, metrics[column]) if is_number(metrics.get(column)) else ""
                 for column in columns]
        if "published" in head:
            value = published[name]
            cells.append("" if value is None else f"{value:.2f} %" if is_number(value) and 1 < value <= 100
                         else display(value))
        if "time" in head:
            cells.append(duration(minutes[name]))
        body.append(f"<tr><th>{label}</th>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    target = "own report" if any((child / "report.html").exists() for child in files.children) else "folder"
    note = (f"Each name leads to that run's {target}. " if files.children else "") + (
        "The published figures are for the recipe's full settings, from which some of these runs differ."
        if differing and "published" in head else "")
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    return section("Runs", note, f'<div class="scroll"><table class="numbers"><thead><tr>{heads}</tr></thead>'
                                 f'<tbody>{"".join(body)}</tbody></table></div>')


def learning_curve(files):
    """The columns of history.csv over epochs or updates, and what to read from them."""
    history = files.history
    names = [name for name in history if name not in NOT_CURVES]
    x_name = next((name for name in X_AXES if name in history), None)
    names = [name for name in names if name != x_name]
    if not names:
        return ""
    bare = list(dict.fromkeys(name.removeprefix("val_") for name in names))
    bare.sort(key=lambda name: ("accuracy" not in name, name != "loss"))
    panels = {name: (history.get(name), history.get(f"val_{name}")) for name in bare[:6]}
    x = history[x_name] if x_name else np.arange(1, len(history[names[0]]) + 1)
    from training import figures
    picture = plot(files, "learning_curve", figures.learning_curve(x_name or "row", x, panels, files.best),
                   "Learning curve: " + ", ".join(panels) + f" over {x_name or 'rows'}")
    said = ""
    if files.best is not None:
        column, label = (("val_accuracy", "Validation accuracy") if "val_accuracy" in history
                         else ("val_loss", "Validation loss"))
        said = (f"{label} was best in {x_name} {x[files.best]:g} of {x[-1]:g}: "
                f"{number(column, history[column][files.best])}. ")
        if {"accuracy", "val_accuracy"} <= history.keys():
            gap = 100 * (history["accuracy"][-1] - history["val_accuracy"][-1])
            said += (f"At the end training accuracy is {abs(gap):.1f} points "
                     + ("above validation accuracy; a gap that widens is overfitting. " if gap >= 0
                        else "below validation accuracy. "))
        said += ("Training values are means over an epoch in which the network still changes; validation "
                 "values are measured at its end.")
    return section("Learning curve", said, picture)


def confusion(files):
    """The confusion matrix, the classes most often confused, and the accuracy of each."""
    if files.predictions is None:
        return ""
    from training import figures
    names, labels = files.class_names, files.predictions["labels"].astype(np.int64)
    predicted = files.predictions["confidences"].argmax(axis=1)
    counts = predictions.confusion_matrix(labels, predicted, len(names))
    large = len(names) > figures.MANY_CLASSES
    picture = plot(files, "confusion_matrix", figures.confusion_matrix(counts, names),
                   "Confusion matrix: rows are true classes, columns predicted ones", wide=large)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    said = ""
    often = [place for place in np.argsort(-wrong, axis=None, kind="stable")[:3] if wrong.flat[place]]
    if often:
        pairs = [(*divmod(int(place), len(names)), int(wrong.flat[place])) for place in often]
        said = "Most often confused: " + "; ".join(
            f"{names[true]} taken for {names[taken]} ({times:,} time{'s' if times > 1 else ''})"
            for true, taken, times in pairs) + ". "
    said += "Blue is right, orange is wrong, each on a scale of its own."
    totals = counts.sum(axis=1)
    seen = np.flatnonzero(totals)
    accuracy = counts.diagonal()[seen] / totals[seen]
    width = min(max(map(len, names)) + 1, 13)
    rows = []
    for place in np.argsort(accuracy, kind="stable"):
        index, share = seen[place], accuracy[place]
        rows.append(f"<li><b>{escape(names[index])}</b>"
                    f'<span class="bar"><i style="width:{100 * share:.1f}%"></i></span>'
                    f"<span>{100 * share:.1f} %</span>"
                    f"<small>{counts[index, index]:,} of {totals[index]:,}</small></li>")
    return (section("Confusion matrix", said, picture, "broad" if large else "")
            + section("Accuracy per class", "The hardest class first.",
                      f'<ol class="classes" style="--name: {width}ch">{"".join(rows)}</ol>'))


def mistakes(files):
    """The images that were taken most surely for something else."""
    stored = files.predictions
    if stored is None or "mistakes" not in stored or "mistake_inputs" not in stored:
        return ""
    names, confidences, labels = files.class_names, stored["confidences"], stored["labels"]
    wrong = predictions.mistakes(confidences, labels)
    if not len(wrong):
        return section("Mistakes", "None: every test example is classified correctly.", "")
    from training import figures
    images = [displayable(image) for image in stored["mistake_inputs"]]
    captions, cells = [], []
    for index, image in zip(stored["mistakes"], images, strict=True):
        true, taken = names[labels[index]], names[confidences[index].argmax()]
        sure = rounded_per_cent(confidences[index].max())
        captions.append(f"{figures.shortened(true, 9)} → {figures.shortened(taken, 9)} ({sure})")
        cells.append(f'<figure title="test example {int(index)}"><img class="pixels" alt="" '
                     f'src="{data_uri(png(image))}"><figcaption>{escape(true)} → {escape(taken)} '
                     f"({sure})</figcaption></figure>")
    save_plot(files, "misclassified", figures.misclassified(images, captions))
    said = (f"{len(wrong):,} of {len(labels):,} test examples are wrong"
            + (f"; these are the {len(cells)} of which the network was surest" if len(cells) < len(wrong)
               else ", the surest first")
            + ". Each caption: true class → predicted class (its probability).")
    return section("Mistakes", said, f'<div class="gallery">{"".join(cells)}</div>')


def rounded_per_cent(probability):
    """Whole per cent, but never 100 for what is only close to it."""
    rounded = ">99" if 0.995 <= probability < 1 else f"{100 * probability:.0f}"
    return rounded + "\N{NO-BREAK SPACE}%"


def displayable(image):
    """An image as stored, (H, W, C) -> uint8: bytes as they are, [0, 1] times 255, else stretched."""
    if image.dtype == np.uint8:
        return image
    image = np.nan_to_num(image.astype(np.float64))
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        image = (image - low) / ((high - low) or 1)
    return np.round(255 * image).astype(np.uint8)


def png(image, side=128):
    """A uint8 image (H, W, 1 or 3) as PNG bytes, made smaller if a side is longer than that."""
    from PIL import Image
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.thumbnail((side, side))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def calibration(files):
    """The reliability diagram and the expected calibration error."""
    if files.predictions is None:
        return ""
    from training import figures
    confidences = files.predictions["confidences"]
    result = predictions.calibration(confidences, files.predictions["labels"])
    sure = float(confidences.max(axis=1).mean())
    right = float((confidences.argmax(axis=1) == files.predictions["labels"]).mean())
    word = "about as sure as it should be" if abs(sure - right) < 0.005 else (
        "surer than it should be" if sure > right else "less sure than it could be")
    said = (f"Is it as sure as it is right? On average it gives its answer a probability of "
            f"{100 * sure:.1f} % and is right in {100 * right:.1f} %: {word}. Expected calibration error: "
            f"{100 * result.error:.2f} % ({predictions.BINS} bins; 0 is perfect). Bars below the dashed line "
            "are overconfident; bars that hold few examples, lower panel, say little.")
    return section("Calibration", said, plot(files, "calibration", figures.calibration(result),
                                             "Reliability diagram: accuracy against confidence"))


def first_layer(files):
    """The filters or units nearest the image, as pictures."""
    first = (files.network or {}).get("first")
    if not first:
        return ""
    kind, name, kernel, input_shape = first
    if kind == "Conv2D":
        height, width, channels, count = kernel.shape
        if height * width == 1:
            return ""
        maps = np.moveaxis(kernel, 3, 0)                         # (filters, H, W, C)
        if channels != 3:
            maps = np.moveaxis(maps, 3, 1).reshape(-1, height, width)
        shown = maps[:MAPS_SHOWN]
        said = (f"The {count} filters of {height}x{width} pixels that {name} has learned"
                + (f", {channels} channels each in turn" if channels not in (1, 3) else "")
                + (f"; the first {len(shown)} maps" if len(shown) < len(maps) else "") + ".")
    else:
        image = input_shape and len(input_shape) == 3 and input_shape[-1] in (1, 3)
        if not image or None in input_shape or math.prod(input_shape) != len(kernel):
            return ""
        shown = kernel.T[:UNITS_SHOWN].reshape(-1, *input_shape)
        shown = shown[..., 0] if input_shape[-1] == 1 else shown
        said = (f"What each unit of {name} looks for in the image"
                + (f"; the first {len(shown)} of {kernel.shape[1]} units"
                   if len(shown) < kernel.shape[1] else "") + ".")
    said += (" All on one scale: grey is zero." if shown.ndim == 4
             else " All on one scale: red adds, blue takes away, colourless is zero.")
    from training import figures
    return section("First layer", said, plot(files, "first_layer", figures.first_layer(shown),
                                             "Weights of the first layer as pictures"))


def own_pictures(files):
    """What the recipe itself has drawn into figures/."""
    paths = sorted(path for path in (files.folder / "figures").glob("*.png")
                   if path.stem not in PLOTS and not path.name.startswith("."))
    pictures = "".join(
        f'<figure class="own"><img alt="{escape(path.stem)}" src="{data_uri(path.read_bytes())}">'
        f"<figcaption>{escape(path.stem.replace('_', ' '))}</figcaption></figure>" for path in paths)
    return section("Pictures of this recipe", "", pictures) if paths else ""


def all_metrics(files):
    """What main returned, with all digits."""
    values = {name: value for name, value in files.metrics.items() if not isinstance(value, dict)}
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(exact(value))}</td></tr>"
                   for name, value in values.items())
    return section("All metrics", "", f'<div class="scroll"><table>{rows}</table></div>') if rows else ""


def configuration(files):
    """Every field with its comment; those that differ from the named configuration marked."""
    if not files.config:
        return ""
    differing = files.differing
    comments = files.card.comments if files.card is not None else {}
    rows = []
    for name, value in files.config.items():
        mark = ""
        if name in differing:
            mark = f' <span class="tag">not {escape(display(differing[name]))}</span>'
        rows.append(f'<tr{" class=differs" if name in differing else ""}><th>{escape(name)}</th>'
                    f"<td>{escape(display(value))}{mark}</td><td>{escape(comments.get(name, ''))}</td></tr>")
    said = ""
    if files.card is not None and files.card.baseline(files.name):
        own = files.recipe + (f" {files.name}" if files.name in files.card.named else "'s default")
        said = f"Marked: what differs from {own}." if differing else f"As in {own}."
    table = f'<table class="config">{"".join(rows)}</table>'
    return section("Configuration", said, f'<div class="scroll">{table}</div>')


def environment(files):
    """Seed, versions and device, folded."""
    values = {"run folder": str(files.folder)}
    flags = ("seed", "strategy", "precision", "jit")
    values |= {name: files.about[name] for name in flags if name in files.about}
    for name, value in files.environment.items():
        values |= value if isinstance(value, dict) else {name: value}
    rows = "".join(f"<tr><th>{escape(str(name))}</th><td>{escape(display(value))}</td></tr>"
                   for name, value in values.items())
    return (f"<section><details><summary>Where it ran: seed, versions, device</summary>"
            f'<div class="scroll"><table>{rows}</table></div></details></section>')


# By the kind of training.predict.kind: the name of an example, and what becomes of it.
PREDICTED = {"image": ("image.png", "classifies a picture of your own"),
             "text": ("text.txt", "classifies a text of your own"),
             "characters": ("text.txt", "goes on with a text of your own")}


def commands(files):
    """What can be done with this run now."""
    folder = shlex.quote(str(files.folder))
    lines = {f"resume {folder}": "picks an interrupted run up; this one is finished" if files.finished
             else "goes on where it stopped"}
    if files.network is not None:
        lines[f"evaluate {folder}"] = "measures the saved network again on the test set"
        from training.predict import kind  # which imports TensorFlow
        file, what = PREDICTED.get(kind(files.folder), ("FILE", "answers to a file of your own"))
        lines[f"predict {folder} {file}"] = what
    items = "".join(f"<li><code>python -m recipes {escape(command)}</code><span>{escape(what)}</span></li>"
                    for command, what in lines.items())
    return section("What to do next", "", f'<ul class="commands">{items}</ul>')


# ---- words, numbers and pictures

def plot(files, name, figure, alternative, wide=False):
    """Saves the figure as figures/<name>.png and returns it as an HTML image."""
    content = save_plot(files, name, figure)
    return (f'<div class="scroll"><img class="plot{" wide" if wide else ""}" alt="{escape(alternative)}" '
            f'src="{data_uri(content)}"></div>')


def save_plot(files, name, figure):
    """Writes a figure into the run folder, replacing an older one, and gives its PNG as bytes."""
    from training import figures
    path = files.folder / "figures" / f"{name}.png"
    with replacing(path) as part:
        figures.save(figure, part)
    return path.read_bytes()
