"""What the report shows about two tasks in one net."""

import numpy as np
import pytest

from llc_lightning.report.panels.tasks import selective_share, task_accuracy, unit_selectivity
from llc_lightning.report.sections import Findings, find
from llc_lightning.report.tables import task_table
from tests.analysis.synthetic import frame
from tests.analysis.test_selectivity import unit


@pytest.fixture(scope="module")
def two_tasks() -> Findings:
    rows = []
    for step in (10, 100):
        rows += unit("net.h.0[0]", 0.3, 0.01 if step == 100 else 0.3, step=step)
        rows += unit("net.h.0[1]", 0.1, 0.3, step=step) + unit("net.h.1[0]", 0.0, 0.3, step=step)
        rows += unit("net.h.1[1]", 0.002, 0.0, step=step) + unit("net.h.1", 0.3, 0.3, kind="layer", step=step)
        for loss, value in (("task:mnist", 0.9), ("task:fashion", 0.8), ("train", 0.85)):
            one = {"quantity": "accuracy", "loss": loss, "value": value, "stderr": 0.01, "n_examples": 50, "step": step}
            rows.append(one)
    return find(frame(rows), run="images/version_0")


def test_the_accuracy_on_each_task_is_shown(two_tasks: Findings) -> None:
    panel = task_accuracy(two_tasks)
    assert panel is not None
    assert panel.title == "Accuracy on each task ends at: mnist 0.900, fashion 0.800"
    assert [one.name for one in panel.series] == ["mnist", "fashion"]
    assert all(len(one.x) == 2 for one in panel.series)


def test_the_share_of_units_that_serve_one_task_is_shown_by_layer(two_tasks: Findings) -> None:
    panel = selective_share(two_tasks)
    assert panel is not None
    assert {one.name: one.y.tolist() for one in panel.series} == {"net.h.0": [0.0, 0.5], "net.h.1": [1.0, 1.0]}
    assert "net.h.0 0.50, net.h.1 1.00" in panel.title


def test_units_lie_between_the_tasks_and_doubtful_ones_are_hollow(two_tasks: Findings) -> None:
    panel = unit_selectivity(two_tasks)
    assert panel is not None
    lower, upper = panel.series
    assert lower.y.tolist() == pytest.approx([0.29 / 0.31, -0.5])
    assert upper.y.tolist() == [-1.0, 1.0]
    assert upper.hollow.tolist() == [False, True]
    assert lower.high is not None
    assert (np.abs(lower.high) <= 1).all()
    assert "mnist alone is 1, fashion alone is -1" in panel.title


def test_the_table_counts_them(two_tasks: Findings) -> None:
    found = task_table(two_tasks)
    assert found is not None
    assert found.columns[3:5] == ("mnist alone", "fashion alone")
    assert [row[:5] for row in found.rows] == [
        ("net.h.0", "2 neurons", "2", "1", "0"),
        ("net.h.1", "2 neurons", "1", "0", "1"),
    ]


def test_a_net_without_tasks_has_nothing_of_it(found: Findings) -> None:
    assert task_accuracy(found) is selective_share(found) is unit_selectivity(found) is task_table(found) is None
