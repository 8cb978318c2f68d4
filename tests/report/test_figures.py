"""Panels drawn with matplotlib."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection

from llc_lightning.report.figures import draw, runs, save, svg
from llc_lightning.report.panel import Axis, Matrix, Panel, Rule, Series
from llc_lightning.report.sections import sections
from llc_lightning.report.source import Source


def small_panel(name: str = "points") -> Panel:
    ok = np.array([True, True, False, True])
    y = np.array([1.0, 2.0, 90.0, np.nan])
    one = Series(name, np.arange(4.0), y, "#123456", ok=ok, marker="circle", low=y - 1, high=y + 1)
    return Panel("small", "A <title> for $5", Axis("x"), Axis("y (nats)"), (one,), rules=(Rule(1.5, "rule"),))


def test_points_that_are_not_ok_are_drawn_hollow_and_out_of_the_limits() -> None:
    (axes,) = draw(small_panel()).axes
    filled, hollow = (one for one in axes.collections if isinstance(one, PathCollection))
    assert np.asarray(filled.get_offsets()).tolist() == [[0, 1], [1, 2]]
    assert np.asarray(hollow.get_offsets()).tolist() == [[2, 90]]
    assert np.asarray(hollow.get_facecolors()).tolist() == [[1, 1, 1, 1]]
    assert axes.get_ylim()[1] < 4
    assert axes.get_ylabel() == "y (nats)"


def test_runs_of_a_mask() -> None:
    assert runs(np.zeros(3, dtype=bool)) == []
    assert runs(np.ones(2, dtype=bool)) == [slice(0, 2)]


def test_dollars_are_no_mathematics(tmp_path: Path) -> None:
    assert save(draw(small_panel("cost $x^$")), tmp_path / "a.png").stat().st_size > 5000


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_panel_gives_the_same_file(tmp_path: Path, suffix: str) -> None:
    one, two = (save(draw(small_panel()), tmp_path / f"{name}{suffix}") for name in "ab")
    assert len(one.read_bytes()) == len(two.read_bytes()) > 1000


def test_svg_is_an_element_for_a_page() -> None:
    text = svg(draw(small_panel()))
    assert text.startswith("<svg")
    assert "A &lt;title&gt;" in text or "<title>" not in text


def test_every_figure_of_a_run_can_be_drawn(source: Source, control: Source) -> None:
    every = sections(source.found, source.logged, control=(control.found, control.logged))
    for panel in (panel for some in every.values() for panel in some):
        figure = draw(panel)
        figure.canvas.draw()
        assert figure.axes[0].get_title(loc="left") == panel.title
        if isinstance(panel, Matrix) or panel.scale:
            assert len(figure.axes) == 2, "a scale beside the figure"


def test_empty_cells_of_a_matrix_are_allowed() -> None:
    values = np.array([[np.nan, 1.0], [np.nan, np.nan]])
    draw(Matrix("m", "t", "x", "y", ("a", "b"), ("c", "d"), values, "unit")).canvas.draw()
    draw(Matrix("m", "t", "x", "y", ("a", "b"), ("c", "d"), values * np.nan, "unit")).canvas.draw()


def test_each_name_of_a_table_of_cells_has_room() -> None:
    names, texts = tuple(f"score {at}" for at in range(40)), (("1",),) * 40
    figure = draw(Matrix("m", "t", "net", "score", names, ("net",), np.ones((40, 1)), "AUROC", texts))
    figure.draw_without_rendering()
    labels = figure.axes[0].get_yticklabels()
    assert [one.get_text() for one in labels] == list(names)
    boxes = [one.get_window_extent() for one in labels]
    assert all(above.y0 >= below.y1 for above, below in itertools.pairwise(boxes))


def test_a_line_with_a_single_point_has_a_bar_and_a_dot() -> None:
    y = np.array([1.0, np.nan, 3.0, 4.0])
    line = Series("line", np.arange(4.0), y, "#123456", low=y - 0.5, high=y + 0.25)
    (axes,) = draw(Panel("small", "title", Axis("x"), Axis("y"), (line,))).axes
    (bars,) = (one for one in axes.collections if isinstance(one, LineCollection))
    np.testing.assert_array_equal(bars.get_segments(), [[[0, 0.5], [0, 1.25]]])
    (dots,) = (one for one in axes.collections if isinstance(one, PathCollection))
    assert np.asarray(dots.get_offsets()).tolist() == [[0, 1]]


@pytest.mark.parametrize("entries", [5, 8, 20])
def test_a_long_legend_stands_below_the_axes(entries: int) -> None:
    x = np.arange(3.0)
    many = tuple(Series(f"blocks.{i}.attn.hook_z[0], zero", x, x + i, "#123456") for i in range(entries))
    figure = draw(Panel("many", "title", Axis("x"), Axis("y"), many))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert (axes.get_legend() is None) == (entries > 5)
    if entries > 5:
        (legend,) = figure.legends
        box, title = legend.get_window_extent(), axes.xaxis.label.get_window_extent()
        assert box.y1 <= title.y0
        assert box.y0 >= 0
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert axes.get_window_extent().height > 0.6 * 4.3 * figure.dpi
