import json
import statistics

import pytest

from recipes.catalog import cards
from training import results
from training.card import Card

CARDS = {"lesson": Card(None, "An idea.", {}, {}, {}, {}, {"wide": 99.0, "": 98.0})}


def finished_run(folder, seed=0, accuracy=0.98, *, name="", config=None, changed=None, seconds=120.0,
                 precision="float32"):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({
        "recipe": "lesson", "name": name, "seed": seed, "precision": precision, "changed": changed or {},
        "config": {"data": "mnist", "epochs": 2} if config is None else config}))
    (folder / "environment.json").write_text(json.dumps({
        "device": "a CPU, 2 cores", "versions": {"keras": "3"}, "commit": "abc",
        "finished": "2026-01-02T03:04:05"}))
    (folder / "history.csv").write_text("epoch,updates,loss\n1,10,2.0\n2,20,1.0\n")
    (folder / "times.csv").write_text(f"updates,seconds\n10,1.0\n20,{seconds}\n")
    (folder / "metrics.json").write_text(json.dumps({"test_accuracy": accuracy, "note": "text"}))
    return folder


@pytest.fixture
def store(tmp_path):
    def record(*folders):
        paths = results.record(folders, CARDS, tmp_path / "results")
        assert [path.name for path in paths] == ["lesson.json"]
        return json.loads(paths[0].read_text())
    return record


def test_one_run_is_one_entry_without_a_deviation(tmp_path, store):
    entry, = store(finished_run(tmp_path / "a"))
    assert entry["config"] == {"data": "mnist", "epochs": 2} and entry["published"] == 98.0
    assert entry["seeds"] == [0] and entry["minutes"] == 2.0 and entry["device"] == "a CPU, 2 cores"
    assert entry["metrics"] == {"test_accuracy": {"mean": 0.98, "std": None, "values": [0.98]}}
    assert entry["runs"] == [{"seed": 0, "minutes": 2.0, "device": "a CPU, 2 cores",
                              "versions": {"keras": "3"}, "commit": "abc", "date": "2026-01-02"}]
    assert str(tmp_path) not in (tmp_path / "results" / "lesson.json").read_text()


def test_an_ensemble_has_the_minutes_of_its_members(tmp_path, store):
    ensemble = finished_run(tmp_path / "five", config={"data": "mnist", "epochs": 3})
    (ensemble / "times.csv").unlink()
    for name in ("member1", "member2"):
        finished_run(ensemble / name, seconds=90.0)
    entry, = store(ensemble)
    assert entry["minutes"] == 3.0
    (ensemble / "environment.json").write_text(json.dumps({"device": "a CPU, 2 cores", "seconds": 240.0}))
    entry, = store(ensemble)                                     # the measuring of the members besides
    assert entry["minutes"] == 4.0


def test_a_member_stands_for_the_configuration_that_it_equals(tmp_path, store, monkeypatch):
    card = Card(None, "An idea.", {}, {}, {"data": "mnist", "widths": (1, 2)}, {
        "narrow": {"data": "mnist", "widths": (1, 2)}, "wide": {"data": "mnist", "widths": (3, 4)}}, {})
    monkeypatch.setitem(CARDS, "lesson", card)
    member = finished_run(tmp_path / "five" / "member1", name="member1", seed=3,
                          config={"data": "mnist", "widths": [3, 4]})
    saved = json.loads((member / "config.json").read_text())
    (member / "config.json").write_text(json.dumps({**saved, "part": True}))
    entry, = store(member)
    assert entry["name"] == "wide" and entry["seeds"] == [3]
    (member / "config.json").write_text(json.dumps({**saved, "part": True, "config": {"data": "digits"}}))
    with pytest.raises(ValueError, match="member1 is a part of the run in .*five, and no named"):
        store(member)


def test_seeds_accumulate_over_calls_and_the_same_seed_replaces(tmp_path, store):
    store(finished_run(tmp_path / "a", 0, 0.98), finished_run(tmp_path / "c", 2, 0.97))
    store(finished_run(tmp_path / "b", 1, 0.96, seconds=60.0))
    entry, = store(finished_run(tmp_path / "a2", 0, 0.99))
    values = [0.99, 0.96, 0.97]
    assert entry["seeds"] == [0, 1, 2] and entry["metrics"]["test_accuracy"]["values"] == values
    assert entry["metrics"]["test_accuracy"]["mean"] == pytest.approx(sum(values) / 3)
    assert entry["metrics"]["test_accuracy"]["std"] == pytest.approx(statistics.stdev(values))
    assert entry["minutes"] == pytest.approx(5 / 3, abs=0.01)


def test_a_run_older_than_a_field_is_of_the_configuration_with_its_default(tmp_path, store, monkeypatch):
    store(finished_run(tmp_path / "old", 0, 0.98))
    newer = Card(None, "An idea.", {}, {}, {"data": "mnist", "dropout": 0.0, "epochs": 5}, {}, {"": 98.0})
    monkeypatch.setitem(CARDS, "lesson", newer)
    config = {"data": "mnist", "dropout": 0.0, "epochs": 2}
    default, other = store(finished_run(tmp_path / "new", 1, 0.96, config=config),
                           finished_run(tmp_path / "other", 2, 0.97, config={**config, "dropout": 0.5}))
    assert default["config"] == config and default["seeds"] == [0, 1]
    assert default["metrics"]["test_accuracy"]["values"] == [0.98, 0.96]
    assert other["config"]["dropout"] == 0.5 and other["seeds"] == [2]


