"""A run with rows of two revisions is reported as if the newer ones stood alone, and says what it leaves out."""

import pandas as pd
import pytest

from llc_lightning.analysis.trajectories import trajectories
from llc_lightning.report.events import Logged
from llc_lightning.report.interactive import plotly_figure
from llc_lightning.report.panels.stages import sampled
from llc_lightning.report.sections import Findings, find, sections
from llc_lightning.report.sentences import headlines
from llc_lightning.report.tables import (
    agreement_table,
    health_table,
    overview_table,
    quantity_table,
    residual_table,
    settings_table,
    trouble_table,
    verdict_table,
)
from tests.analysis.synthetic import SyntheticRun

SAID = "Kept beside newer ones, and left out of every number and figure: "


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The newer rows, and both."""
    new, old = (
        SyntheticRun(units=6, circuits=6, steps=(0, 30, 300, 3000), seed=seed).table().assign(revision=revision)
        for seed, revision in ((1, 2), (0, 1))
    )
    return new, pd.concat([old.iloc[::2], new, old.iloc[1::2]], ignore_index=True)


@pytest.fixture(scope="module")
def findings(tables: tuple[pd.DataFrame, pd.DataFrame]) -> tuple[Findings, Findings]:
    """What is found about the newer rows, and about both."""
    return find(tables[0], run="r"), find(tables[1], run="r")


def test_every_figure_is_that_of_the_newer_rows(findings: tuple[Findings, Findings]) -> None:
    alone, both = (
        {panel.name: plotly_figure(panel) for some in sections(one, Logged({}, 0.0)).values() for panel in some}
        for one in findings
    )
    assert len(alone) > 12
    assert both == alone


def test_every_table_is_that_of_the_newer_rows(findings: tuple[Findings, Findings]) -> None:
    every = (health_table, trouble_table, settings_table, quantity_table, agreement_table, residual_table)
    every += (lambda one: verdict_table([one]),)
    alone, both = ([table(one) for table in every] for one in findings)
    assert None not in alone
    assert both == alone


def test_the_first_sentences_say_what_is_left_out(findings: tuple[Findings, Findings]) -> None:
    alone, both = (headlines(one) for one in findings)
    assert [said for said in both if not said.startswith(SAID)] == alone
    (said,) = [said for said in both if said.startswith(SAID)]
    assert "4 rows of circuits_solved at revision 1 of 2; 4 rows of circuits_solved (dedicated) at revision" in said
    assert sum(one.rows for one in findings[1].older) == len(findings[0].rows)


def test_steps_count_as_sampled_by_the_newer_rows(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    assert sampled(tables[1]) == sampled(tables[0])


def test_the_overview_tells_revisions_apart(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    alone, both = (overview_table(trajectories(table, quantities=["llc"], component="")) for table in tables)
    assert both.columns == (*alone.columns, "revision")
    assert [row[-1] for row in both.rows] == ["1", "2"]
    assert [row[:-1] for row in both.rows if row[-1] == "2"] == list(alone.rows)
