"""All questions, in the order of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llc_lightning.analysis import across, table
from llc_lightning.analysis.across import Measurements
from llc_lightning.report.answers.base import Answer
from llc_lightning.report.answers.changes import changes
from llc_lightning.report.answers.finding import finding
from llc_lightning.report.answers.leading import leading
from llc_lightning.report.answers.ordering import ordering
from llc_lightning.report.answers.sharing import sharing


def answers(runs: Sequence[Measurements], *, level: float = table.LEVEL) -> list[Answer]:
    """Returns the answers to the questions that these runs can answer, and says of the others what they lack.

    Args:
        runs: The runs, of one net or of several.
        level: Probability of the intervals.

    Raises:
        DataError: If a run measured something under several settings, so that it is not known which is meant.
    """
    nets = list(dict.fromkeys(run.net for run in runs))
    found = [
        changes(across.shifts_over(runs), level),
        finding(across.found_over(runs, level), level),
        sharing(across.collapses_over(runs, level), level),
        ordering(across.associations_over(runs, level), level),
        leading(across.led_over(runs, level), across.dated_over(runs, level), level),
    ]
    return [_with_absent(one, nets) for one in found]


def _with_absent(one: Answer, nets: Sequence[str]) -> Answer:
    """Adds of which nets nothing is said."""
    absent = [net for net in nets if net not in one.nets]
    if not one.nets or not absent:
        return one
    return replace(one, details=(*one.details, f"Not measured, or too little of it is ok: {', '.join(absent)}."))
