"""Whether wrLLC is the ablation effect over again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from llc_lightning.analysis.across import ByRun, Over
from llc_lightning.analysis.collapse import Collapse
from llc_lightning.report.answers.base import Answer, between, by_method, intervals, two
from llc_lightning.report.cells import NONE, Table
from llc_lightning.report.panel import Rule
from llc_lightning.runtime.kinds import plural

_CLEAR, _SOME = 0.85, 0.3
"""Shares of what is attainable from which on nearly all, and a part, of wrLLC is said to be the ablation effect over
again."""


def sharing(found: Sequence[ByRun[Collapse]], level: float) -> Answer:
    """Is wrLLC the ablation effect over again, and does that differ across architectures?"""
    rows: list[tuple[str, ...]] = []
    said: list[str] = []
    first: list[tuple[ByRun[Collapse], Over, Over]] = []
    bars: list[tuple[str, str, Over]] = []
    for one in found:
        kind, method, step = one.key
        share = one.over(lambda it: it.within, level, own=lambda it: (it.low, it.high))
        corrected = one.over(
            lambda it: it.corrected, level, own=lambda it: (it.low / it.attainable, it.high / it.attainable)
        )
        alone = one.over(lambda it: it.n_beta_alone, level)
        attainable = one.over(lambda it: it.attainable, level)
        behind = [it.behind for it in one.found if it.behind]
        clear = f"{sum(low > 0 for low, _ in behind)} of {len(behind)}" if behind else NONE
        ranked = one.over(lambda it: it.ranked, level)
        numbers = (str(share), str(attainable), str(corrected), two(ranked), clear)
        rows.append((one.net, kind, method, *numbers, _runs(one, share), _points(one), str(alone), step))
        bars.append((one.net, method, share))
        if not behind:
            first.append((one, share, corrected))
            said.append(_shared_sentence(one, alone, share, corrected, ranked))
    head = (
        *("net", "kind", "method", "within a rung", "attainable", "of what is attainable", "by ranks"),
        *("runs in which the first method explains more", "runs", "points", "n_beta alone", "step"),
    )
    note = (
        "Within a rung: of the variance of log wrLLC that n_beta leaves, the share that a curve of n_beta x effect "
        "through the other components explains; negative where it tells less than the mean of the rung. Points: "
        "components at one n_beta whose wrLLC and effects by every method are ok and above 0, of those measured. The "
        f"first method explains more in a run where the interval of {100 * level:g} % of the difference, by the same "
        "resamples, lies above 0. By ranks: rank correlation within the rungs, those at or below 0 too. Attainable: "
        "the correlation with the replicate; its own error is left out where one run is divided by it, which is then "
        "not said to be explained nearly all unless what is not divided allows it. "
        f"{intervals(level, 'the bootstrap over its components')}"
    )
    return Answer(
        question="Is wrLLC the ablation effect over again, and does that differ across architectures?",
        verdict=_verdict(first),
        details=tuple(said),
        nets=tuple(dict.fromkeys(one.net for one, share, _ in first if np.isfinite(share.mean))),
        change="Longer chains, which raise what is attainable; another rung.",
        tables=(Table("within", "What an effect explains beyond n_beta", head, tuple(rows), note),) if rows else (),
        panels=by_method(
            "within-a-rung",
            "Share of the spread of wrLLC within a rung that an effect explains, by net and method",
            "share within a rung",
            Rule(0.0, "nothing"),
            bars,
        ),
    )


def _verdict(first: Sequence[tuple[ByRun[Collapse], Over, Over]]) -> str:
    told = sorted((it for it in first if np.isfinite(it[1].mean)), key=lambda it: -it[1].mean)
    if not told:
        return "Not measured: no run has wrLLC and effects of enough components."
    words: dict[str, list[str]] = {}
    for one, share, corrected in told:
        much = _much(share, corrected)
        raw = "" if _is_corrected(share, corrected) else ", uncorrected"
        words.setdefault(much, []).append(f"{one.net} ({_runs(one, share)} runs, {_points(one)} points{raw})")
    parts = [f"{word} in {', '.join(nets)}" for word, nets in words.items()]
    span = between([share.mean for _, share, _ in told], ".2f")
    return (
        "Of the spread of wrLLC within a rung, where n_beta cannot help, as far as the chains' errors allow unless "
        f"uncorrected, an ablation effect explains {'; '.join(parts)}: {span} of all over the points that have both."
    )


def _much(share: Over, corrected: Over) -> str:
    """Returns the word on whose side of its thresholds all of the interval lies, of what is attainable if known."""
    of = corrected if _is_corrected(share, corrected) else share
    # The interval over runs has the error of what is attainable in it, that of a single run does not.
    if of.low >= _CLEAR and (of.runs > 1 or (share.low >= _SOME and share.high >= _CLEAR)):
        return "nearly all"
    if of.high < _SOME:
        return "little"
    least, most = of.low >= _SOME, of.high < _CLEAR
    return (
        "a part"
        if least and most
        else "at least a part"
        if least
        else "at most a part"
        if most
        else "an uncertain share"
    )


def _is_corrected(share: Over, corrected: Over) -> bool:
    """Says whether all runs have a replicate that tells what is attainable."""
    return corrected.runs == share.runs


def _runs(one: ByRun[Collapse], share: Over) -> str:
    return f"{share.runs} of {one.asked}"


def _points(one: ByRun[Collapse]) -> str:
    return f"{sum(it.points for it in one.found)} of {sum(it.asked for it in one.found)}"


def _shared_sentence(one: ByRun[Collapse], alone: Over, share: Over, corrected: Over, ranked: Over) -> str:
    kind, method, step = one.key
    allowed = replace(corrected, mean=min(corrected.mean, 1.0))
    beyond = f", {allowed} of what the chains' errors allow" if _is_corrected(share, corrected) else ""
    return (
        f"{one.net}: the {method} effect explains {_much(share, corrected)} of wrLLC of {plural(kind)} within a rung "
        f"(step {step}; {share}{beyond}; {_runs(one, share)} runs, {_points(one)} points; all ok points have a rank "
        f"correlation of {two(ranked)}); n_beta alone explains {alone.mean:.3f} of the whole spread."
    )
