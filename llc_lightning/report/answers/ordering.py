"""Whether both order the components alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llc_lightning.analysis.across import ByRun, Over
from llc_lightning.analysis.association import Association
from llc_lightning.analysis.scores import WHOLE
from llc_lightning.report.answers.base import Answer, between, by_method, capped, two
from llc_lightning.report.cells import Table
from llc_lightning.report.panel import Rule


def ordering(found: Sequence[ByRun[Association]], level: float) -> Answer:
    """Do both order the components alike, and what does either add?"""
    rows: list[tuple[str, ...]] = []
    said: list[str] = []
    bars: list[tuple[str, str, Over]] = []
    for one in found:
        score, method = one.key
        rho = one.over(lambda it: it.rho.rho, level, own=lambda it: (it.rho.low, it.rho.high))
        partial = one.over(lambda it: it.partial.rho if it.partial else float("nan"))
        corrected = one.over(lambda it: it.corrected, level)
        reliability = one.over(lambda it: it.reliability, level)
        each = ", ".join(f"{it.rho.rho:+.2f}" for it in one.found)
        rows.append((one.net, score, method, str(rho), each, two(reliability), capped(corrected), two(partial)))
        if score == WHOLE:
            bars.append((one.net, method, rho))
        if (score, method) == (WHOLE, "zero"):
            said.append(
                f"{one.net}: wrLLC and the zero effect order the components with a rank correlation of {rho.mean:+.2f} "
                f"({each}){_but_for(corrected)}; with the weight norm held fixed {two(partial)} is left."
            )
    head = (
        "net",
        "LLC score",
        "effect",
        "rho",
        "each run",
        "reliability of the score",
        "without errors",
        "weight norm fixed",
    )
    note = (
        "Rank correlations at the rung whose median n_beta x zero effect is nearest 10. Without errors: divided by the "
        "root of both reliabilities; a mean above 1 counts as 1. Intervals: over runs, of one run over resamples."
    )
    return Answer(
        question="Do both order the components alike, and what does either add?",
        verdict=_verdict([one for one in found if one.key == (WHOLE, "zero")]),
        details=tuple(said),
        nets=tuple(one.net for one in found if one.key == (WHOLE, "zero")),
        change="Another resolution: far from n_beta x effect = 10 the correlation falls, on either side.",
        tables=(Table("order", "Rank correlations at the matched resolution", head, tuple(rows), note),)
        if rows
        else (),
        panels=by_method(
            "order-of-components",
            "Rank correlation of wrLLC with each effect at the matched resolution, by net and method",
            "Spearman's rho",
            Rule(0.0, "none"),
            bars,
        ),
    )


def _verdict(found: Sequence[ByRun[Association]]) -> str:
    if not found:
        return "Not measured: no run has wrLLC and zero effects of six components or more."
    rho = {one.net: one.over(lambda it: it.rho.rho).mean for one in found}
    least = min(rho, key=lambda net: rho[net])
    corrected = [value for one in found if np.isfinite(value := one.over(lambda it: it.corrected).mean)]
    beyond = f" ({between([min(value, 1.0) for value in corrected], '+.2f')} but for errors)" if corrected else ""
    span = between(list(rho.values()), "+.2f")
    return (
        f"wrLLC and the zero effect order the components with a rank correlation of {span}{beyond}; what is "
        f"short of 1 but for errors is what either adds, most in {least}."
    )


def _but_for(corrected: Over) -> str:
    return f", {capped(corrected)} but for errors" if np.isfinite(corrected.mean) else ""
