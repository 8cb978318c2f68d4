"""A quantity that nothing knows about has its figure, its table, its curves and its tags."""

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis.trajectories import trajectories
from llc_lightning.report import tables
from llc_lightning.report.charts import layout, quantity_charts
from llc_lightning.report.events import Logged
from llc_lightning.report.panel import Panel
from llc_lightning.report.sections import Findings, find, sections
from llc_lightning.report.tensorboard import scalars
from llc_lightning.results.quantities import QUANTITIES, register_quantity
from llc_lightning.results.schema import Row
from tests.analysis.synthetic import SyntheticRun, frame

UNITS = 6


@pytest.fixture(autouse=True)
def pliability(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quantity as a third kind of measurement registers it."""
    QUANTITIES.names()  # which reads the files of the room
    monkeypatch.setattr(QUANTITIES, "_known", dict(vars(QUANTITIES)["_known"]))
    register_quantity("pliability", unit="nats", definition="How the loss answers to a change of the data.")


def rows_of(steps: tuple[int, ...] = (0, 10, 100)) -> pd.DataFrame:
    """Of the whole net and of each head, on a task alone; one head is not ok at the last step."""
    base = {"quantity": "pliability", "method": "shift", "loss": "task:a", "stderr": 0.1, "settings": "s"}
    made = [{**base, "step": step, "value": 7.0 + step, "kind": "all"} for step in steps]
    made += [
        {**base, "step": step, "value": float(head), "component": f"h[{head}]", "kind": "head"}
        | {"status": "not-mixed" if (head, step) == (5, 100) else "ok"}
        for step in steps
        for head in range(UNITS)
    ]
    return frame(made)


@pytest.fixture
def found() -> Findings:
    """Of these rows alone: nothing else was measured."""
    return find(rows_of(), run="third")


def test_it_has_a_figure_with_its_unit_and_its_errors(found: Findings) -> None:
    (panel,) = sections(found, Logged({}, 0.0))["Other quantities"]
    assert isinstance(panel, Panel)
    assert panel.name == "other-pliability"
    assert panel.y.label == "pliability (nats)"
    whole, heads, middle = panel.series
    assert (whole.name, middle.name) == ("whole model, shift, task:a", "median of 6 heads, shift, task:a")
    assert whole.y.tolist() == [7.0, 17.0, 107.0]
    assert whole.high is not None
    assert np.allclose(whole.high - whole.y, 1.96 * 0.1, atol=1e-3)
    assert int(heads.hollow.sum()) == 1
    assert middle.y.tolist() == [2.5, 2.5, 2.0]
    assert panel.title == (
        "pliability over training; at the end whole model, shift, task:a 107, "
        "median of 6 heads, shift, task:a 2 (5 of 6 ok)"
    )


def test_what_would_crowd_a_figure_has_one_for_each_method() -> None:
    few = rows_of().loc[lambda rows: rows["component"].isin([f"h[{head}]" for head in range(4)])]
    both = pd.concat([few, few.assign(method="shift(by=2)")], ignore_index=True)
    (panel,) = sections(find(both, run="few"), Logged({}, 0.0))["Other quantities"]
    assert isinstance(panel, Panel)
    assert [one.name for one in panel.series[3:5]] == ["3, shift, task:a", "0, shift(by=2), task:a"]
    assert len({(one.color, one.marker) for one in panel.series}) == len(panel.series) == 8
    crowd = pd.concat([both, few.assign(method="drop")], ignore_index=True)
    every = sections(find(crowd, run="crowd"), Logged({}, 0.0))["Other quantities"]
    assert [one.name for one in every] == [f"other-pliability-{name}" for name in ("drop", "shift", "shift-by-2")]
    assert every[0].title == "pliability, drop, task:a, of 4 heads over training; median at the end 1.5"


def test_it_stands_beside_what_is_known() -> None:
    known = SyntheticRun(units=UNITS, circuits=2, steps=(0, 300)).table()
    both = find(pd.concat([known, rows_of((0, 300))], ignore_index=True), run="both")
    alone = find(known, run="both")
    shown, before = (sections(one, Logged({}, 0.0)) for one in (both, alone))
    assert [heading for heading in shown if heading not in before] == ["Other quantities"]
    assert both.units == alone.units


def test_it_has_a_table(found: Findings) -> None:
    table = tables.other_table(found)
    assert table is not None
    assert table.rows == (
        ("pliability", "whole model, shift, task:a", "107", "nats", "100"),
        ("pliability", "median of 6 heads, shift, task:a", "2 (5 of 6 ok)", "nats", "100"),
    )
    assert tables.quantity_table(found).rows[0][:2] == ("pliability", "nats")
    own = tables.other_table(find(rows_of().assign(unit="nats per token"), run="own"))
    assert own is not None
    assert {row[3] for row in own.rows} == {"nats per token"}


def test_it_has_trajectories() -> None:
    curves = trajectories(rows_of(), losses=["*"])
    assert len(curves) == 3 * (1 + UNITS)
    assert len(trajectories(rows_of())) == 0, "nothing is on the training loss"


def test_it_has_tags_and_a_chart() -> None:
    values = scalars(Row(**row) for row in rows_of((100,)).to_dict("records"))
    tags = [tag for tag in values if not tag.startswith("health/")]
    assert values["pliability/shift/task_a/full"] == 107.0
    assert values["flagged/pliability/shift/task_a/h.5"] == 5.0
    assert len(tags) == 1 + UNITS
    charts = layout([quantity_charts(["pliability"])])
    assert charts["Other quantities"] == {"pliability": ["Multiline", ["^pliability/"]]}


def test_a_quantity_that_nobody_registered_is_shown_without_a_unit(
    found: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(vars(QUANTITIES)["_known"], "pliability")
    (panel,) = sections(found, Logged({}, 0.0))["Other quantities"]
    assert isinstance(panel, Panel)
    assert panel.y.label == "pliability (unit not registered)"
