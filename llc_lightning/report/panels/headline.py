"""Weight space against activation space: the curve, the units at matched resolution, the correlation over training."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.analysis.agreement import AgreementAt
from llc_lightning.analysis.curve import Curve, Residual
from llc_lightning.report import palette
from llc_lightning.report.panel import Axis, Note, Panel, Rule, Series, step_axis
from llc_lightning.report.panels.curves import HOLLOW, effect_axis, half_dimension
from llc_lightning.report.sections import PANELS, Findings, View
from llc_lightning.runtime.kinds import called, plural

_WIDEST = 2.0
"""A band of a wider factor around the curve would hide the figure: the caption says it."""


def headline(found: Findings, *, named: int = 3) -> Panel | None:
    """Returns wrLLC against n_beta x effect over all units, resolutions and steps, with the one curve through them.

    Args:
        found: What was found about the run.
        named: How many of the units farthest off the curve are named in the figure.
    """
    curve = found.curve
    if curve is None:
        return None
    fitted = curve.points.loc[np.asarray(curve.points["ok"], dtype=bool)]
    steps = step_axis(table.steps(fitted))
    half = half_dimension(found.rows, curve.kind)
    worst = curve.largest_residuals(named)
    return Panel(
        name="headline",
        title=(
            f"Of the spread of log wrLLC at one n_beta, the curve in n_beta x {curve.method}-ablation effect explains "
            f"{explained(curve)}"
        ),
        x=Axis(f"n_beta x {curve.method}-ablation effect", log=True),
        y=Axis(f"wrLLC of one {called(curve.kind)}, gamma {curve.gamma:g}", log=True),
        series=(*_rungs(curve, steps), _line(curve)),
        rules=() if half is None else (Rule(half, f"half the weights of a {called(curve.kind)}: {half:g}"),),
        notes=(*_notes(worst, above=True), *_notes(worst, above=False)),
        scale=steps if len(set(table.steps(fitted))) > 1 else None,
        caption=(
            f"A point is one {called(curve.kind)} at one step and one n_beta. The curve is fitted to the {curve.n} ok "
            f"points and cannot fall; {_scatter(curve)}. The farthest off bear names. {HOLLOW}"
        ),
        wide=True,
    )


def explained(curve: Curve) -> str:
    """Says how much of the spread within a rung the curve explains, over training and at the last step alone."""
    over = f"{100 * curve.within:.0f} % over training"
    alone = f", {100 * curve.within_last:.0f} % at step {curve.last_step} alone"
    return over + (alone if np.isfinite(curve.within_last) and len(set(curve.points["step"])) > 1 else "")


def _scatter(curve: Curve) -> str:
    """Says what the band is, or how wide it would be."""
    factor = float(np.exp(2 * curve.residual_sd))
    return "band: ± 2 SD of the scatter" if factor <= _WIDEST else f"2 SD of the scatter are a factor of {factor:.1f}"


def _notes(worst: Sequence[Residual], *, above: bool) -> Iterator[Note]:
    """Yields the names of the points above the curve, or below it."""
    there = (one for one in worst if (one.ratio > 1) == above)
    for one in there:
        yield Note(one.resolution, one.llc, f"{one.component} @ {one.step}", above=above)


def matched(found: Findings) -> Panel | None:
    """Returns wrLLC against the ablation effect of every unit at the matched resolution, by method."""
    one = found.agreement
    if one is None:
        return None
    llc = table.select(table.restricted_llc(found.rows), step=one.step, n_beta=one.rung.n_beta, gamma=one.rung.gamma)
    names = list(one.methods)
    effects = table.select(found.rows, quantity="ablation_effect", step=one.step, loss="train")
    told = {name: f"rho {each.rho:+.2f}" if each.defined else "rho undefined" for name, each in one.methods.items()}
    best = max(names, key=lambda name: one.methods[name].rho if one.methods[name].defined else -2)
    agree = (
        f"ranks agree best with {best} ablation: {told[best]}"
        if one.methods[best].defined
        else f"too few {plural(one.kind)} are ok for a rank correlation"
    )
    return Panel(
        name="matched",
        title=(
            f"At the matched resolution, n_beta {one.rung.n_beta:g} (median n_beta x effect "
            f"{one.rung.resolution:.1f}), {agree}"
        ),
        x=effect_axis(effects),
        y=Axis(f"wrLLC of one {called(one.kind)} at n_beta {one.rung.n_beta:g}, gamma {one.rung.gamma:g}"),
        series=tuple(
            _units(
                table.matched(llc, table.select(effects, method=name), ["component"], ("llc", "effect")),
                name=f"{name}: {told[name]}",
                where=f"{name}, step {one.step}, n_beta {one.rung.n_beta:g}",
                color=palette.of_method(name, names),
                level=found.level,
            )
            for name in names
        ),
        caption=f"Step {one.step}. Bars: {100 * found.level:g} % intervals of the LLC. {HOLLOW}",
    )


def agreement(found: Findings) -> Panel | None:
    """Returns the rank correlations over the steps at which most units are ok, each at its own matched n_beta."""
    names = list(dict.fromkeys(name for one in found.agreements for name in one.methods))
    most = [one for one in found.agreements if one.units >= one.left_out]  # few units agree by chance
    known = [one for one in most if any(each.defined for each in one.methods.values())]
    if len(known) < 2:
        return None
    axis = step_axis([one.step for one in known])
    series: list[Series] = []
    for name in names:
        have = [one for one in known if name in one.methods and one.methods[name].defined]
        series.append(
            Series(
                name=name,
                x=axis.place([one.step for one in have]),
                y=np.array([one.methods[name].rho for one in have]),
                low=np.array([one.methods[name].low for one in have]) if name == names[0] else None,
                high=np.array([one.methods[name].high for one in have]) if name == names[0] else None,
                color=palette.of_method(name, names),
                marker="circle",
                hover=tuple(
                    f"step {one.step}, n_beta {one.rung.n_beta:g}: {name} rho {one.methods[name]}" for one in have
                ),
            )
        )
    rhos = series[0].y
    lows = [each.low for one in known for each in one.methods.values() if each.defined]
    told = f": rho {rhos[0]:+.2f} → {rhos[-1]:+.2f}" if len(rhos) else ""
    return Panel(
        name="agreement",
        title=f"Rank agreement of wrLLC with {names[0]} ablation over training{told}",
        x=axis,
        y=Axis("rank correlation rho", limits=(min(0.0, *lows) - 0.02, 1.02)),
        series=tuple(series),
        caption=(
            f"Over {_counted(known)} at each step at which most are ok, at the n_beta whose median n_beta x effect is "
            "nearest 10. Band: "
            f"{100 * found.level:g} % interval for {names[0]} ablation; those of the others are as wide."
        ),
    )


def _counted(known: Sequence[AgreementAt]) -> str:
    """Says over how many units correlations are: of few, they say little."""
    pairs = [each.n for one in known for each in one.methods.values() if each.defined]
    return f"{min(pairs)} units" if min(pairs) == max(pairs) else f"{min(pairs)} to {max(pairs)} units"


def _rungs(curve: Curve, steps: Axis) -> list[Series]:
    points = curve.points
    ladder = sorted(set(table.numbers(points, "n_beta").tolist()))
    several = len(set(table.steps(points.loc[np.asarray(points["ok"], dtype=bool)]))) > 1
    series: list[Series] = []
    for n_beta in ladder:
        part = table.select(points, n_beta=n_beta)
        part = part.loc[np.greater(table.numbers(part, "resolution"), 0) & np.greater(table.numbers(part, "llc"), 0)]
        columns = (table.numbers(part, name).tolist() for name in ("llc", "llc_stderr", "resolution"))
        told = zip(table.texts(part, "component"), table.texts(part, "step"), *columns, strict=True)
        at_rung = f"n_beta {n_beta:g}"
        series.append(
            Series(
                name=at_rung,
                x=table.numbers(part, "resolution"),
                y=table.numbers(part, "llc"),
                ok=np.asarray(part["ok"], dtype=bool),
                color=palette.HOLLOW if several else palette.of_rung(n_beta, ladder),
                line=False,
                marker=palette.marker_of_rung(n_beta, ladder),
                opacity=0.85,
                shade=steps.place(table.numbers(part, "step")) if several else None,
                hover=tuple(
                    f"{unit}, step {step}, {at_rung}: wrLLC {table.Measured(llc, error)} at n_beta x effect {at:.3g}"
                    for unit, step, llc, error, at in told
                ),
            )
        )
    return series


def _line(curve: Curve) -> Series:
    at = np.geomspace(*curve.span, 120)
    height, factor = curve(at), float(np.exp(2 * curve.residual_sd))
    low, high = height / factor, height * factor
    banded = factor <= _WIDEST
    return Series("the curve", at, height, palette.CURVE, low=low, high=high, banded=banded, width=2.4, framing=False)


def _units(pairs: pd.DataFrame, *, name: str, where: str, color: str, level: float) -> Series:
    llc, errors = table.numbers(pairs, "llc"), table.numbers(pairs, "llc_stderr")
    half = table.half_width(errors, table.numbers(pairs, "chains"), level)
    effects = table.numbers(pairs, "effect")
    columns = (llc.tolist(), errors.tolist(), effects.tolist(), table.numbers(pairs, "effect_stderr").tolist())
    return Series(
        name=name,
        x=effects,
        y=llc,
        low=llc - half,
        high=llc + half,
        ok=np.asarray((pairs["llc_status"] == "ok") & (pairs["effect_status"] == "ok"), dtype=bool),
        color=color,
        line=False,
        marker="circle",
        hover=tuple(
            f"{unit}, {where}: wrLLC {table.Measured(value, error)}, effect {table.Measured(effect, effect_error)}"
            for unit, value, error, effect, effect_error in zip(table.texts(pairs, "component"), *columns, strict=True)
        ),
    )


@PANELS.register(
    "headline",
    summary="weight space against activation space",
    section="Complexity against need",
    place=10,
    quantities=("weight_norm", "grad_norm"),
)
def _drawn(view: View) -> list[Panel | None]:
    return [headline(view.found), matched(view.found), agreement(view.found)]
