"""How ablations change the LLC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from llc_lightning.analysis import table
from llc_lightning.analysis.across import ByRun, Over
from llc_lightning.analysis.shifts import Shift
from llc_lightning.report.answers.base import Answer, between, by_method
from llc_lightning.report.cells import Table
from llc_lightning.report.panel import Rule
from llc_lightning.runtime.kinds import called


def changes(found: Sequence[ByRun[Shift]], level: float) -> Answer:
    """How do ablations change the LLC?"""
    rows: list[tuple[str, ...]] = []
    said: list[_Said] = []
    for one in found:
        kind, method, rung = one.key
        shift = one.over(lambda it: it.shift, level, chains=_chains)
        rows.append(
            (
                *(one.net, kind, method, rung),
                *(str(one.over(number, level, chains=_chains)) for number in _OF_SHIFT),
                str(one.over(lambda it: it.spread, level)),
                *_counts(one.found),
                f"{shift.runs} of {len(one.found)}",
            )
        )
        if np.isfinite(shift.mean):
            said.append((one.net, kind, method, shift, one.over(lambda it: it.before)))
    head = (
        *("net", "kind", "method", "n_beta, gamma", "LLC before", "LLC after", "change (A3 - full)"),
        *(
            "at the trained weights (A1)",
            "n_beta x R",
            "closure",
            "SD over components",
            "ok",
            "of these closed",
            "runs with ok ones",
        ),
    )
    note = (
        "Before: the LLC of the whole model, re-optimised; after: that of the ablated model at its own minimum; "
        "change: by the same random numbers. A1: around the trained weights, which are no minimum of the ablated loss; "
        "R is what the other weights make good near them. Closure: A1 - (after - n_beta R), 0 where the chains around "
        "the trained weights and those around the new minimum see one basin. Means over components, then over runs, "
        "with intervals."
    )
    return Answer(
        question="How do ablations change the LLC?",
        verdict=_verdict(said, measured=bool(rows)),
        details=tuple(_change_sentences(said)),
        nets=tuple(dict.fromkeys(net for net, *_ in said)),
        change="Rows that are not ok are left out: longer chains or another gamma that make them ok may move a mean. "
        "A change belongs to its (n_beta, gamma).",
        tables=(Table("changes", "The LLC before and after", head, tuple(rows), note),) if rows else (),
        panels=by_method(
            "change-of-llc",
            "Change of the LLC when one component is ablated, by net and method",
            "LLC after - before",
            Rule(0.0, "no change"),
            [(net, method, shift) for net, _, method, shift, _ in said],
        ),
    )


_Said: TypeAlias = tuple[str, str, str, Over, Over]
"""Net, kind, method, the change and the LLC before."""
_OF_SHIFT: tuple[Callable[[Shift], table.Measured], ...] = (
    lambda it: it.before,
    lambda it: it.after,
    lambda it: it.shift,
    lambda it: it.unrecovered,
    lambda it: it.recovered,
    lambda it: it.closure,
)


def _chains(one: Shift) -> int:
    return one.chains


def _counts(found: Sequence[Shift]) -> tuple[str, str]:
    ok, asked, closed = (sum(getattr(one, name) for one in found) for name in ("ok", "components", "closed"))
    return f"{ok} of {asked}", str(closed)


def _verdict(said: Sequence[_Said], *, measured: bool) -> str:
    if not said:
        return "Measured, but no change is ok." if measured else "Not measured: no run has the LLC under ablation."
    lower, higher = (sum(clear for clear in ends) for ends in zip(*(_clear(one[3]) for one in said), strict=True))
    shares = [100 * shift.mean / before.mean for *_, shift, before in said if before.mean > 0]
    of = f", by {between(shares, '+.0f')} % of what it was" if shares else ""
    span, nets = between([one[3].mean for one in said], "+.3g"), ", ".join(dict.fromkeys(net for net, *_ in said))
    return (
        f"In {nets}, without one component the LLC of the re-optimised rest changes by {span} on average{of}: of "
        f"{len(said)} nets and methods it is clearly lower in {lower} and clearly higher in {higher}."
    )


def _clear(shift: Over) -> tuple[bool, bool]:
    return bool(shift.high < 0), bool(shift.low > 0)


def _change_sentences(said: Sequence[_Said]) -> list[str]:
    told: list[str] = []
    for net, kind in dict.fromkeys((net, kind) for net, kind, *_ in said):
        here = [one for one in said if one[:2] == (net, kind)]
        means = [shift.mean for *_, shift, _ in here]
        clear = [method for _, _, method, shift, _ in here if any(_clear(shift))]
        before = here[0][4]
        doubt = "clear of 0 by every method" if len(clear) == len(here) else (
            f"clear of 0 by {', '.join(clear)} alone" if clear else "clear of 0 by no method"
        )  # fmt: skip
        was = f", {before.mean:.3g} before," if np.isfinite(before.mean) else ""
        told.append(
            f"{net}: without one {called(kind)} the LLC of the re-optimised rest{was} changes by "
            f"{between(means, '+.3g')} on average, {doubt}."
        )
    return told
