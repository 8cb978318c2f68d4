"""Two units never share an axis, a sentence, a ratio or a chart."""

import re
from collections.abc import Iterator

import numpy as np
import pytest

from llc_lightning.report.charts import layout, method_charts, rung_charts
from llc_lightning.report.panel import Axis, Panel, Series, axis_in
from llc_lightning.report.sections import sections
from llc_lightning.report.sentences import headlines
from llc_lightning.report.source import Source
from llc_lightning.report.tables import verdict_table
from llc_lightning.report.tensorboard import scalars
from tests.analysis.synthetic import METHODS, RUNGS, SyntheticRun
from tests.report.test_tensorboard import rows_at

UNITS = re.compile(r"error\^\d+(?: / q)?|nats(?: per \w+)?|unit of the loss")


def told(source: Source, control: Source) -> Iterator[str]:
    """Every sentence, title, caption and label of the report of a run with its control."""
    for one in (source, control):
        yield from headlines(one.found, time=one.time)
        yield from one.found.verdict.sentences() if one.found.verdict else ()
    shown = sections(source.found, source.logged, control=(control.found, control.logged))
    for panel in (panel for some in shown.values() for panel in some):
        yield from (panel.title, panel.remark)
        if isinstance(panel, Panel):
            yield from (panel.x.label, panel.y.label, *(rule.label for rule in panel.rules))
        else:
            yield panel.unit


def test_no_sentence_title_or_label_has_two_units(source: Source, control: Source) -> None:
    every = list(told(source, control))
    assert len(every) > 60
    found = [sorted(set(UNITS.findall(text))) for text in every]
    assert not [text for text, units in zip(every, found, strict=True) if len(units) > 1]
    assert {unit for units in found for unit in units} == {"error^4 / q", "error^2 / q", "error^4"}, "no nats here"


def test_every_axis_has_the_unit_of_all_of_its_series(source: Source, control: Source) -> None:
    shown = sections(source.found, source.logged, control=(control.found, control.logged))
    panels = [panel for some in shown.values() for panel in some if isinstance(panel, Panel)]
    said = [panel for panel in panels if panel.y.unit]
    assert len(said) >= 4
    for panel in said:
        assert {one.unit for one in panel.series} == {panel.y.unit}, panel.name
        assert panel.y.unit in panel.y.label


def test_a_figure_of_two_units_is_refused() -> None:
    nats, square = (Series("", np.ones(1), np.ones(1), "black", unit=unit) for unit in ("nats per token", "error^2"))
    with pytest.raises(ValueError, match=r"^the figure 'x' would show error\^2 and nats per token on one axis"):
        Panel("x", "", Axis("step"), Axis("loss"), (nats, square))
    with pytest.raises(ValueError, match="on one axis"):
        Panel("x", "", Axis("step"), axis_in("loss", "error^2"), (nats,))


def test_every_line_of_the_verdict_is_of_one_unit(source: Source, control: Source) -> None:
    table = verdict_table([source.found, control.found])
    assert table is not None
    assert all(len(set(UNITS.findall(" ".join(row)))) <= 1 for row in table.rows)


def test_charts_of_tensorboard_draw_tags_of_one_unit_together() -> None:
    tags = set(scalars(rows_at(3000)))
    counted = {tag: "error^4 / q" for tag in tags if tag.startswith(("ablation", "analysis/loss"))}
    assert counted
    for group in layout([rung_charts(RUNGS), method_charts(list(METHODS))]).values():
        for kind, patterns in group.values():
            here = {tag for tag in tags for pattern in patterns if (tag == pattern or re.search(pattern, tag))}
            assert len({counted.get(tag, "1") for tag in here}) <= 1, kind


def test_an_old_run_says_no_unit_that_it_does_not_know() -> None:
    table = SyntheticRun(units=3, circuits=2, steps=(0, 30, 300)).table().assign(unit="")
    from llc_lightning.report.events import Logged
    from llc_lightning.report.sections import find

    every = sections(find(table, run="old"), Logged({}, 0.0))
    labels = [panel.y.label for some in every.values() for panel in some if isinstance(panel, Panel)]
    assert "loss (unit of the loss)" in labels
    assert not any("nats" in label for label in labels)
