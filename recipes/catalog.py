"""Which recipes there are, read from their source without running it: quick, and without TensorFlow."""
import ast
import dataclasses
import re
import textwrap
from pathlib import Path

from training import results
from training.results import figure

ROOT = Path(__file__).parent
FIELDS = ("Source", "Run", "Published", "Departs")
CONSTANTS = ("PUBLISHED", "HEADLINE", "UNIT")


@dataclasses.dataclass(frozen=True)
class Card:
    """What a recipe says of itself; the texts are one line each."""
    name: str
    subject: str                 # the folder: foundations, images, ...
    path: Path
    idea: str
    texts: dict                  # Source, Run, Published, Departs
    published: dict              # {configuration: published figure}, {} where there is none
    headline: str                # the metric that stands beside it
    unit: str                    # "%" where the metric is a fraction


def cards(root=ROOT):
    """{name: Card} of all recipes, by subject and name."""
    return {path.stem: card(path) for path in sorted(root.glob("*/*.py")) if not path.stem.startswith("_")}


def card(path):
    """The Card of one file. Raises ValueError, naming the file, if it has no docstring."""
    tree = ast.parse(path.read_text())
    text = ast.get_docstring(tree)
    if not text:
        raise ValueError(f"{path} has no card: a recipe starts with a docstring")
    constants = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) in CONSTANTS:
            constants[node.targets[0].id] = ast.literal_eval(node.value)
    published = constants.get("PUBLISHED", {})
    return Card(path.stem, path.parent.name, path, text.splitlines()[0], fields(text),
                published if isinstance(published, dict) else {"": published},
                constants.get("HEADLINE", "test_accuracy"), constants.get("UNIT", "%"))


def fields(text):
    """{"Source": ..., ...} of a card; indented lines continue a field."""
    found, name = {}, None
    for line in text.splitlines()[1:]:
        start = re.match(rf"({'|'.join(FIELDS)})\s+(.*)", line)
        if start:
            name, found[start[1]] = start[1], start[2].strip()
        elif name and line.startswith(" "):
            found[name] += " " + line.strip()
        else:
            name = None
    return found


def table(cards, width=100, folder=results.FOLDER):
    """All recipes as text of at most width columns, by subject."""
    titles = ("name", "idea", "paper", "published", "measured")
    rows = {name: (name, card.idea, paper(card), span(card.published.values(), card.unit),
                   measured(card, folder)) for name, card in cards.items()}
    widths = [max(len(row[column]) for row in [titles, *rows.values()]) for column in range(5)]
    widths[3], widths[4] = min(widths[3], 14), min(widths[4], 14)
    rest = max(30, width - widths[0] - widths[3] - widths[4] - 8)
    widths[1], widths[2] = rest * 3 // 5, rest - rest * 3 // 5
    lines = laid_out(titles, widths) + ["-" * (sum(widths) + 8)]
    subject = None
    for name, row in rows.items():
        if cards[name].subject != subject:
            subject = cards[name].subject
            lines += ["", subject]
        lines += laid_out(row, widths)
    return "\n".join(lines)


def laid_out(cells, widths):
    """The lines of one row, its cells wrapped to their columns."""
    wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
    height = max(len(cell) for cell in wrapped)
    padded = [[line.ljust(width) for line in cell + [""] * (height - len(cell))]
              for cell, width in zip(wrapped, widths, strict=True)]
    return ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]


def paper(card):
    """Authors, year and title or number: Source up to its second comma."""
    return ",".join(re.split(r"[,;]", card.texts.get("Source", "-"))[:2])


def measured(card, folder):
    """The means of what benchmarks/results has of the published configurations, else of all."""
    entries = results.read(card.name, folder)
    beside = [entry for entry in entries if entry["published"] is not None] or entries
    values = [results.headline_mean(entry) for entry in beside]
    return span([value for value in values if value is not None], card.unit)


def span(values, unit):
    """'99.23 %', or '97.80-99.60 %' of several."""
    values = sorted(values)
    if not values:
        return "-"
    ends = [figure(value, unit) for value in dict.fromkeys((values[0], values[-1]))]
    return f"{'-'.join(ends)} {unit}"
