"""Whether wrLLC is the ablation effect over again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llc_lightning.analysis.across import ByRun, Over
from llc_lightning.analysis.collapse import Collapse
from llc_lightning.report.answers.base import Answer, between, by_method
from llc_lightning.report.cells import NONE, Table
from llc_lightning.report.panel import Rule
from llc_lightning.runtime.kinds import plural

_CLEAR, _SOME = 0.85, 0.3
"""Shares within a rung from which on nearly all, and a part, of wrLLC is said to be the ablation effect over again."""


def sharing(found: Sequence[ByRun[Collapse]], level: float) -> Answer:
    """Is wrLLC the ablation effect over again, and does that differ across architectures?"""
    rows: list[tuple[str, ...]] = []
    said: list[str] = []
    first: list[tuple[str, Over]] = []
    bars: list[tuple[str, str, Over]] = []
    for one in found:
        kind, method = one.key
        share = one.over(lambda it: it.within, level, own=lambda it: (it.low, it.high))
        corrected = one.over(lambda it: it.corrected, level)
        alone = one.over(lambda it: it.n_beta_alone, level)
        attainable = one.over(lambda it: it.attainable, level)
        behind = [it.behind for it in one.found if it.behind]
        clear = f"{sum(low > 0 for low, _ in behind)} of {len(behind)}" if behind else NONE
        rows.append((one.net, kind, method, str(alone), str(share), str(attainable), str(corrected), clear))
        bars.append((one.net, method, share))
        if not behind:
            first.append((one.net, share))
            said.append(_shared_sentence(one.net, kind, method, alone, share, corrected))
    head = (
        *("net", "kind", "method", "n_beta alone", "within a rung", "attainable", "of what is attainable"),
        "runs in which the first method explains more",
    )
    note = (
        "Within a rung: of the variance of log wrLLC that n_beta leaves, the share that one curve of n_beta x effect "
        "explains at the last step; negative where the curve fits a rung worse than its mean. Attainable: the "
        "correlation with the replicate."
    )
    return Answer(
        question="Is wrLLC the ablation effect over again, and does that differ across architectures?",
        verdict=_verdict(first),
        details=tuple(said),
        nets=tuple(net for net, share in first if np.isfinite(share.mean)),
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


def _verdict(first: Sequence[tuple[str, Over]]) -> str:
    told = [(net, share.mean) for net, share in first if np.isfinite(share.mean)]
    if not told:
        return "Not measured: no run has wrLLC and effects of enough components."
    words = dict.fromkeys(_much(share) for _, share in sorted(told, key=lambda one: -one[1]))
    parts = [f"{word} in {', '.join(net for net, share in told if _much(share) == word)}" for word in words]
    span = between([share for _, share in told], ".2f")
    return (
        f"An ablation effect explains {'; '.join(parts)}: {span} of the spread of wrLLC within a rung, where n_beta "
        "cannot help."
    )


def _much(share: float) -> str:
    return "nearly all" if share >= _CLEAR else "a part" if share >= _SOME else "little"


def _shared_sentence(net: str, kind: str, method: str, alone: Over, share: Over, corrected: Over) -> str:
    beyond = f", {min(corrected.mean, 1.0):.2f} of what the chains' errors allow" if np.isfinite(corrected.mean) else ""
    return (
        f"{net}: the {method} effect explains {_much(share.mean)} of wrLLC of {plural(kind)} within a rung "
        f"({share}{beyond}); n_beta alone explains {alone.mean:.3f} of the whole spread."
    )
