"""Faithfulness by its definition, and areas on a fixed table."""

import pytest
import torch

from llc_lightning.circuits.base import edge_scores
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.evaluation.curve import SHARES, area, curve
from llc_lightning.circuits.evaluation.faithfulness import faithfulness
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.errors import SettingError
from tests.circuits.nets import question

TABLE = (0.0, 0.1, 0.15, 0.4, 0.3, 0.8, 1.1, 1.05, 0.97, 1.0)


def test_areas_of_a_fixed_table() -> None:
    # Summed by hand: 0.00005, 0.000375, 0.001375, 0.0035, 0.0165, 0.0475, 0.1075, 0.303, 0.4925.
    assert area(SHARES, TABLE) == pytest.approx(0.9723, abs=1e-9)
    distance = [abs(1 - one) for one in TABLE]
    # 0.00095, 0.002625, 0.003625, 0.0065, 0.0135, 0.0075, 0.0075, 0.012, 0.0075.
    assert area(SHARES, distance) == pytest.approx(0.0617, abs=1e-9)


def test_the_true_edges_alone_are_faithful_and_come_first() -> None:
    asked = question("hand_built")
    runs = MaskedRuns(Subject(asked))
    scores = {Edge.parse(one.component): one.value for one in edge_scores(asked, "exact")}
    found = curve(runs, scores)
    assert found.points[-1].value == pytest.approx(1.0)
    # The 5 edges that a donor of the same positions can reach.
    assert found.points[5].edges == 5
    assert found.points[5].value == pytest.approx(1.0, abs=1e-4)
    assert found.cmd == pytest.approx(area(SHARES, [abs(1 - one.value) for one in found.points]), abs=1e-9)
    assert found.cmd < 0.05 < 0.9 < found.cpr


def test_ratios_follow_their_definition_and_tell_their_conditions() -> None:
    asked = question("layer")
    runs = MaskedRuns(Subject(asked))
    edges = runs.edges[::2]
    masks = torch.stack([runs.mask(edges), runs.mask([]), runs.mask(runs.edges)])
    with torch.no_grad():
        circuit, none, every = runs(masks).double()
    ratio = faithfulness(runs, edges)
    assert ratio.value == pytest.approx(float((circuit - none).mean() / (every - none).mean()), abs=1e-9)
    mean = faithfulness(runs, edges, average="mean_of_ratios")
    assert mean.value == pytest.approx(float(((circuit - none) / (every - none)).mean()), rel=1e-6)
    assert ratio.as_row() | {"value": 0, "stderr": 0, "circuit": 0, "none": 0, "all": 0} == {
        **{"value": 0, "stderr": 0, "circuit": 0, "none": 0, "all": 0, "n": 12, "edges": len(edges)},
        **{"level": "edge", "donor": "resample(draws=1)", "direction": "noising", "positions": "all"},
        **{"average": "ratio_of_means", "metric": "train", "status": ratio.status},
    }
    with pytest.raises(SettingError, match="unknown average 'mean'"):
        faithfulness(runs, edges, average="mean")
