"""The report: what it holds, its importance against a known answer, and a browser that opens it."""
import html.parser
import re
import shutil
import subprocess

import numpy as np
import pytest

from tuning import report
from tuning.search import records

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.addresses = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "img":
            self.images.append(attributes["alt"])
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def written(new):
    search = new("search", "random", 12, fields={"fault": ""})
    search.run()
    return search, report.write(search)


def test_the_report_is_one_whole_file(written):
    search, path = written
    text = path.read_text()
    page = Page(text)
    assert page.images == ["best value over trials and over time", "importance of parameters",
                           "each parameter against the objective", "parallel coordinates",
                           "budget of each trial"]
    assert all(address.startswith("data:") for address in page.addresses)
    best = max((row for row in records(search) if row["outcome"] == "finished"),
               key=lambda row: row["value"])
    assert f"{best['value']:.4f}" in text and "Permutation importance: a random forest" in text
    assert "fake_recipe" in text and f"{len(records(search))}</b>" in text


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
def test_the_report_opens_without_errors(written, tmp_path):
    _, path = written
    picture = tmp_path / "page.png"
    opened = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
         f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1100,3000", f"--screenshot={picture}",
         path.as_uri()], capture_output=True, text=True, timeout=120)
    assert opened.returncode == 0 and picture.stat().st_size > 50_000
    assert not re.findall(r"CONSOLE.*|ERR_\w+", opened.stderr)
    from PIL import Image
    pixels = np.asarray(Image.open(picture).convert("L"))
    assert np.ptp(pixels) > 150                                      # not a blank page


def test_a_search_that_has_just_begun_has_a_report(new):
    search = new("begun", trials=2, fields={"fault": "nan"})
    assert "Not finished" in report.write(search).read_text()
    search.run()
    text = report.write(search).read_text()
    assert "Trials without a value" in text and "the loss became nan at update 25" in text
    Page(text)


def test_importance_finds_the_parameter_that_decides():
    random = np.random.default_rng(0)
    rows = [{"values": {"rate": 10 ** random.uniform(-4, 0), "width": int(random.integers(1, 9)),
                        "kind": str(random.choice(["a", "b"]))}, "trained": 0} for _ in range(60)]
    for row in rows:
        row["value"] = -abs(np.log10(row["values"]["rate"]) + 2) + .3 * (row["values"]["kind"] == "a")
    told = report.importance(rows, report.searched(rows))
    assert [name for name, _, _ in told] == ["rate", "kind", "width"]
    shares = {name: mean for name, mean, _ in told}
    assert shares["rate"] > .5 > shares["kind"] > .02 > abs(shares["width"])
    assert report.importance(rows[:5], report.searched(rows)) is None
    constant = [{**row, "value": 1.0} for row in rows]
    assert report.importance(constant, report.searched(rows)) is None
