"""How the ways to ablate compare: every component under every method, and the methods with each other."""

import math

import numpy as np
from jaxtyping import Float

from llc_lightning.analysis import table
from llc_lightning.analysis.method_agreement import MethodAgreement, method_agreement
from llc_lightning.report import palette
from llc_lightning.report.panel import Matrix
from llc_lightning.report.panels.curves import effect_axis, short_names
from llc_lightning.report.sections import PANELS, Findings, View
from llc_lightning.runtime.kinds import called, plural

_MOST = 64
_NAMED = 8


def component_by_method(found: Findings) -> Matrix | None:
    """Returns the effects of the last step's components under every method, the largest components."""
    one = method_agreement(found.rows)
    if one is None:
        return None
    names = palette.ordered(one.methods)
    values = one.effects[:, [one.methods.index(name) for name in names]]
    size = np.nanmax(np.where(np.isfinite(values), values, -np.inf), axis=1)
    kept = np.sort(np.argsort(-size, kind="stable")[:_MOST])
    left = f" The {_MOST} largest of {len(one.components)}." if len(one.components) > _MOST else ""
    return Matrix(
        name="component-by-method",
        title=f"Effects of ablating {plural(one.kind)} by method at step {one.step}",
        x_label="method",
        y_label=called(one.kind),
        rows=tuple(short_names(one.components)[at] for at in map(int, kept)),
        columns=tuple(names),
        values=np.clip(values[kept], 0, None),
        unit=effect_axis(table.select(found.rows, quantity="ablation_effect", loss=one.loss)).label,
        caption=f"Cells that are not ok stay empty; negative effects count as 0.{left} {one.told}".rstrip(),
    )


def agreement_of_methods(found: Findings) -> Matrix | None:
    """Returns the rank correlations between methods at the last step."""
    one = method_agreement(found.rows)
    if one is None or not any(each.defined for each in one.correlations.values()):
        return None
    names = palette.ordered(one.methods)
    values = np.array([[_rho(one, a, b) for b in names] for a in names])
    return Matrix(
        name="agreement-of-methods",
        title=f"Do the methods order {plural(one.kind)} alike? Rank correlations at step {one.step}",
        x_label="method",
        y_label="method",
        rows=tuple(names),
        columns=tuple(names),
        values=np.where(np.eye(len(names), dtype=bool), np.nan, np.clip(values, 0, None)),
        lowest=_floor(values),
        narrow=True,
        unit="Spearman's rho",
        hover=tuple(tuple(f"{a} and {b}, step {one.step}: {_correlation(one, a, b)}" for b in names) for a in names),
        texts=tuple(
            tuple("" if np.isnan(rho) or a == b else f"{rho:.2f}" for b, rho in zip(names, row, strict=True))
            for a, row in zip(names, values.tolist(), strict=True)
        ),
        caption=f"{_listed(one)} Negative correlations, if any, have the colour of 0. {one.told}".rstrip(),
    )


def _floor(values: Float[np.ndarray, "method method"]) -> float:
    """Returns the tenth below the lowest of some correlations, or 0 for a negative one: all of a colour say nothing."""
    low = float(np.nanmin(values))
    return max(0.0, math.floor(10 * min(low, 0.99)) / 10)


def _correlation(one: MethodAgreement, a: str, b: str) -> str:
    """Says what two methods' correlation is, with its interval."""
    found = one.correlations.get((a, b)) or one.correlations.get((b, a))
    if a == b or found is None or not found.defined:
        return "the same method" if a == b else "no rank correlation"
    return f"rho {found.rho:+.2f} ({found.low:+.2f} to {found.high:+.2f}) over {found.n} {plural(one.kind)}"


def _rho(one: MethodAgreement, a: str, b: str) -> float:
    if a == b:
        return 1.0
    found = one.correlations.get((a, b)) or one.correlations.get((b, a))
    return float("nan") if found is None else found.rho


def _listed(one: MethodAgreement) -> str:
    """Returns the sentence about the components that methods disagree about most."""
    if not one.disagreements:
        return f"The methods find the same {plural(one.kind)} clear of 0, and none far apart in rank."
    short = dict(zip(one.components, short_names(one.components), strict=True))
    names = table.natural({each.component for each in one.disagreements})
    shown = ", ".join(short[name] for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"Methods disagree about {len(names)} of {len(one.components)} {plural(one.kind)}: {shown}{more}."


@PANELS.register(
    "component-by-method",
    summary="the effects of every component under every method",
    section="Ablation effects",
    place=41,
    quantities=("ablation_effect",),
    needs="two methods on the same examples",
)
def _effects(view: View) -> list[Matrix | None]:
    return [component_by_method(view.found)]


@PANELS.register(
    "agreement-of-methods",
    summary="rank correlations between methods",
    section="Ablation effects",
    place=42,
    quantities=("ablation_effect",),
    needs="two methods with effects of three components or more",
)
def _correlations(view: View) -> list[Matrix | None]:
    return [agreement_of_methods(view.found)]
