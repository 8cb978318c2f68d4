"""The figures of how methods compare."""

import numpy as np

from llc_lightning.report.figures import draw
from llc_lightning.report.interactive import plotly_figure
from llc_lightning.report.panels.methods import agreement_of_methods, component_by_method
from llc_lightning.report.sections import Findings, find
from tests.analysis.synthetic import METHODS, STEPS, frame


def test_every_component_under_every_method(found: Findings) -> None:
    panel = component_by_method(found)
    assert panel is not None
    assert f"step {STEPS[-1]}" in panel.title
    assert set(panel.columns) == set(METHODS)
    assert panel.values.shape == (12, len(METHODS))
    # The synthetic effects of two methods differ by their factors alone.
    zero, mean = (panel.values[:, panel.columns.index(name)] for name in ("zero", "mean"))
    both = np.isfinite(zero) & np.isfinite(mean) & (zero > 0)
    assert both.sum() > 6
    assert np.median(mean[both] / zero[both]) < 1


def test_methods_agree_alike_both_ways(found: Findings) -> None:
    panel = agreement_of_methods(found)
    assert panel is not None
    assert panel.rows == panel.columns
    assert np.isnan(np.diag(panel.values)).all(), "that a method agrees with itself takes no colour"
    others = panel.values[~np.eye(len(METHODS), dtype=bool)]
    assert 0 <= panel.lowest <= others.min() < panel.lowest + 0.1 or panel.lowest == 0
    np.testing.assert_array_equal(panel.values, panel.values.T)
    assert "Methods disagree about" in panel.caption or "The methods find the same neurons clear of 0" in panel.caption


def test_one_method_alone_has_no_figure(found: Findings) -> None:
    rows = found.rows[(found.rows["quantity"] != "ablation_effect") | (found.rows["method"] == "zero")]
    alone = find(rows, run="cis/version_0")
    assert component_by_method(alone) is None
    assert agreement_of_methods(alone) is None


def test_cells_of_correlations_say_their_value(found: Findings) -> None:
    panel = agreement_of_methods(found)
    assert panel is not None
    assert [row[i] for i, row in enumerate(panel.texts)] == [""] * len(METHODS)
    assert all(row[i].endswith("the same method") for i, row in enumerate(panel.hover))
    assert all("over 12 neurons" in row[j] for i, row in enumerate(panel.hover) for j in range(len(row)) if i != j)
    shown = plotly_figure(panel)["data"][0]
    assert shown["text"] == [list(row) for row in panel.texts]
    drawn = {text.get_text() for text in draw(panel).axes[0].texts}
    assert drawn == {text for row in panel.texts for text in row}


def test_units_of_two_hook_points_are_told_apart_and_left_out_methods_are_said() -> None:
    blocks = [
        {"quantity": "ablation_effect", "component": f"blocks.{block}.hook_z[{unit}]", "kind": "head", "method": method}
        | {"value": value + unit + block, "stderr": 0.1, "settings": settings, "n_examples": n}
        for block in range(2)
        for unit in range(2)
        for method, value, settings, n in (
            ("zero", 1.0, "a", 64),
            ("mean", 9.0, "a", 64),
            ("optimal", 1.0, "a", 16),
            ("noise", 1.0, "b", 32),
        )
    ]
    two = find(frame(blocks), run="ioi/version_0")
    names = ("blocks.0[0]", "blocks.0[1]", "blocks.1[0]", "blocks.1[1]")
    cells, agreement = component_by_method(two), agreement_of_methods(two)
    assert cells is not None
    assert agreement is not None
    assert cells.rows == names
    assert "optimal on 16 of the 64 examples" in cells.caption
    assert "other examples or settings: noise." in agreement.caption
    halves = frame([{**one, "value": -one["value"] if one["method"] == "mean" else one["value"]} for one in blocks])
    disagreeing = agreement_of_methods(find(halves, run="ioi/version_0"))
    assert disagreeing is not None
    assert ": blocks.0[0], " in disagreeing.caption
