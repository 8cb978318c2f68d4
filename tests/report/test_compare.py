"""Runs side by side."""

import numpy as np

from llc_lightning.report.compare import differences, overlaid, settings_that_differ
from llc_lightning.report.source import Source


def test_only_settings_that_differ_are_shown(source: Source, control: Source) -> None:
    table = settings_that_differ([source, control])
    assert table is not None
    assert table.columns == ("setting", "cis/version_0", "cis_mse/version_0")
    assert table.rows == (("model.loss_power", "4", "2"),)
    assert settings_that_differ([source, source]) is None


def test_differences_have_errors_and_stay_within_a_unit(source: Source, control: Source) -> None:
    table = differences([source, control])
    assert table is not None
    rows = {row[:2]: row[2:] for row in table.rows}
    mine, other, gap = rows["loss", "error^4 / q"]
    assert (mine, other) == ("0.1421 ± 0.0014", "0.365 ± 0.004")
    assert gap == "0.223 ± 0.004"
    assert rows["loss", "error^2 / q"][:2] == ("0.756 ± 0.004", "0.5278 ± 0.0014")
    assert rows["circuits_solved", "circuits"][2] == "-4.0 ± 0.6"
    full = next(cells for name, cells in rows.items() if name[0].startswith("llc n_beta 10000, gamma 1000"))
    assert full[1:] == ("-", "-"), "the control has no learning coefficient"


def test_curves_lie_over_each_other_by_unit(source: Source, control: Source) -> None:
    panels = overlaid([source, control])
    losses = [panel for panel in panels if "-loss" in panel.name]
    assert sorted(panel.y.unit for panel in losses) == ["error^2 / q", "error^4 / q"]
    for panel in losses:
        assert [one.name for one in panel.series] == ["cis/version_0", "cis_mse/version_0"]
        assert all(np.isfinite(one.y).all() for one in panel.series)
