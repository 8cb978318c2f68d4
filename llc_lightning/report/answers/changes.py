"""How ablations change the LLC."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from llc_lightning.analysis import table
from llc_lightning.analysis.across import ByRun, Over
from llc_lightning.analysis.shifts import Shift
from llc_lightning.report.answers.base import Answer, between, by_method, intervals
from llc_lightning.report.cells import NONE, Table
from llc_lightning.report.panel import Rule
from llc_lightning.runtime.kinds import called, plural


def changes(found: Sequence[ByRun[Shift]], level: float) -> Answer:
    """How do ablations change the LLC?"""
    rows: list[tuple[str, ...]] = []
    said: list[_Said] = []
    for one in found:
        kind, method, rung = one.key
        shift, held = one.over(lambda it: it.shift, level, chains=_chains), _held(one, level)
        each = ", ".join(f"{it.shift.value:+.3g}" if it.ok else NONE for it in one.found)
        ok = f"{sum(it.ok for it in one.found)} of {sum(it.components for it in one.found)}"
        before, after, closure, around, recovered = (str(one.over(it, level, chains=_chains)) for it in _BESIDE)
        rows.append(
            (
                *(one.net, kind, method, rung, str(shift), each, ok, f"{shift.runs} of {len(one.found)}", closure),
                *(before, after, *_over_components(one.found), str(one.over(lambda it: it.spread, level))),
                *(around, recovered, str(sum(it.closed for it in one.found)), str(held)),
            )
        )
        if np.isfinite(shift.mean):
            was = one.over(lambda it: it.before)
            by_run = dict(zip(one.runs, one.found, strict=True))
            said.append(_Said(one.net, kind, method, rung, shift, was, held, by_run))
    head = (
        *("net", "kind", "method", "n_beta, gamma", "change (A3 - full)", "change in each run", "ok"),
        *("runs with ok ones", "closure", "LLC before", "LLC after", "least and most", "clearly lower, higher"),
        *("SD over components", "at the trained weights (A1)", "n_beta x R", "of these with A1"),
        "weights held alone (A5 - full)",
    )
    note = (
        "Before: the LLC of the whole model, re-optimised; after: that of the ablated model at its own minimum; "
        "change: by the same random numbers. A1: around the trained weights, which are no minimum of the ablated loss; "
        "R is what the other weights make good near them. Closure: A1 - (after - n_beta R), 0 where the chains around "
        "the trained weights and those around the new minimum see it curved alike. Means over components, then runs. "
        "Least and most, clearly lower and higher: single components of all runs, by their own errors; these do not "
        "tell in which of several minima the re-optimised model ended, with which all are compared. A5: of the whole "
        "model while the component's weights hold still, as they do when it is ablated: that part of the change is no "
        "doing of the ablation. It is told where it is known of every component that enters the change. "
        + intervals(level, "Student's t over its chains")
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
            for component, value in shift.held.items():
                here[component].setdefault(_HELD, value)
    rows: list[tuple[str, ...]] = []
    for of, here in by_run.items():
        size = {
            component: max(abs(one.value) for method, one in told.items() if method != _HELD)
            for component, told in here.items()
        }
        for component in sorted(here, key=lambda one, size=size: -size[one])[:_SHOWN]:
            changed = ", ".join(f"{method} {here[component][method]}" for method in sorted(here[component], key=_last))
            rows.append((*of, component, changed))
    note = (
        f"LLC after - before, ± one standard error; of each run the {_SHOWN} components that change it most, ok ones "
        f"alone. {_HELD.capitalize()}: the change by holding the component's weights, as when it is ablated, and "
        "ablating nothing, where it was measured."
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
    held: Over
    """What holding the same weights does alone, of the same components and runs; no value where it is not known."""
    found: Mapping[str, Shift]
    """By run."""

    @property
    def lower(self) -> bool:
        """Whether it is, in more than one run, beyond what these differ by."""
        return bool(self.shift.runs > 1 and self.shift.high < 0)

    @property
    def higher(self) -> bool:
        """Likewise."""
        return bool(self.shift.runs > 1 and self.shift.low > 0)


_SHOWN = 4
_HELD = "held alone"
_BESIDE: tuple[Callable[[Shift], table.Measured], ...] = (
    lambda it: it.before,
    lambda it: it.after,
    lambda it: it.closure,
    lambda it: it.unrecovered,
    lambda it: it.recovered,
)


def _held(one: ByRun[Shift], level: float) -> Over:
    """Returns what holding weights does alone; no value unless it is known of all components that enter the change."""
    known = all(it.held.keys() == it.single.keys() for it in one.found)

    def mean(it: Shift) -> table.Measured:
        told = list(it.held.values()) if known else []
        if not told:
            return table.Measured(float("nan"), float("nan"))
        return table.Measured(*(sum(getattr(one, name) for one in told) / len(told) for name in ("value", "stderr")))

    return one.over(mean, level, chains=_chains)


def _last(method: str) -> bool:
    return method == _HELD


def _chains(one: Shift) -> int:
    return one.chains


def _over_components(found: Sequence[Shift]) -> tuple[str, str]:
    some = [one for one in found if one.ok]
    if not some:
        return NONE, NONE
    ends = between([end for one in some for end in (one.least, one.most)], "+.3g")
    return ends, f"{sum(len(one.lower) for one in some)}, {sum(len(one.higher) for one in some)}"


def _at_rung(one: _Said, said: Sequence[_Said]) -> str:
    """Returns the net of a change, with the resolution where there are several."""
    rungs = {other.rung for other in said if other.net == one.net}
    return one.net if len(rungs) == 1 else f"{one.net} ({one.rung})"


def _verdict(said: Sequence[_Said], *, measured: bool) -> str:
    if not said:
        return "Measured, but no change is ok." if measured else "Not measured: no run has the LLC under ablation."
    every = _by_net(said)
    several = [here for here in every if any(one.shift.runs > 1 for one in here)]
    vague = any(one.shift.runs > 1 and not one.lower and not one.higher for one in said)
    alone = dict.fromkeys(here[0].net for here in every if here not in several)
    told = (
        f" Of {', '.join(alone)} there is one run alone, told below." if several else " One run says nothing of others."
    )
    return (
        "Without one component the LLC of the re-optimised rest changes on average by "
        f"{'; '.join(_short(here, _at_rung(here[0], said)) for here in several or every)}."
        f"{' Where it is not said, the sign is not clear over runs.' if vague else ''}"
        f"{told if alone else ''}"
    )


def _short(here: Sequence[_Said], net: str) -> str:
    """Returns by how much the LLC of a net changes, as a share of what it was where that is known."""
    before = [one.before.mean for one in here]
    known = all(one > 0 for one in before)
    scales, unit = ([100 / one for one in before], " %") if known else ([1.0] * len(here), "")
    mean = between([one.shift.mean * scale for one, scale in zip(here, scales, strict=True)], "+.1f")
    apart = [
        f"{between([one * float(np.mean(scales)) for one in changed], '+.1f')}{unit} at {point}"
        for point, changed in _apart(here).items()
    ]
    some = "not every" if any(one > 0 for one in before) else "none"
    told = [_runs(here), *([] if known else [f"in units of the LLC, since {some} before is ok and above 0"])]
    told += [*_clear(here), *_alone(here, scales, "+.1f", unit)]
    told += [f"single {plural(here[0].kind)} by {' and '.join(apart)}"] if apart else []
    return f"{mean}{unit} in {net} ({', '.join(told)})"


def _change_sentences(said: Sequence[_Said]) -> list[str]:
    return [_sentence(here) for here in _by_net(said)]


def _sentence(here: Sequence[_Said]) -> str:
    """Returns how every method changes the LLC of one net; single components count once, whatever the methods."""
    first, each = here[0], [(run, shift) for one in here for run, shift in one.found.items()]
    before = [one.before.mean for one in here if np.isfinite(one.before.mean)]
    was = f", {between(before, '.3g')} before," if before else ""
    ok, left_out, lower, higher = (
        {(run, component) for run, shift in each for component in getattr(shift, what)}
        for what in ("single", "left_out", "lower", "higher")
    )
    clear = [*(_clear(here) or ["clear of 0 by no method"]), *_alone(here, [1.0] * len(here), "+.3g")]
    ends, _ = _over_components([shift for _, shift in each])
    apart = "; ".join(f"those of {place} by {between(changed, '+.3g')}" for place, changed in _apart(here).items())
    return (
        f"{first.net}: without one {called(first.kind)} the LLC of the re-optimised rest{was} changes by "
        f"{between([one.shift.mean for one in here], '+.3g')} on average, "
        f"{', '.join(clear)} (n_beta, gamma {first.rung}; {len(ok)} of "
        f"{len(ok | left_out)} {plural(first.kind)} with an ok change, {_runs(here)}); single ones by {ends}"
        f"{f' ({apart})' if apart else ''}, {len(lower)} clearly lower and {len(higher)} higher by some method and "
        f"their own errors{f', {len(lower & higher)} of them both' if lower & higher else ''}, beside one re-optimised "
        "model."
    )


def _by_net(said: Sequence[_Said]) -> list[list[_Said]]:
    """Returns all methods of each net, kind and resolution together."""
    together: dict[tuple[str, str, str], list[_Said]] = {}
    for one in said:
        together.setdefault((one.net, one.kind, one.rung), []).append(one)
    return [*together.values()]


def _runs(here: Sequence[_Said]) -> str:
    runs = between([float(one.shift.runs) for one in here], ".0f")
    return f"{runs} {'run' if runs == '1' else 'runs'}"


def _clear(here: Sequence[_Said]) -> list[str]:
    """Returns which methods lower and raise the LLC, in more than one run, beyond what these differ by."""
    ways = {way: [one.method for one in here if getattr(one, way)] for way in ("lower", "higher")}
    return [
        f"{way} by {'every method' if len(methods) == len(here) else ', '.join(methods)}"
        for way, methods in ways.items()
        if methods
    ]


def _alone(here: Sequence[_Said], scales: Sequence[float], spec: str, unit: str = "") -> list[str]:
    """Returns how much of the change holding the same weights makes alone; none where no method has it."""
    known = [(one, scale) for one, scale in zip(here, scales, strict=True) if np.isfinite(one.held.mean)]
    if not known:
        return []
    held = between([one.held.mean * scale for one, scale in known], spec)
    left = between([(one.shift.mean - one.held.mean) * scale for one, scale in known], spec)
    by = "" if len(known) == len(here) else f" by {', '.join(one.method for one, _ in known)}"
    return [
        f"of the change{by} {held}{unit} comes of holding the same weights with nothing ablated and {left}{unit} is "
        "left for the ablation"
    ]


def _apart(here: Sequence[_Said]) -> dict[str, list[float]]:
    """Returns the single changes by the hook point of their component; none where those of two points overlap."""
    changed: dict[str, list[float]] = {}
    components: dict[str, set[str]] = {}
    for shift in (shift for one in here for shift in one.found.values()):
        for component, value in shift.single.items():
            point = component.partition("[")[0]
            changed.setdefault(point, []).append(value.value)
            components.setdefault(point, set()).add(component)
    ends = sorted((min(values), max(values)) for values in changed.values())
    overlap = any(most >= least for (_, most), (least, _) in pairwise(ends))
    few = len(changed) < 2 or any(len(own) < 2 for own in components.values())
    return {} if overlap or few else changed
