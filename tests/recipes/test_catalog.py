import json
import subprocess
import sys

import pytest

from recipes import catalog
from training import results

RECIPE = '''"""A line: what it is about.

Source     Somebody 1999, A Title,
           section 2; and more.
Run        python -m recipes run lesson
Published  12.34 %.
Departs    In nothing.

Text that belongs to no field.
"""
import nothing_that_exists

PUBLISHED = {"": 12.34, "wide": 56.0}
HEADLINE = "val_accuracy"
raise SystemExit("a catalogue that runs recipes would end here")
'''


@pytest.fixture
def lesson(tmp_path):
    path = tmp_path / "subject" / "lesson.py"
    path.parent.mkdir()
    path.write_text(RECIPE)
    (tmp_path / "subject" / "__init__.py").write_text("")
    return catalog.cards(tmp_path)


def test_card_is_read_and_not_run(lesson):
    card = lesson["lesson"]
    assert (card.path.parent.name, card.idea, card.headline, card.unit) == (
        "subject", "A line: what it is about.", "val_accuracy", "%")
    assert card.entries == {"Source": "Somebody 1999, A Title, section 2; and more.",
                            "Run": "python -m recipes run lesson", "Published": "12.34 %.",
                            "Departs": "In nothing."}
    assert card.published == {"": 12.34, "wide": 56.0}
    assert catalog.paper(card) == "Somebody 1999, A Title"


def test_table_has_published_and_measured_figures(lesson, tmp_path):
    assert "12.34-56.00 %" in catalog.table(lesson, 100, tmp_path / "results")
    (tmp_path / "results").mkdir()
    entry = {"name": "", "published": 12.34, "headline": "val_accuracy", "unit": "%",
             "metrics": {"val_accuracy": {"mean": 0.1219, "std": None, "values": [0.1219]}}}
    other = {**entry, "published": None,
             "metrics": {"val_accuracy": {"mean": 0.99, "std": None, "values": [0.99]}}}
    (tmp_path / "results" / "lesson.json").write_text(json.dumps([entry, other]))
    text = catalog.table(lesson, 100, tmp_path / "results")
    assert "12.19 %" in text and "99.00" not in text and "(in parentheses" not in text
    (tmp_path / "results" / "lesson.json").write_text(json.dumps([other]))
    text = catalog.table(lesson, 100, tmp_path / "results")
    assert "(99.00 %)" in text and text.endswith("than the published figure)")


@pytest.mark.parametrize("width", [80, 100, 120])
def test_table_keeps_to_the_width_and_shows_every_recipe(width):
    cards = catalog.cards()
    lines = catalog.table(cards, width).splitlines()
    assert max(map(len, lines)) <= width
    assert set(cards) <= {line.split()[0] for line in lines if line}


def test_every_recipe_has_a_whole_card():
    cards = catalog.cards()
    assert "convnet_mnist" in cards
    for name, card in cards.items():
        assert list(card.entries) == list(catalog.FIELDS), f"{card.path} lacks a field of the card"
        assert f"python -m recipes run {name}" in card.entries["Run"]
        assert all(isinstance(figure, (int, float)) for figure in card.published.values()), card.path


def test_a_file_without_a_card_is_named(tmp_path):
    (tmp_path / "subject").mkdir()
    (tmp_path / "subject" / "bare.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"bare\.py has no card"):
        catalog.cards(tmp_path)


def test_list_is_quick_because_it_imports_neither_tensorflow_nor_keras():
    program = ("import sys; from recipes.__main__ import main; main(['list']); "
               "print(sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                          cwd=results.ROOT)
    assert "convnet_mnist" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
