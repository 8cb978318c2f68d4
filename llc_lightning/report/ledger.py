"""The tables of how it was found: health, cost, settings, quantities."""

from typing import Any

import numpy as np

from llc_lightning.analysis import table
from llc_lightning.analysis.timing import Timing
from llc_lightning.analysis.trajectories import trajectories
from llc_lightning.report.cells import NONE, Table, number
from llc_lightning.report.panels.curves import median_at_the_end
from llc_lightning.report.panels.other import groups
from llc_lightning.report.sections import Findings, other_quantities
from llc_lightning.results.quantities import QUANTITIES, unit_of


def health_table(found: Findings) -> Table:
    """Returns how many rows are ok, flagged and failed."""
    rows = [
        (
            *(one.quantity, one.kind or NONE, str(one.ok), str(one.flagged), str(one.failed)),
            "not at the last step" if one.ok_from is None else str(one.ok_from),
        )
        for one in found.health.counts
    ]
    total = found.health
    every = ("all", "", str(total.ok), str(total.flagged), str(total.failed), "")
    return Table(
        "health",
        "How trustworthy the rows are",
        ("quantity", "kind", "ok", "flagged", "failed", "all ok from step"),
        (*rows, every),
        "Flagged values are kept, drawn hollow and left out of every number; failed ones have no value.",
    )


def trouble_table(found: Findings) -> Table | None:
    """Returns the reasons against rows, each with what to change."""
    rows = tuple(
        (one.reason, str(one.rows), f"{one.first_step} to {one.last_step}", ", ".join(one.quantities), one.sentence)
        for one in found.health.troubles
    )
    columns = ("reason", "rows", "steps", "quantities", "what it means and what to change")
    return Table("troubles", "Why rows are not ok", columns, rows) if rows else None


def timing_table(time: Timing) -> Table | None:
    """Returns what measuring cost."""
    rows = tuple(
        (one.name, str(one.parts), f"{one.seconds:.1f}", f"{one.seconds / one.parts:.2f}") for one in time.costs
    )
    columns = ("measured by", "times", "seconds", "seconds each time")
    return Table("time", "What measuring cost", columns, rows, time.sentence()) if rows else None


def settings_table(found: Findings) -> Table | None:
    """Returns how the learning coefficients were sampled, and how well the ok chains mixed."""
    llc = table.first_replicate(table.select(found.rows, quantity="llc"))
    groups = sorted(
        set(
            zip(
                table.texts(llc, "kind"),
                table.numbers(llc, "n_beta").tolist(),
                table.numbers(llc, "gamma").tolist(),
                strict=True,
            )
        )
    )
    rows: list[tuple[str, ...]] = []
    for kind, n_beta, gamma in groups:
        part = table.select(llc, kind=kind, n_beta=n_beta, gamma=gamma)
        good = part.loc[table.ok(part)]
        told = map(table.details(part.iloc[:1])[0].get, ("sampler", "preconditioner"))
        how = ", ".join(str(name) for name in told if name not in (None, "none"))
        rows.append(
            (
                *(kind, f"{n_beta:g}", f"{gamma:g}", how or NONE),
                *(_span(table.numbers(part, column)) for column in ("chains", "draws", "n_examples", "step_size")),
                number(float(good["rhat"].max()), 3),
                number(float(good["ess"].min()), 0),
            )
        )
    columns = (
        "LLC of",
        "n_beta",
        "gamma",
        "sampler",
        "chains",
        "draws",
        "examples",
        "step size",
        "worst R-hat",
        "least ESS",
    )
    note = "R-hat and ESS over ok rows. An LLC means nothing without its n_beta and gamma."
    return Table("settings", "How the learning coefficients were sampled", columns, tuple(rows), note) if rows else None


def other_table(found: Findings) -> Table | None:
    """Returns where the quantities that no panel is about end: of several components the median."""
    names = other_quantities(table.distinct(found.rows, "quantity"))
    if not names:
        return None
    curves = trajectories(found.rows, quantities=names, losses=["*"], level=found.level)
    rows = tuple(
        (name, what, median_at_the_end(part, 4) or NONE, unit_of(name), str(table.steps(part)[-1]))
        for name in names
        for what, part in groups(table.select(curves, quantity=name))
    )
    return Table(
        "other",
        "Other quantities",
        ("quantity", "of", "at the end", "unit", "last step"),
        rows,
        "Of several components the median; trajectories has all values with their errors.",
    )


def quantity_table(found: Findings) -> Table:
    """Returns unit and definition of every quantity in the rows."""
    present = sorted(table.distinct(found.rows, "quantity"))
    known = [QUANTITIES.get(name).item for name in present if name in QUANTITIES]
    rows = tuple((one.name, one.unit, one.definition) for one in known)
    return Table("quantities", "What the quantities are", ("quantity", "unit", "definition"), rows)


def _span(values: "np.ndarray[Any, np.dtype[np.float64]]") -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return NONE
    low, high = (f"{end:.3g}" if abs(end) < 1e3 else f"{end:.0f}" for end in (known.min(), known.max()))
    return low if low == high else f"{low} to {high}"
