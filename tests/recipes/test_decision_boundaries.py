"""decision_boundaries: what a line and two units cannot do, and names of networks."""
import dataclasses

import pytest

from recipes.foundations.decision_boundaries import SMOKE, hidden_widths, main
from training import Run


def test_networks_are_named_by_their_widths():
    assert hidden_widths("2") == (2,) and hidden_widths("16-8-4") == (16, 8, 4)


@pytest.mark.parametrize("name", ["0", "16-0", "", "16-", "2.5", "-3"])
def test_a_width_of_zero_is_refused(name, tmp_path):
    config = dataclasses.replace(SMOKE, networks=("2", name))
    with pytest.raises(ValueError, match=f"each at least 1, as in 16 or 16-16. Received: {name}"):
        main(config, Run(tmp_path / "run", config=config))


def test_smoke(smoke_run, drawn):
    folder, metrics = smoke_run("decision_boundaries")
    drawn(folder, "boundaries")
    assert metrics["circles_linear_accuracy"] < 0.65 and metrics["circles_2_accuracy"] < 0.9
    assert metrics["circles_8_accuracy"] > 0.95 and metrics["circles_SVM_accuracy"] > 0.95
    assert (folder / "circles-8" / "model.keras").exists()
