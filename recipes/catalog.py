"""Which recipes there are, read from their source without running it: quick, and without TensorFlow."""
import re
import textwrap
from pathlib import Path

from training import card as source
from training import results
from training.results import figure

ROOT = Path(__file__).parent
FIELDS = ("Source", "Run", "Published", "Departs")


def cards(root=ROOT):
    """{name: training.card.Card} of all recipes, by subject and name.

    Raises ValueError, naming the file, if one has no docstring.
    """
    found = {path.stem: source.read(path.stem, root) for path in sorted(root.glob("*/*.py"))
             if not path.stem.startswith("_")}
    for name, card in found.items():
        if card is None or not card.idea:
            raise ValueError(f"{name}.py has no card: a recipe starts with a docstring")
    return found


def table(cards, width=100, folder=results.FOLDER):
    """All recipes as text of at most width columns, by subject; without the papers where it is narrow."""
    titles = ("name", "idea", "paper", "published", "measured")
    rows = {name: (name, card.idea, paper(card), span(card.published.values(), card.unit),
                   measured(name, card, folder)) for name, card in cards.items()}
    widths = [max(len(row[column]) for row in [titles, *rows.values()]) for column in range(5)]
    widths[3], widths[4] = min(widths[3], 14), min(widths[4], 14)
    rest = width - widths[0] - widths[3] - widths[4] - 8
    if rest >= 30:
        widths[1], widths[2] = rest * 3 // 5, rest - rest * 3 // 5
    else:
        titles, widths = titles[:2] + titles[3:], [widths[0], rest + 2, *widths[3:]]
        rows = {name: row[:2] + row[3:] for name, row in rows.items()}
    lines = laid_out(titles, widths) + ["-" * (sum(widths) + 2 * len(widths) - 2)]
    subject = None
    for name, row in rows.items():
        if cards[name].path.parent.name != subject:
            subject = cards[name].path.parent.name
            lines += ["", subject]
        lines += laid_out(row, widths)
    if any(row[-1].startswith("(") for row in rows.values()):
        lines += ["", "(in parentheses: of other data or settings than the published figure)"]
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
    return ",".join(re.split(r"[,;]", card.entries.get("Source", "-"))[:2])


def measured(name, card, folder):
    """The means of what benchmarks/results has of the published configurations, else of all.

    The latter stand in parentheses where there is a published figure, which they are not to be held against.
    """
    entries = results.read(name, folder)
    beside = [entry for entry in entries if entry["published"] is not None]
    values = [results.headline_mean(entry) for entry in beside or entries]
    values = [value for value in values if value is not None]
    text = span(values, card.unit)
    return f"({text})" if values and card.published and not beside else text


def span(values, unit):
    """'99.23 %', or '97.80-99.60 %' of several."""
    values = sorted(values)
    if not values:
        return "-"
    ends = [figure(value, unit) for value in dict.fromkeys((values[0], values[-1]))]
    return f"{'-'.join(ends)} {unit}"
