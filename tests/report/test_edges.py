"""Edges over training: the table, the pictures of every step, and the figure of the page."""

import pandas as pd
import pytest

from llc_lightning.analysis.edges import edge_lives, llc_transitions
from llc_lightning.analysis.table import full_llc
from llc_lightning.report.edges import drawing_of_rows, lives_table, named_edge
from llc_lightning.report.events import Logged
from llc_lightning.report.panel import Panel
from llc_lightning.report.sections import find, sections
from llc_lightning.runtime.errors import StoreError
from tests.analysis.test_edges import table

TOKEN, HEAD = (
    "net.hook_embed -> net.blocks.0.attn.hook_v[1]",
    "net.blocks.0.attn.hook_z[1] -> net.blocks.1.hook_resid_post",
)
EDGES = table({TOKEN: [0, 0, 0.5, 0.5, 0.5, 0.5], HEAD: [0, 0, 0, 0.3, -0.3, 0]})
SHARES = table({TOKEN: [0, 0, 0.25, 1, 1, 1]}, quantity="edge_share", method="acdc:resample")
COUNTS = table({"": [4.0] * 6}, quantity="circuit_resamples", kind="", method="acdc:resample")
LLC = table({"": [1, 1, 9, 9, 9, 9]}, quantity="llc", method="", kind="all", params_moved="all", n_beta=30.0, gamma=1.0)


def test_the_table_tells_what_enters_with_the_llc() -> None:
    found = lives_table(edge_lives(EDGES), llc_transitions(pd.concat([EDGES, LLC])))
    assert [(row[0], row[2] == "-", row[6]) for row in found.rows] == [
        ("token -> head 0.1 v", True, "yes"),
        ("head 0.1 -> output", False, "yes"),
    ]
    assert "The LLC at n_beta 30, gamma 1 has done half of its way at step" in found.note
    without = lives_table(edge_lives(EDGES), {(30.0, 1.0): None})
    assert without.rows[0][6] == "-"
    assert "no transition in rows that are ok" in without.note
    assert named_edge("a -> b") == "a -> b"


def test_every_step_has_a_picture_with_its_llc() -> None:
    drawn = drawing_of_rows(EDGES, full_llc(LLC), 0.1, pd.concat([SHARES, COUNTS]))
    assert [(frame.name, len(frame.lines)) for frame in drawn.frames] == [
        *(("step 0", 0), ("step 10", 0), ("step 20", 1)),
        *(("step 40", 2), ("step 80", 2), ("step 160", 1)),
    ]
    assert [one.share for one in drawn.frames[2].lines] == [0.25]
    assert drawn.frames[2].about == "1 of 2 edges. LLC at n_beta 30, gamma 1: 9.0000 ± 0.0010."
    sparse = drawing_of_rows(EDGES, full_llc(LLC.loc[LLC["step"] != 20]), 0.1)
    assert sparse.frames[2].about.endswith(" LLC at n_beta 30, gamma 1 at step 10: 1.0000 ± 0.0010.")
    assert 'max="5"' in drawn.page("over training")
    assert all(one.share is None for one in drawing_of_rows(EDGES, full_llc(LLC), 0.1).frames[3].lines)
    with pytest.raises(StoreError, match="give --least"):
        drawing_of_rows(EDGES, full_llc(LLC), 9.0)


def test_no_share_is_drawn_where_none_is_known() -> None:
    shares, counts = SHARES.copy(), COUNTS.copy()
    shares.loc[shares["step"] == 80, "value"] = float("nan")
    counts.loc[counts["step"] == 20, ["status", "value"]] = "nan-loss", float("nan")
    known = pd.concat([shares.loc[shares["step"] != 20], counts.loc[counts["step"] != 160]])
    drawn = drawing_of_rows(EDGES, full_llc(LLC), 0.1, known)
    assert [[one.share for one in frame.lines] for frame in drawn.frames[2:]] == [[None], [1, 0], [None, 0], [None]]


def test_the_llc_of_two_gammas_is_told_of_each() -> None:
    both = pd.concat([LLC, LLC.assign(gamma=9.0, value=2.0)])
    drawn = drawing_of_rows(EDGES, full_llc(both), 0.1)
    told = "LLC at n_beta 30, gamma 1: 9.0000 ± 0.0010; LLC at n_beta 30, gamma 9: 2.0000 ± 0.0010."
    assert drawn.frames[2].about.endswith(told)


def test_the_page_has_a_figure_of_each_way_to_measure_them() -> None:
    rows = pd.concat([EDGES, SHARES, LLC], ignore_index=True)
    shown = sections(find(rows, run="net/version_0"), Logged({}, 0.0))
    panels = [panel for some in shown.values() for panel in some if panel.name.startswith("edges-")]
    assert [panel.name for panel in panels] == ["edges-edge_effect-exact_resample", "edges-edge_share-acdc_resample"]
    first = panels[0]
    assert isinstance(first, Panel)
    assert [one.name for one in first.series] == ["token -> head 0.1 v", "head 0.1 -> output"]
    assert first.title.startswith("2 edges enter, from step ")
    assert [span.label for span in first.spans] == ["LLC at n_beta 30"]


def test_what_was_measured_on_two_losses_has_two_figures_and_of_two_settings_none() -> None:
    on_kl = EDGES.assign(loss="metric:kl")
    some = [EDGES, on_kl, SHARES, SHARES.assign(settings="other")]
    shown = sections(find(pd.concat(some, ignore_index=True), run="net/version_0"), Logged({}, 0.0))
    panels = [one for several in shown.values() for one in several if one.name.startswith("edges-")]
    first = "edges-edge_effect-exact_resample"
    assert [panel.name for panel in panels] == [f"{first}_on_metric_kl", first]
    assert [isinstance(one, Panel) and " on metric:kl;" in one.caption for one in panels] == [True, False]
