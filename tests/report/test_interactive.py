"""Panels as plotly figures."""

import json
import math

import numpy as np
import pytest

from llc_lightning.report.interactive import least_height, numbers, plotly_figure
from llc_lightning.report.markup import figure_card
from llc_lightning.report.panel import Axis, Matrix, Note, Panel, Rule, Series
from llc_lightning.report.sections import sections
from llc_lightning.report.source import Source

EVIL = "</script><script>alert(1)</script>"


def panel(*series: Series, **more: object) -> Panel:
    return Panel("name", "title", Axis("x <b>"), Axis("y", log=True), series, **more)


def series(**more: object) -> Series:
    y = np.array([1.0, 10.0, 1000.0])
    return Series(EVIL, np.arange(3.0), y, "#0a141e", ok=np.array([True, True, False]), marker="circle", **more)


def test_traces_are_drawn_in_order_and_named_once() -> None:
    y = np.array([1.0, 10.0, 1000.0])
    traces = plotly_figure(panel(series(low=y / 2, high=y * 2)))["data"]
    band, hollow, line, filled, entry = traces
    assert band["fill"] == "toself"
    assert band["y"] == [2, 20, 5, 0.5, None], "the interval of a point that is not ok is not drawn"
    assert band["fillcolor"] == "rgba(10,20,30,0.2)"
    assert (hollow["x"], hollow["marker"]["color"]) == ([2], "white")
    assert line["mode"] == "lines"
    assert filled["x"] == [0, 1]
    assert [trace["showlegend"] for trace in traces] == [False] * 4 + [True]
    assert len({trace["legendgroup"] for trace in traces}) == 1
    assert entry["x"] == [None]


def test_single_points_have_bars() -> None:
    y = np.array([1.0, 10.0, 1000.0])
    points = plotly_figure(panel(series(line=False, low=y - 0.5, high=y + 0.25)))["data"][1]
    assert points["error_y"]["array"] == [0.25, 0.25]
    assert points["error_y"]["arrayminus"] == [0.5, 0.5]


def test_all_text_is_escaped() -> None:
    one = series(hover=(EVIL, "b", "c"))
    figure = plotly_figure(panel(one, rules=(Rule(2.0, EVIL),), notes=(Note(1.0, 2.0, EVIL),)))
    cells = Matrix("m", "t", EVIL, EVIL, (EVIL,), (EVIL,), np.ones((1, 1)), EVIL)
    for text in (json.dumps(figure), json.dumps(plotly_figure(cells))):
        assert "<script>" not in text
        assert "&lt;script&gt;" in text
    assert figure["layout"]["xaxis"]["title"]["text"] == "x &lt;b&gt;"


def test_log_axes_and_what_stands_on_them_are_in_powers_of_ten() -> None:
    layout = plotly_figure(
        panel(series(), rules=(Rule(100.0, "rule"),), notes=(Note(1.0, 10.0, "note", above=False),))
    )["layout"]
    low, high = layout["yaxis"]["range"]
    assert low == pytest.approx(0 - 0.12)
    assert high == pytest.approx(2 + 0.12)
    assert layout["shapes"][0]["y0"] == 100
    rule, note = layout["annotations"]
    assert rule["y"] == 2
    assert (note["x"], note["y"]) == (1, 1)
    assert note["ay"] > 0


def test_each_name_of_a_table_of_cells_has_room() -> None:
    names = tuple(f"score {at}" for at in range(40))
    nets = ("induction_strict", "ioi_strict", "planted_mixed")
    values, texts = np.ones((40, 3)), tuple((("1",) * 3,) * 40)
    said = Matrix("m", "t", "net", "score", names, nets, values, "AUROC", texts, wide=True)
    layout = plotly_figure(said)["layout"]
    assert layout["yaxis"]["tickvals"] == list(names)
    assert layout["xaxis"]["tickvals"] == list(nets)
    assert least_height(said) >= 14 * len(names)
    assert f"min-height: {least_height(said)}px" in figure_card(said, static=False, wide=True)
    silent = Matrix("m", "t", "net", "score", names, nets, values, "AUROC")
    assert "tickvals" not in plotly_figure(silent)["layout"]["yaxis"]
    assert "min-height" not in figure_card(silent, static=False, wide=True)


def test_numbers_are_finite_or_none() -> None:
    assert numbers(np.array([math.inf, -math.inf, math.nan, 1 / 3])) == [None, None, None, 0.333333]


def test_every_figure_of_a_run_is_valid_json(source: Source, control: Source) -> None:
    every = sections(source.found, source.logged, control=(control.found, control.logged))
    for one in (one for some in every.values() for one in some):
        figure = plotly_figure(one)
        json.dumps(figure, allow_nan=False)
        shown = [trace["name"] for trace in figure["data"] if trace.get("showlegend")]
        assert len(shown) == len(set(shown))


def test_points_coloured_by_step_share_one_scale(source: Source) -> None:
    headline = next(iter(sections(source.found, source.logged).values()))[0]
    figure = plotly_figure(headline)
    shaded = [trace for trace in figure["data"] if "coloraxis" in trace.get("marker", {})]
    assert len(shaded) == 3
    axis = figure["layout"]["coloraxis"]
    assert axis["cmin"] == pytest.approx(math.log10(155))
    assert axis["cmax"] == pytest.approx(math.log10(3000))
    assert axis["colorbar"]["ticktext"] == ["200", "500", "1000", "2000"]


def test_a_line_with_a_single_point_has_a_bar_and_a_dot() -> None:
    y = np.array([1.0, np.nan, 3.0, 4.0])
    line = Series("line", np.arange(4.0), y, "#0a141e", low=y - 0.5, high=y + 0.25, hover=("a", "b", "c", "d"))
    (single,) = (trace for trace in plotly_figure(panel(line))["data"] if "error_y" in trace)
    assert (single["x"], single["error_y"]["array"], single["error_y"]["arrayminus"]) == ([0], [0.25], [0.5])
    assert single["marker"]["size"][0] > 3
    assert single["text"] == ["a"]
    marked = Series("line", y[:1], y[:1], "#0a141e", low=y[:1] - 1, high=y[:1] + 1, marker="circle")
    (single,) = (trace for trace in plotly_figure(panel(marked))["data"] if "error_y" in trace)
    assert single["marker"]["size"] == [0]


def test_the_legend_keeps_clear_of_the_axis_title() -> None:
    layout = plotly_figure(panel(series()))["layout"]
    assert (layout["legend"]["yref"], layout["legend"]["y"], layout["legend"]["yanchor"]) == ("container", 0, "bottom")
    assert layout["legend"]["maxheight"] < 0.5
    assert layout["xaxis"]["automargin"]


def test_long_tick_labels_keep_clear_of_the_axis_title() -> None:
    assert plotly_figure(panel(series()))["layout"]["yaxis"]["automargin"]
