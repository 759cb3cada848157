"""The space of the fake recipe, what a search of it comes to, and waiting for things to happen."""
import time
from pathlib import Path

from tuning.search import records

SPACE = Path(__file__).with_name("fake_space.py")
DEADLINE = 120                 # seconds; only a hanging process comes near it


def outcome(search):
    """What must be the same where the same was searched; how far a pruned trial was ahead depends on time."""
    return [(row["id"], row["values"], row["continues"], row["outcome"], row["value"],
             row["epochs"] if row["outcome"] == "finished" else None) for row in records(search)]


def until(condition):
    """Waits for it; the truth that it came to."""
    end = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(.02)
    return found
