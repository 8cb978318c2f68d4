"""Whether the LLC finds the components that matter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llc_lightning.analysis.across import ByRun
from llc_lightning.analysis.scores import WHOLE, Found
from llc_lightning.report import palette
from llc_lightning.report.answers.base import Answer, categories
from llc_lightning.report.cells import NONE, Table
from llc_lightning.report.panel import Axis, Panel, Rule, Series


def finding(found: Sequence[ByRun[Found]], level: float) -> Answer:
    """Can LLC find the components that matter?"""
    rows: list[tuple[str, ...]] = []
    best: dict[str, dict[str, tuple[float, str]]] = {}
    for one in sorted(found, key=lambda it: (it.net, -it.over(lambda f: f.auroc).mean)):
        score, where = one.key
        area, precision = one.over(lambda it: it.auroc, level), one.over(lambda it: it.precision, level)
        each = ", ".join(f"{it.auroc:.2f}" for it in one.found)
        ok = f"{sum(it.ok for it in one.found)} of {sum(it.components for it in one.found)}"
        rows.append((one.net, score, where or NONE, f"{area.mean:.3f}", each, f"{precision.mean:.3f}", ok))
        view = _view(score, where)
        now = best.setdefault(one.net, {})
        if view not in now or area.mean > now[view][0]:
            now[view] = (area.mean, f"{score}{f', {where}' if where else ''}")
    said = [_found_sentence(net, by) for net, by in best.items()]
    head = ("net", "score", "at", "AUROC", "each run", "average precision", "ok")
    note = (
        "AUROC: probability that a component that matters scores above one that does not; by chance 0.5. All values "
        "count, whatever their status; a missing one is the least."
    )
    return Answer(
        question="Can the LLC find the components that matter?",
        verdict=tuple(said) or ("Not measured: of no run is it known which components matter.",),
        change="One more seed in which the order breaks; what matters is known by construction here, of few components "
        "a net.",
        tables=(Table("found", "What finds the components that matter", head, tuple(rows), note),) if rows else (),
        panels=_found_panels(found),
    )


def _found_sentence(net: str, by: dict[str, tuple[float, str]]) -> str:
    parts = [
        f"the best {name} {area:.2f} ({score})"
        for view, name in (("LLC", "LLC score"), ("effect", "ablation effect"), ("size", "of sizes"))
        for area, score in [by.get(view, (float("nan"), ""))]
        if score
    ]
    return f"{net}: AUROC of {'; '.join(parts)}."


def _found_panels(found: Sequence[ByRun[Found]]) -> tuple[Panel, ...]:
    panels: list[Panel] = []
    for net in dict.fromkeys(one.net for one in found):
        own = sorted((one for one in found if one.net == net), key=lambda it: -it.over(lambda f: f.auroc).mean)
        names = [f"{score}{f', {where}' if where else ''}" for score, where in (one.key for one in own)]
        mean = Series(
            name="mean",
            x=np.arange(len(own), dtype=np.float64),
            y=np.array([one.over(lambda it: it.auroc).mean for one in own]),
            color=palette.LOSS,
            line=False,
            marker="circle",
        )
        each = Series(
            name="each run",
            x=np.array([at for at, one in enumerate(own) for _ in one.found], dtype=np.float64),
            y=np.array([it.auroc for one in own for it in one.found]),
            color=palette.HOLLOW, line=False, marker="circle", opacity=0.6,
        )  # fmt: skip
        panels.append(
            Panel(
                name=f"found-{net}",
                title=f"What finds the components that matter in {net}",
                x=categories("score", names),
                y=Axis("AUROC", limits=(-0.05, 1.05)),
                series=(each, mean),
                rules=(Rule(0.5, "chance"),),
                wide=True,
            )
        )
    return tuple(panels)


def _view(score: str, where: str) -> str:
    """Returns what a score is of."""
    if where or score.startswith(WHOLE) or " at n_beta" in score:
        return "LLC"
    return "size" if score == "weight_norm" else "effect"
