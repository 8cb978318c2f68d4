"""How ablations change the LLC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llc_lightning.analysis import table
from llc_lightning.analysis.across import ByRun, Over
from llc_lightning.analysis.shifts import Shift
from llc_lightning.report.answers.base import Answer, between, by_method
from llc_lightning.report.cells import NONE, Table
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
                ", ".join(f"{it.shift.value:+.3g}" if it.ok else NONE for it in one.found),
                str(one.over(lambda it: it.spread, level)),
                *_over_components(one.found),
                *_counts(one.found),
                f"{shift.runs} of {len(one.found)}",
            )
        )
        if np.isfinite(shift.mean):
            before = one.over(lambda it: it.before)
            said.append(_Said(one.net, kind, method, rung, shift, before, *_counted(one.found), tuple(one.found)))
    head = (
        *("net", "kind", "method", "n_beta, gamma", "LLC before", "LLC after", "change (A3 - full)"),
        *(
            "at the trained weights (A1)",
            "n_beta x R",
            "closure",
            "change in each run",
            "SD over components",
            "least and most",
            "clearly lower, higher",
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
        "with intervals. Least and most, clearly lower and higher: single components of all runs, by their own errors; "
        "these do not tell in which of several minima the re-optimised model ended, with which all are compared."
    )
    return Answer(
        question="How do ablations change the LLC?",
        verdict=_verdict(said, measured=bool(rows)),
        details=tuple(_change_sentences(said)),
        nets=tuple(dict.fromkeys(one.net for one in said)),
        change="Rows that are not ok are left out: longer chains or another gamma that make them ok may move a mean. "
        "A change belongs to its (n_beta, gamma).",
        tables=(Table("changes", "The LLC before and after", head, tuple(rows), note), *_singles(found))
        if rows
        else (),
        panels=by_method(
            "change-of-llc",
            "Change of the LLC when one component is ablated, by net and method",
            "LLC after - before",
            Rule(0.0, "no change"),
            [(_at_rung(one, said), one.method, one.shift) for one in said],
        ),
    )


def _singles(found: Sequence[ByRun[Shift]]) -> tuple[Table, ...]:
    """Returns the table of single components, those of each net and run that change it most; none without any."""
    by_run: dict[tuple[str, str, str], dict[str, dict[str, table.Measured]]] = {}
    for one in found:
        _, method, rung = one.key
        for number, shift in enumerate(one.found, start=1):
            here = by_run.setdefault((one.net, f"{number} of {len(one.found)}", rung), {})
            for component, value in shift.single.items():
                here.setdefault(component, {})[method] = value
    rows: list[tuple[str, ...]] = []
    for of, here in by_run.items():
        size = {component: max(abs(one.value) for one in told.values()) for component, told in here.items()}
        for component in sorted(here, key=lambda one, size=size: -size[one])[:_SHOWN]:
            changed = ", ".join(f"{method} {value}" for method, value in here[component].items())
            rows.append((*of, component, changed))
    note = (
        f"LLC after - before, ± one standard error; of each run the {_SHOWN} components that change it most, ok ones "
        "alone."
    )
    head = ("net", "run", "n_beta, gamma", "component", "change of the LLC")
    return (Table("singles", "Which components change the LLC most", head, tuple(rows), note),) if rows else ()


@dataclass(frozen=True)
class _Said:
    """How one method changes the LLC of a net at one resolution."""

    net: str
    kind: str
    method: str
    rung: str
    shift: Over
    before: Over
    ok: int
    asked: int
    found: tuple[Shift, ...]

    @property
    def lower(self) -> bool:
        """Whether it is, in more than one run, beyond what these differ by."""
        return bool(self.shift.runs > 1 and self.shift.high < 0)

    @property
    def higher(self) -> bool:
        """Likewise."""
        return bool(self.shift.runs > 1 and self.shift.low > 0)


_SHOWN = 4
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


def _over_components(found: Sequence[Shift]) -> tuple[str, str]:
    some = [one for one in found if one.ok]
    if not some:
        return NONE, NONE
    ends = between([end for one in some for end in (one.least, one.most)], "+.3g")
    return ends, f"{sum(one.lower for one in some)}, {sum(one.higher for one in some)}"


def _counts(found: Sequence[Shift]) -> tuple[str, str]:
    ok, asked = _counted(found)
    return f"{ok} of {asked}", str(sum(one.closed for one in found))


def _counted(found: Sequence[Shift]) -> tuple[int, int]:
    """Returns of how many components the shift is ok, and how many there are."""
    return sum(one.ok for one in found), sum(one.components for one in found)


def _at_rung(one: _Said, said: Sequence[_Said]) -> str:
    """Returns the net of a change, with the resolution where there are several."""
    rungs = {other.rung for other in said if other.net == one.net}
    return one.net if len(rungs) == 1 else f"{one.net} ({one.rung})"


def _verdict(said: Sequence[_Said], *, measured: bool) -> str:
    if not said:
        return "Measured, but no change is ok." if measured else "Not measured: no run has the LLC under ablation."
    lower, higher = sum(one.lower for one in said), sum(one.higher for one in said)
    alone = sum(one.shift.runs == 1 for one in said)
    span, nets = between([one.shift.mean for one in said], "+.3g"), ", ".join(dict.fromkeys(one.net for one in said))
    return (
        f"In {nets}, without one component the LLC of the re-optimised rest changes by {span} on average: of "
        f"{len(said)} nets, methods and resolutions it is clearly lower in {lower} and clearly higher in {higher}"
        f"{f'; {alone} rest on one run, which says nothing of others' if alone else ''}."
    )


def _change_sentences(said: Sequence[_Said]) -> list[str]:
    told: list[str] = []
    for net, kind, rung in dict.fromkeys((one.net, one.kind, one.rung) for one in said):
        here = [one for one in said if (one.net, one.kind, one.rung) == (net, kind, rung)]
        clear = [one.method for one in here if one.lower or one.higher]
        doubt = "clear of 0 by every method" if len(clear) == len(here) else (
            f"clear of 0 by {', '.join(clear)} alone" if clear else "clear of 0 by no method"
        )  # fmt: skip
        before = [one.before.mean for one in here if np.isfinite(one.before.mean)]
        was = f", {between(before, '.3g')} before," if before else ""
        runs = between([float(one.shift.runs) for one in here], ".0f")
        ends, _ = _over_components([it for one in here for it in one.found])
        lower, higher = (sum(getattr(it, way) for one in here for it in one.found) for way in ("lower", "higher"))
        told.append(
            f"{net}: without one {called(kind)} the LLC of the re-optimised rest{was} changes by "
            f"{between([one.shift.mean for one in here], '+.3g')} on average, {doubt} (n_beta, gamma {rung}; "
            f"{sum(one.ok for one in here)} of {sum(one.asked for one in here)} changes ok, {runs} "
            f"{'run' if runs == '1' else 'runs'}); single ones by {ends}, {lower} clearly lower and {higher} higher by "
            "their own errors, beside one re-optimised model."
        )
    return told
