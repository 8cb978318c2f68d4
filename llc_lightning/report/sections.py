"""The figures of a run in the order of the page, grouped under headings; a file in ``panels/`` is enough for a new one.

A file registers in ``PANELS`` a function from a view of the run to figures. They then stand in their section of the
page and among the images of TensorBoard, and where they take ablation effects alone in ``analyze.py ablate`` as well.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd

from llc_lightning.analysis import revisions, table
from llc_lightning.analysis.agreement import Agreement, AgreementAt, agreement, agreements
from llc_lightning.analysis.cis import (
    EffectMatrix,
    Verdict,
    effect_matrix,
    superposition_over_training,
    superposition_verdict,
)
from llc_lightning.analysis.curve import Curve, fit_curve
from llc_lightning.analysis.health import Health, health
from llc_lightning.analysis.selectivity import selectivity, task_pair
from llc_lightning.analysis.trajectories import trajectories
from llc_lightning.report.events import Logged
from llc_lightning.report.panel import Matrix, Panel
from llc_lightning.runtime.kinds import at_level
from llc_lightning.runtime.registry import Registry

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Findings:
    """What the analysis found; None or empty where the rows do not say."""

    run: str
    level: float
    """Probability of the intervals."""
    rows: pd.DataFrame = field(repr=False)
    """Of the newest revision of each measurement."""
    older: tuple[revisions.Older, ...]
    """What is left out, since there are newer rows of the same."""
    trajectories: pd.DataFrame = field(repr=False)
    """Of the training loss; see :func:`llc_lightning.analysis.trajectories.trajectories`."""
    losses: pd.DataFrame = field(repr=False)
    """Trajectories of every loss of the whole net, also of tasks and in other measures."""
    units: str | None
    """The kind of the smallest components."""
    health: Health
    curve: Curve | None
    agreement: Agreement | None
    """At the last step with ok rows."""
    agreements: tuple[AgreementAt, ...]
    """At every step."""
    verdict: Verdict | None
    over_training: pd.DataFrame = field(repr=False)
    """See :func:`llc_lightning.analysis.cis.superposition_over_training`."""
    matrix: EffectMatrix | None = field(repr=False)
    task_pair: tuple[str, str] | None
    """The two tasks of the net, where it has two."""
    selectivity: pd.DataFrame = field(repr=False)
    """See :func:`llc_lightning.analysis.selectivity.selectivity`."""

    @property
    def loss_unit(self) -> str:
        """Returns what the training loss is counted in; '' where no row says so."""
        return table.loss_unit(self.rows)

    @property
    def steps(self) -> list[int]:
        """Returns the measured steps."""
        return table.steps(self.rows)


def find(rows: pd.DataFrame, *, run: str, level: float = table.LEVEL) -> Findings:
    """Returns what the rows of a run say; a half-finished run gives what is there.

    Args:
        rows: The measurement table.
        run: Name of the run, for titles.
        level: Probability of the intervals.
    """
    left_out, rows = revisions.older(rows), revisions.newest(rows)
    return Findings(
        run=run,
        level=level,
        rows=rows,
        older=left_out,
        trajectories=trajectories(rows, level=level),
        losses=trajectories(table.select(rows, quantity="loss", component=""), losses=["*"], level=level),
        units=table.unit_kind(rows),
        health=health(rows),
        curve=fit_curve(rows),
        agreement=agreement(rows, level=level),
        agreements=tuple(agreements(rows, level=level)),
        verdict=superposition_verdict(rows),
        over_training=superposition_over_training(rows),
        matrix=effect_matrix(rows),
        task_pair=task_pair(rows),
        selectivity=selectivity(rows),
    )


@dataclass(frozen=True)
class View:
    """What figures may show."""

    found: Findings
    logged: Logged
    """The curves of the run as they were logged."""
    posterior: "xr.Dataset | None" = field(default=None, repr=False)
    """What draws know of single examples, at the last step where that was measured."""
    control: "View | None" = None
    """The same of a run to compare with."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of component that have figures of their own: the smallest units, and layers."""
        return (self.found.units or "", *at_level("layers"))


Draws: TypeAlias = Callable[[View], Iterable[Panel | Matrix | None]]
"""Returns figures, with None for each that the rows do not allow."""


@dataclass(frozen=True)
class PanelFacts:
    """What is known about a registered function of figures."""

    section: str
    """The heading that they stand under."""
    place: int
    """Where they stand on the page; a section stands where the first of its figures does."""
    quantities: tuple[str, ...]
    """Quantities that they are about. What is about none of them is drawn by the panel of other quantities."""
    needs: str = ""
    """For the one figure that ``analyze.py ablate --figures`` draws under the registered name: which effects it
    takes. '' for what takes more than effects."""


PANELS: Registry[Draws, PanelFacts] = Registry(
    "panel", PanelFacts, rooms=("llc_lightning.report.panels",), apart=("place",)
)
"""All functions of figures."""


def sections(
    found: Findings,
    logged: Logged,
    *,
    posterior: "xr.Dataset | None" = None,
    control: tuple[Findings, Logged] | None = None,
) -> dict[str, list[Panel | Matrix]]:
    """Returns the figures that the rows allow, by heading; headings without one are left out.

    Args:
        found: What was found about the run.
        logged: Its curves as they were logged.
        posterior: What draws know of single examples, at the last step where that was measured.
        control: The same two of a run to compare with.
    """
    view = View(found, logged, posterior, View(*control) if control else None)
    shown: dict[str, list[Panel | Matrix]] = {}
    for entry in sorted((entry for _, entry in PANELS.items()), key=lambda entry: entry.facts.place):
        shown.setdefault(entry.facts.section, []).extend(one for one in entry.item(view) if one is not None)
    return {heading: some for heading, some in shown.items() if some}


def other_quantities(quantities: Iterable[str]) -> list[str]:
    """Returns those of some quantities that no panel is about, in natural order."""
    return table.natural(set(quantities) - {name for _, entry in PANELS.items() for name in entry.facts.quantities})