def test_other_configurations_have_entries_of_their_own_in_published_order(tmp_path, store):
    entries = store(finished_run(tmp_path / "a"), finished_run(tmp_path / "b", name="wide"),
                    finished_run(tmp_path / "c", config={"data": "mnist", "epochs": 9},
                                 changed={"epochs": 9}),
                    finished_run(tmp_path / "d", precision="mixed_bfloat16"))
    assert [(entry["name"], entry["config"]["epochs"], entry["precision"], entry["published"])
            for entry in entries] == [("wide", 2, "float32", 99.0), ("", 2, "float32", 98.0),
                                      ("", 2, "mixed_bfloat16", 98.0), ("", 9, "float32", None)]


def test_a_series_stands_for_its_children(tmp_path, store):
    parent = finished_run(tmp_path / "all", name="all", config={})
    (parent / "metrics.json").write_text('{"one": {}, "wide": {}}')
    finished_run(parent / "wide", name="wide", accuracy=0.5)
    with pytest.raises(FileNotFoundError, match="one is not a run folder"):
        store(parent)
    assert not (tmp_path / "results").exists()
    finished_run(parent / "one", name="one", accuracy=0.25)
    assert [(entry["name"], entry["metrics"]["test_accuracy"]["mean"]) for entry in store(parent)] == [
        ("wide", 0.5), ("one", 0.25)]


def test_folders_of_this_machine_stay_out(tmp_path, store):
    config = {"runs": ["/a/b", "/a/c"], "data": "mnist"}
    entry, = store(finished_run(tmp_path / "vote", config=config, changed={"runs": ["/a/b", "/a/c"]}))
    assert entry["config"] == {"runs": 2, "data": "mnist"}
    assert entry["changed"] == {} and entry["published"] == 98.0


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda folder: (folder / "metrics.json").unlink(), "is not finished.*resume"),
    (lambda folder: (folder / "config.json").unlink(), "is not a run folder"),
    (lambda folder: (folder / "config.json").write_text('{"recipe": "gone"}'), "not of a recipe that exists"),
])
def test_anything_but_finished_runs_is_refused_and_nothing_written(tmp_path, store, spoil, message):
    good, bad = finished_run(tmp_path / "good"), finished_run(tmp_path / "bad", 1)
    spoil(bad)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        store(good, bad)
    assert not (tmp_path / "results").exists()


def test_readme_table(tmp_path, store):
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n{results.BEGIN}\nold\n{results.END}\nrest\n")
    store(finished_run(tmp_path / "a", 0, 0.985), finished_run(tmp_path / "b", 1, 0.975),
          finished_run(tmp_path / "c", config={"data": "digits"}, changed={"data": "digits"}, accuracy=0.5))
    assert not results.is_current(readme, tmp_path / "results")
    results.update(readme, tmp_path / "results")
    assert results.is_current(readme, tmp_path / "results")
    lines = readme.read_text().splitlines()
    assert lines[0] == "# Title" and lines[-1] == "rest" and "old" not in lines
    assert "| lesson | default | 98.00 % | 98.00 ± 0.71 % (2 seeds) | +0.00 | 2.0 | a CPU, 2 cores |" in lines
    named, _, changed = readme.read_text().partition("<details>")
    row = "| lesson | data digits | - | 50.00 % (1 seed) | - | 2.0 | a CPU, 2 cores |"
    assert row not in named and f"{row}\n\n</details>" in changed and "| 98.00 % |" not in changed


def test_what_is_no_share_keeps_its_unit_and_its_own_digits():
    entry = {"name": "", "config": {}, "precision": "float32", "changed": {}, "published": 0.003,
             "unit": "speed", "headline": "speed", "seeds": [0], "minutes": 0.1, "device": "a CPU",
             "metrics": {"speed": {"mean": 0.00257, "std": None, "values": [0.00257]}}}
    assert results.row("lesson", entry)[2:5] == ("0.003 speed", "0.00257 speed (1 seed)", "-0.00043")


def test_a_readme_without_markers_is_refused_and_kept(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# Title\n")
    with pytest.raises(ValueError, match="no place for the table"):
        results.update(readme, tmp_path)
    assert readme.read_text() == "# Title\n"


def test_the_readme_of_this_project_is_current():
    if not any(results.FOLDER.glob("*.json")) and results.BEGIN not in results.README.read_text():
        pytest.skip("nothing is recorded in benchmarks/results yet")
    assert results.is_current(), "run `python -m recipes table`"


def test_everything_recorded_belongs_to_a_recipe_and_names_no_folder_of_a_machine():
    for path in results.FOLDER.glob("*.json"):
        assert path.stem in cards()
        for entry in results.read(path.stem):
            assert len(entry["runs"]) == len(entry["seeds"]) == len(set(entry["seeds"]))
            for summary in entry["metrics"].values():
                assert results.summary(summary["values"]) == summary


def test_a_recorded_row_names_every_field_that_is_not_as_in_its_configuration():
    compared = 0
    for path in results.FOLDER.glob("*.json"):
        card = cards()[path.stem]
        for entry in results.read(path.stem):
            if entry["name"] and entry["name"] not in card.named:           # made by a loop, not readable
                continue
            present = json.loads(json.dumps({**card.baseline(entry["name"]), **entry["changed"]}))
            paths = [name for name, value in entry["config"].items()
                     if value == "(path)" or (isinstance(value, int) and isinstance(present.get(name), list))]
            other = [name for name, value in entry["config"].items()
                     if name not in paths and present.get(name) != value]
            assert not other, (f"{path.stem} {entry['name']} was measured with another {', '.join(other)} "
                               "than the configuration has now: measure it anew, or put it into 'changed'")
            compared += 1
    assert compared > 20
