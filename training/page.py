"""The page of a report: its frame and style, and how numbers and settings are written on it."""
import base64
import json
from html import escape
from string import Template


def section(title, lead, body, kind=""):
    """A part of the page: title and lead are text, body is HTML; kind, a CSS class."""
    lead = f'<p class="lead">{escape(lead)}</p>' if lead.strip() else ""
    return f"<section{f' class={kind}' if kind else ''}><h2>{escape(title)}</h2>{lead}{body}</section>"


def data_uri(content):
    """PNG bytes as the src of an <img>, so that the page is one file."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def duration(minutes):
    """Minutes as seconds, minutes or hours; "" for None."""
    if minutes is None:
        return ""
    if minutes < 2:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.1f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def number(name, value):
    """Accuracies in per cent with two decimals, other floats with four digits."""
    if "accuracy" in name and 0 <= value <= 1:
        return f"{100 * value:.2f} %"
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.4g}"


def signed(value):
    """A difference in points, with a typographic minus."""
    return f"{value:+.2f}".replace("-", "−")


def display(value):
    """A setting as words: yes, no, none, numbers without needless digits, lists by commas."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, list | tuple):
        return ", ".join(map(display, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings(fields):
    """{"first_weights": "x"} -> "first weights x", joined by commas."""
    return ", ".join(f"{name.replace('_', ' ')} {display(value)}" for name, value in fields.items())


def exact(value):
    """A metric with all its digits, cut after 400 characters."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 400 else text[:400] + " …"


def is_number(value):
    """Whether a metric is a number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


STYLE = """
:root { color-scheme: light dark; --page: #f4f5f7; --card: #ffffff; --ink: #1b1f24; --soft: #59636e;
  --line: #dfe3e8; --accent: #0072b2; --mark: #fff3d6; --markline: #e69f00; --code: #eef1f4; }
@media (prefers-color-scheme: dark) { :root { --page: #0d0f12; --card: #171717; --ink: #e8eaed;
  --soft: #a3acb6;
  --line: #33383e; --accent: #56b4e9; --mark: #33290f; --markline: #e69f00; --code: #23272c; }
  img.plot { filter: invert(.91) hue-rotate(180deg); } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 28px 16px 40px; }
header { margin-bottom: 20px; }
h1 { margin: 0; font-size: clamp(1.7rem, 5vw, 2.4rem); line-height: 1.15; overflow-wrap: anywhere; }
h1 .name { color: var(--accent); font-weight: 500; }
h2 { margin: 0 0 6px; font-size: 1.25rem; }
.kind { margin: 0 0 4px; color: var(--soft); font-size: .85rem; letter-spacing: .06em;
  text-transform: uppercase; }
.idea { margin: 8px 0 0; font-size: 1.12rem; color: var(--soft); max-width: 42em; }
.facts, .lead, footer { color: var(--soft); font-size: .93rem; }
.lead { margin: 0 0 14px; max-width: 46em; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 20px 22px;
  margin: 16px 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px;
  margin: 18px 0 12px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 12px 14px;
  display: flex; flex-direction: column; overflow-wrap: anywhere; }
.tile span { color: var(--soft); font-size: .85rem; } .tile b { font-size: 1.45rem; font-weight: 650; }
.tile small { color: var(--soft); font-size: .8rem; line-height: 1.35; }
.tile.main { border-color: var(--accent); border-width: 2px; } .tile.main b { color: var(--accent); }
.notice { background: var(--mark); border-left: 4px solid var(--markline); border-radius: 6px;
  padding: 10px 14px;
  margin: 0 0 18px; overflow-wrap: anywhere; }
section.broad { width: min(1240px, 100vw - 32px); position: relative; left: 50%;
  transform: translateX(-50%); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 8px 18px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; }
.scroll { overflow-x: auto; }
img.plot { display: block; width: 100%; max-width: 640px; height: auto; margin: 0 auto; }
img.plot.wide { max-width: none; min-width: 1000px; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .85rem; }
figure.own { margin-bottom: 14px; text-align: center; }
figure.own img { max-width: 100%; height: auto; border-radius: 6px; background: #fff; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(92px, 1fr)); gap: 14px 12px; }
.gallery figcaption { text-align: center; line-height: 1.3; margin-top: 4px; overflow-wrap: anywhere; }
img.pixels { display: block; width: 100%; image-rendering: pixelated; border-radius: 6px; }
.classes { list-style: none; margin: 0; padding: 0; columns: 2 300px; column-gap: 36px; }
.classes li { display: grid; grid-template-columns: var(--name) 1fr 4.2em 6.8em; gap: 8px;
  align-items: center;
  padding: 3px 0; break-inside: avoid; font-variant-numeric: tabular-nums; font-size: .93rem; }
.classes b { overflow-wrap: anywhere; line-height: 1.2;
  } .classes span, .classes small { text-align: right; }
.classes small { color: var(--soft); }
.bar { background: var(--code); border-radius: 4px; height: 10px; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--accent); }
table { border-collapse: collapse; font-size: .93rem; width: 100%; }
th, td { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { font-weight: 500; white-space: nowrap; } tr:last-child > * { border-bottom: 0; }
table.numbers td { white-space: nowrap; }
table.numbers td, table.numbers thead th:not(:first-child) { text-align: right;
  font-variant-numeric: tabular-nums; }
table.numbers thead th { color: var(--soft); font-size: .85rem; white-space: normal;
  vertical-align: bottom; }
table.config td:last-child { color: var(--soft); }
.differs td:nth-child(2) { font-weight: 650; }
.tag { display: inline-block; background: var(--mark); border: 1px solid var(--markline);
  border-radius: 20px;
  padding: 0 8px; font-size: .78rem; font-weight: 400; white-space: nowrap; }
summary { cursor: pointer; } details table { margin-top: 10px; } details td { overflow-wrap: anywhere; }
a { color: var(--accent); }
code { font: .88em ui-monospace, "SF Mono", Menlo, Consolas, monospace; background: var(--code);
  border-radius: 6px;
  padding: 2px 6px; overflow-wrap: anywhere; }
.commands { list-style: none; margin: 0; padding: 0; }
.commands li { padding: 6px 0; } .commands code { display: inline-block; padding: 6px 10px;
  user-select: all; }
.commands span { display: block; color: var(--soft); font-size: .9rem; padding: 2px 0 0 2px; }
@media (max-width: 520px) { section { padding: 16px 14px; } dl { grid-template-columns: 1fr; gap: 2px; }
  dd { margin-bottom: 8px; } .tiles { grid-template-columns: 1fr 1fr;
  } .tile.main { grid-column: 1 / -1; }
  .classes li { gap: 6px; } }
@media print { section { break-inside: avoid; } }
"""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title: report</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body>
<main>
$body
<footer><p>Written $written from the files of the run folder.</p></footer>
</main>
</body>
</html>
""")
