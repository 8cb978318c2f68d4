"""Whether one of them sees a component form first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llc_lightning.analysis.across import Measurements
from llc_lightning.analysis.phases import Dated, Led
from llc_lightning.report.answers.base import Answer
from llc_lightning.report.cells import NONE, Table

_MOST = 6
"""Components of a run that the table lists."""


def leading(
    found: Sequence[tuple[Measurements, Led]], whole: Sequence[tuple[Measurements, Dated]], level: float
) -> Answer:
    """Does one of them see a component form before the other?"""
    rows = tuple(
        (run.net, run.name, one.component, str(one.llc), str(one.effect), str(one.expected or NONE),
         f"{one.ratio:.2f} [{one.low:.2f}, {one.high:.2f}]" if one.expected else NONE, str(one.llc.inside), one.verdict)
        for run, one in _farthest(found)
    )  # fmt: skip
    head = (
        *("net", "run", "component", "half of wrLLC", "half of the effect", "half of what the effect lets expect"),
        *("ratio of steps", "snapshots inside", "verdict"),
    )
    nets = list(dict.fromkeys(run.net for run, _ in found))
    said = [_sentence(net, [one for run, one in found if run.net == net]) for net in nets]
    lesson = (
        "A wrLLC that rises earlier in steps than the effect is no lead: a saturating curve of the effect does so too."
    )
    return Answer(
        question="Does one of them see a component form before the other?",
        verdict=_verdict([one for _, one in found]) + _pooled(found, whole),
        details=(*said, lesson) if rows else (),
        nets=tuple(nets),
        change="Snapshots closer together where the loss falls: nothing finer than these is ever resolved.",
        tables=(*_of_nets(whole, level), *_of_components(head, rows, level)),
    )


def _of_components(head: tuple[str, ...], rows: tuple[tuple[str, ...], ...], level: float) -> list[Table]:
    note = (
        f"Half: of the way from the first value to the one farthest from it, of ok values. Of each run the {_MOST} "
        f"components whose ratio is farthest from 1. {NONE}: the scatter of all points around the curve hides what the "
        f"effect lets expect. {_brackets(level)} That of the ratio joins opposite ends of two of them, and so holds "
        f"more often than {100 * level:g} %."
    )
    return [Table("led", "When half of the way of a component is done", head, rows, note)] if rows else []


def _brackets(level: float) -> str:
    return (
        f"In [ ]: intervals of {100 * level:g} % in one run, by the errors of its values, widened to the snapshots on "
        "both sides."
    )


def _of_nets(whole: Sequence[tuple[Measurements, Dated]], level: float) -> list[Table]:
    moving = {run.name for run, one in whole if one.phase}
    rows = tuple(
        (run.net, run.name, one.view, str(one.phase or NONE), str(one.phase.farthest) if one.phase else NONE,
         f"{one.phase.inside if one.phase else 0} of {one.snapshots}", f"{one.flagged} of {one.values}",
         str(one.left_out))
        for run, one in whole
        if run.name in moving
    )  # fmt: skip
    head = (
        *("net", "run", "view", "half of the way", "farthest at", "snapshots inside", "values not ok"),
        "components left out",
    )
    note = (
        "By each view alone. Half of the way: between the first value and the one farthest from it, even if that one "
        "is flagged. Values that are not ok count here, since no estimate around weights that still fall is ok: where "
        "most are not, the date is that of a flagged trajectory. Left out: components without a value at some "
        f"snapshot. {NONE}: the view hardly moves, or has no error. {_brackets(level)}"
    )
    return [Table("dated", "When the net changes", head, rows, note)] if rows else []


def _verdict(found: Sequence[Led]) -> str:
    if not found:
        return "Not measured: no component could be dated by both."
    leads, lags = _counts(found)
    if not leads + lags:
        return f"No lead is resolved in any of {len(found)} components."
    return (
        f"Of {len(found)} components the LLC leads in {leads} and lags in {lags}; the others are not resolved. "
        "Intervals hold for one component, not for all at once."
    )


def _pooled(found: Sequence[tuple[Measurements, Led]], whole: Sequence[tuple[Measurements, Dated]]) -> str:
    """Returns in how many of a net's runs most components have their ratio on one side of 1; '' where few agree.

    A run that has no ratio counts as one that does not agree.
    """
    told: list[str] = []
    for net in dict.fromkeys(run.net for run, _ in found):
        ratios = {run.name: np.zeros(0) for run, _ in [*found, *whole] if run.net == net}
        for run, one in found:
            if run.net == net and np.isfinite(one.ratio):
                ratios[run.name] = np.append(ratios[run.name], one.ratio)
        for side, sign in (("above", 1), ("below", -1)):
            beyond = {name: int((sign * (each - 1) > 0).sum()) for name, each in ratios.items()}
            agree = sum(2 * beyond[name] > len(each) for name, each in ratios.items())
            if len(ratios) > 1 and 2 * agree > len(ratios):
                pooled = f"{sum(beyond.values())} of {sum(map(len, ratios.values()))} pooled"
                told.append(
                    f"{side} 1 for most components that have one in {agree} of {len(ratios)} runs of {net} ({pooled})"
                )
    if not told:
        return ""
    return (
        f" The ratio of steps, below 1 where the LLC is first, is {'; '.join(told)}: components of a run share its "
        "training, snapshots and curve, and a misfit of the curve can make that too."
    )


def _counts(found: Sequence[Led]) -> tuple[int, int]:
    leads, lags = (sum(one.verdict == verdict for one in found) for verdict in ("the LLC leads", "the LLC lags"))
    return leads, lags


def _farthest(found: Sequence[tuple[Measurements, Led]]) -> list[tuple[Measurements, Led]]:
    """Returns of every run the components whose ratio of steps is farthest from 1."""
    ordered = sorted(found, key=lambda one: -abs(np.nan_to_num(np.log(one[1].ratio))))
    kept = [[one for one in ordered if one[0] is run][:_MOST] for run in {id(run): run for run, _ in found}.values()]
    return [one for each in kept for one in each]


def _sentence(net: str, found: Sequence[Led]) -> str:
    leads, lags = _counts(found)
    unknown = sum(one.expected is None for one in found)
    hidden = f", in {unknown} since scatter hides what the effect lets expect" if unknown else ""
    return (
        f"{net}: of {len(found)} components that could be dated the LLC leads in {leads}, lags in {lags}, and is not "
        f"resolved from the effect in the others{hidden}."
    )
