"""Whether the LLC finds the components that matter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llc_lightning.analysis.across import ByRun, Over
from llc_lightning.analysis.scores import GRADIENT, GRADIENT_IN, INCOMING, WHOLE, Found, at_random
from llc_lightning.report.answers.base import Answer, between, intervals
from llc_lightning.report.cells import NONE, Table
from llc_lightning.report.panel import Matrix

_CHANCE = 0.5
_ROUNDING = 1e-9


_QUOTED = {
    WHOLE: "wrLLC",
    INCOMING: "wrLLC of the incoming side",
    "zero": "the zero effect",
    "weight_norm": "the weight norm",
    GRADIENT: "the gradient norm",
    GRADIENT_IN: "the gradient norm of the incoming side",
}
"""Scores that the verdict quotes, chosen before any was seen: the best of many would be so by chance. The gradient
norms were added when all had been seen, as what the wrLLC must say more than; both are quoted, whichever is better."""


def finding(found: Sequence[ByRun[Found]], level: float) -> Answer:
    """Can the LLC find the components that matter?"""
    nets = list(dict.fromkeys(one.net for one in found))
    ordered = sorted(found, key=lambda one: (nets.index(one.net), -_area(one)))
    rows = tuple(
        (
            *(one.net, one.key[0], one.key[1] or NONE, str(_with_interval(one, level))),
            ", ".join(f"{it.auroc:.2f}" for it in one.found),
            _by_chance(one),
            f"{one.over(lambda it: it.precision).mean:.3f}",
            "{} of {}".format(*_ok(one)),
        )
        for one in ordered
    )
    head = ("net", "score", "at", "AUROC", "each run", "by chance", "average precision", "ok")
    note = (
        "AUROC: probability that a component that matters scores above one that does not. By chance: how often orders "
        "at random reach as much on average, in as many runs with as many components; of so many scores some would "
        "reach 0.05. All values count, whatever their status; a missing one counts against its score. "
        f"{intervals(level, 'the bootstrap over its components')} Beyond 0 and 1 they are those of a mean, not of an "
        "AUROC."
    )
    said = tuple(_sentence(net, here) for net in nets if _quoted(here := [one for one in found if one.net == net]))
    return Answer(
        question="Can the LLC find the components that matter?",
        verdict=_verdict(found, nets),
        details=said,
        nets=tuple(nets),
        change="One more seed in which the order breaks; what matters is known by construction here, of few components "
        "a net.",
        tables=(Table("found", "What finds the components that matter", head, rows, note),) if rows else (),
        panels=_panels(found, nets),
    )


def _verdict(found: Sequence[ByRun[Found]], nets: Sequence[str]) -> str:
    if not found:
        return "Not measured: of no run is it known which components matter."
    parts = [f"{called} {between(areas, '.2f')}" for called, areas in _quoted(found)]
    flagged = sum(1 for one in found if one.key[0] in _QUOTED and not _mostly_ok(one))
    if not parts:
        quoted = ", ".join(_QUOTED.values())
        return "Too little is ok." if flagged else f"Not measured where the truth is known: {quoted}."
    scores = "score" if flagged == 1 else "scores"
    left_out = f" Left out: {flagged} {scores} of a net at a resolution where under half is ok." if flagged else ""
    return (
        f"Over {len(nets)} {'net' if len(nets) == 1 else 'nets'} whose truth is known: AUROC of {', of '.join(parts)}."
        f"{left_out}"
    )


def _quoted(found: Sequence[ByRun[Found]]) -> list[tuple[str, list[float]]]:
    """Returns the AUROC of the scores that the verdict quotes, of every run and rung of which half is ok."""
    told = [
        (called, [it.auroc for one in found if one.key[0] == score and _mostly_ok(one) for it in one.found])
        for score, called in _QUOTED.items()
    ]
    return [(called, areas) for called, areas in told if areas]


def _ok(one: ByRun[Found]) -> tuple[int, int]:
    """Returns how many values are ok, and how many there are."""
    return sum(it.ok for it in one.found), sum(it.measured for it in one.found)


def _mostly_ok(one: ByRun[Found]) -> bool:
    ok, measured = _ok(one)
    return 2 * ok >= measured


def _by_chance(one: ByRun[Found]) -> str:
    """Returns how often orders at random reach as much."""
    share = float((at_random(one.found) >= _area(one) - _ROUNDING).mean())
    return f"{share:.2g}" if share else "< 0.0001"


def _with_interval(one: ByRun[Found], level: float) -> Over:
    return one.over(lambda it: it.auroc, level, own=lambda it: (it.low, it.high))


def _area(one: ByRun[Found]) -> float:
    return one.over(lambda it: it.auroc).mean


def _sentence(net: str, found: Sequence[ByRun[Found]]) -> str:
    parts = [f"{called} {np.mean(areas):.2f}" + (f" ({span})" if " to " in (span := between(areas, ".2f")) else "")
             for called, areas in _quoted(found)]  # fmt: skip
    return f"{net}: the mean AUROC of {', of '.join(parts)}, over all runs and n_beta."


def _panels(found: Sequence[ByRun[Found]], nets: Sequence[str]) -> tuple[Matrix, ...]:
    if not found:
        return ()
    areas: dict[str, dict[str, float]] = {}
    flagged: set[tuple[str, str]] = set()
    for one in found:
        score, where = one.key
        areas.setdefault(name := f"{score}{f', {where}' if where else ''}", {})[one.net] = _area(one)
        flagged |= set() if _mostly_ok(one) else {(name, one.net)}
    names = sorted(areas, key=lambda name: -float(np.mean(list(areas[name].values()))))
    values = np.array([[areas[name].get(net, np.nan) for net in nets] for name in names])
    return (
        Matrix(
            name="found",
            title="Mean AUROC of every score for the components that matter",
            x_label="net",
            y_label="score",
            rows=tuple(names),
            columns=tuple(nets),
            values=np.clip(values, _CHANCE, None),
            unit="AUROC",
            lowest=_CHANCE,
            texts=tuple(
                tuple(
                    "" if np.isnan(area) else f"({area:.2f})" if (name, net) in flagged else f"{area:.2f}"
                    for net, area in zip(nets, row, strict=True)
                )
                for name, row in zip(names, values.tolist(), strict=True)
            ),
            caption="By chance 0.5, which has the lightest colour, as has what is below. In brackets: under half of "
            "the values are ok. Empty: not measured.",
            wide=True,
        ),
    )
