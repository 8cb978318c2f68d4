"""The figures of a run in the order of the page, grouped under headings; a file in ``panels/`` is enough for a new one.

A file registers in ``PANELS`` a function from a view of the run to figures. They then stand in their section of the
page and among the images of TensorBoard, and where they take ablation effects alone in ``analyze.py ablate`` as well.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from llc_lightning.analysis import table
from llc_lightning.report.events import Logged
from llc_lightning.report.findings import Findings
from llc_lightning.report.panel import Matrix, Panel
from llc_lightning.runtime.kinds import at_level
from llc_lightning.runtime.registry import Registry


@dataclass(frozen=True)
class View:
    """What figures may show."""

    found: Findings
    logged: Logged
    """The curves of the run as they were logged."""
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


PANELS: Registry[Draws, PanelFacts] = Registry("panel", PanelFacts, room="llc_lightning.report.panels")
"""All functions of figures."""


def sections(
    found: Findings, logged: Logged, *, control: tuple[Findings, Logged] | None = None
) -> dict[str, list[Panel | Matrix]]:
    """Returns the figures that the rows allow, by heading; headings without one are left out.

    Args:
        found: What was found about the run.
        logged: Its curves as they were logged.
        control: The same two of a run to compare with.
    """
    view = View(found, logged, View(*control) if control else None)
    shown: dict[str, list[Panel | Matrix]] = {}
    for entry in sorted((entry for _, entry in PANELS.items()), key=lambda entry: entry.facts.place):
        shown.setdefault(entry.facts.section, []).extend(one for one in entry.item(view) if one is not None)
    return {heading: some for heading, some in shown.items() if some}


def other_quantities(quantities: Iterable[str]) -> list[str]:
    """Returns those of some quantities that no panel is about, in natural order."""
    return table.natural(set(quantities) - {name for _, entry in PANELS.items() for name in entry.facts.quantities})
