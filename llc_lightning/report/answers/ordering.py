"""Whether both order the components alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llc_lightning.analysis.across import ByRun, Over
from llc_lightning.analysis.association import MATCHED, Association
from llc_lightning.analysis.scores import WHOLE
from llc_lightning.report.answers.base import Answer, between, by_method, capped, intervals, two
from llc_lightning.report.cells import Table
from llc_lightning.report.panel import Rule

_ASKED = (WHOLE, "zero")


def ordering(found: Sequence[ByRun[Association]], level: float) -> Answer:
    """Do both order the components alike, and what does either add?"""
    rows: list[tuple[str, ...]] = []
    said: list[str] = []
    bars: list[tuple[str, str, Over]] = []
    for one in found:
        score, method, *where = one.key
        resolution = one.over(lambda it: it.rung.resolution).mean
        matched = all(it.matched for it in one.found)
        rho = one.over(lambda it: it.rho.rho, level, own=lambda it: (it.rho.low, it.rho.high))
        partial = one.over(lambda it: it.partial.rho if it.partial else float("nan"))
        corrected = one.over(lambda it: it.corrected, level)
        reliability = one.over(lambda it: it.reliability, level)
        each = ", ".join(f"{it.rho.rho:+.2f}" for it in one.found)
        step, rung = where
        numbers = (str(rho), each, f"{rho.runs} of {one.asked}", capped(corrected), two(partial), two(reliability))
        place = ("yes" if matched else "no", f"{resolution:.3g}", rung, step)
        rows.append((one.net, score, method, *numbers, *place))
        if score == WHOLE and matched:
            bars.append((one.net, method, rho))
        if (score, method) == _ASKED:
            at = f"{one.net} ({rho.runs} of {one.asked} runs, step {step}, {rung})"
            said.append(
                f"{at}: wrLLC and the zero effect order the components with a rank correlation of {rho.mean:+.2f} "
                f"({each}){_but_for(corrected)}; with the weight norm held fixed {two(partial)} is left."
                if matched
                else f"{at}: no matched rung, the nearest has a median n_beta x zero effect of {resolution:.3g}."
            )
    head = (
        *("net", "LLC score", "effect", "rho", "each run", "runs", "without errors", "weight norm fixed"),
        *("reliability of the score", "matched", "n_beta x effect", "rung", "step"),
    )
    note = (
        "Rank correlations at the rung whose median n_beta x zero effect is nearest 10, which is matched from "
        f"{MATCHED[0]:g} to {MATCHED[1]:g}; elsewhere they say little of the net. Without errors: divided by the root "
        "of both reliabilities; a mean above 1 counts as 1. "
    ) + intervals(level, "the bootstrap over its components")
    return Answer(
        question="Do both order the components alike, and what does either add?",
        verdict=_verdict([one for one in found if one.key[:2] == _ASKED and all(it.matched for it in one.found)]),
        details=tuple(said),
        nets=tuple(dict.fromkeys(one.net for one in found if one.key[:2] == _ASKED)),
        change="Another resolution: far from n_beta x effect = 10 the correlation falls, on either side.",
        tables=(Table("order", "Rank correlations nearest to the matched resolution", head, tuple(rows), note),)
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
        return (
            "Not measured: no run has wrLLC and zero effects of six components or more at a matched rung, with a "
            f"median n_beta x zero effect of {MATCHED[0]:g} to {MATCHED[1]:g}."
        )
    span = between([one.over(lambda it: it.rho.rho).mean for one in found], "+.2f")
    told = f"wrLLC and the zero effect order the components with a rank correlation of {span}"
    means = [(one.over(lambda it: it.corrected), one) for one in found]
    corrected = [
        (min(of.mean, 1.0), f"{one.net} ({of.runs} of {one.asked} runs)") for of, one in means if np.isfinite(of.mean)
    ]
    if not corrected:
        return f"{told}; without a replicate it is not known what errors take from it."
    beyond = f"{told} ({between([value for value, _ in corrected], '+.2f')} but for errors)"
    least, where = min(corrected)
    if least >= 1:
        return f"{beyond}."
    most = f", most in {where}" if len(corrected) > 1 else ""
    return f"{beyond}; what is short of 1 but for errors is what either adds{most}."


def _but_for(corrected: Over) -> str:
    return f", {capped(corrected)} but for errors" if np.isfinite(corrected.mean) else ""
