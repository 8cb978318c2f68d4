"""The tables of what was found: the verdict, the rank correlations, the units off the curve."""

from collections.abc import Sequence

import numpy as np

from llc_lightning.analysis import table
from llc_lightning.analysis.correlation import Correlation
from llc_lightning.analysis.selectivity import CLEAR, SELECTIVE, Group, groups
from llc_lightning.report.cells import NONE, Table, number
from llc_lightning.report.sections import Findings
from llc_lightning.runtime.kinds import plural


def verdict_table(runs: Sequence[Findings]) -> Table | None:
    """Returns what the verdict of each run rests on, side by side."""
    judged = [(one.run, one.verdict) for one in runs if one.verdict]
    if not judged:
        return None
    baselines = list(dict.fromkeys(name for _, verdict in judged for name in verdict.baselines))
    lines: list[tuple[str, list[str]]] = [
        ("computes in superposition", ["yes" if verdict.superposition else "no" for _, verdict in judged]),
        ("loss (nats per example)", [str(verdict.loss) for _, verdict in judged]),
        *(
            (
                f"loss of baseline: {name.replace('_', ' ')}",
                [str(verdict.baselines.get(name, NONE)) for _, verdict in judged],
            )
            for name in baselines
        ),
        ("loss / best baseline (below 0.8 is asked)", [str(verdict.loss_ratio) for _, verdict in judged]),
        ("circuits solved", [f"{verdict.circuits_solved} of {verdict.circuits}" for _, verdict in judged]),
        ("circuits that fit without sharing", [f"{verdict.circuits_dedicated:g}" for _, verdict in judged]),
        ("mean accuracy over circuits", [_or_none(verdict.accuracy) for _, verdict in judged]),
        ("circuits per neuron", [_or_none(verdict.circuits_per_unit) for _, verdict in judged]),
        ("neurons per circuit", [_or_none(verdict.units_per_circuit) for _, verdict in judged]),
        ("at step", [str(verdict.step) for _, verdict in judged]),
    ]
    return Table(
        "verdict",
        "Does it compute in superposition?",
        ("", *(run for run, _ in judged)),
        tuple((name, *cells) for name, cells in lines),
        "± is one standard error. Circuits per neuron and the reverse are participation ratios: reported, not judged.",
    )


def agreement_table(found: Findings) -> Table | None:
    """Returns the rank correlations at the matched resolution, with what they must be read beside."""
    one = found.agreement
    if one is None:
        return None
    rows = [
        (
            f"wrLLC ~ {name}-ablation effect",
            *_cells(correlation),
            number(one.effect_reliability.get(name)),
        )
        for name, correlation in one.methods.items()
    ]
    rows += [(f"wrLLC ~ {name} effect, |w| held fixed", *_cells(each), "") for name, each in one.partial.items()]
    rows += [(f"|w| ~ {name}-ablation effect", *_cells(each), "") for name, each in one.norm_methods.items()]
    single = {"|w| ~ wrLLC": one.norm_llc, "wrLLC ~ its replicate": one.reliability}
    rows += [(name, *_cells(each), "") for name, each in single.items() if each]
    left = f"; {one.left_out} that are not ok are left out" if one.left_out else ""
    return Table(
        "agreement",
        f"Rank correlations over {plural(one.kind)} at the matched resolution",
        ("ranks of", "rho", f"{100 * found.level:g} % interval", "p", "n", "reliability of the effect"),
        tuple(rows),
        f"Step {one.step}, n_beta {one.rung.n_beta:g}, gamma {one.rung.gamma:g}: the rung whose median n_beta x effect "
        f"({one.rung.resolution:.1f} nats) is nearest 10{left}. |w| is the norm of a {one.kind}'s weights. Intervals: "
        "Fisher's z; p: permutations. Reliability: share of the effect's spread over units that is no sampling error.",
    )


def residual_table(found: Findings, n: int = 8) -> Table | None:
    """Returns the units farthest off the headline curve."""
    if found.curve is None:
        return None
    rows = [
        (
            one.component,
            str(one.step),
            f"{one.n_beta:g}",
            f"{one.resolution:.3g}",
            str(table.Measured(one.llc, one.llc_stderr)),
            f"{one.expected:.3g}",
            f"{one.ratio:.2f}",
            f"{one.sigmas:+.1f}",
            str(one.often),
        )
        for one in found.curve.largest_residuals(n)
    ]
    return Table(
        "residuals",
        "Farthest off the curve: what to look at",
        (
            *(found.curve.kind, "step", "n_beta", "n_beta x effect (nats)", "wrLLC", "curve", "wrLLC / curve"),
            *("in standard errors", "points beyond 2 SD"),
        ),
        tuple(rows),
        "One line for each unit, its worst point. Above the curve: it constrains more than its effect says (redundant, "
        "or a bias in disguise). Below: important but simple.",
    )


def task_table(found: Findings) -> Table | None:
    """Returns how many units of each layer serve one task, at the last step."""
    every = groups(found.selectivity)
    if not every or found.task_pair is None:
        return None
    step = every[-1].step
    first, second = (task.removeprefix("task:") for task in found.task_pair)
    rows = [
        (one.point, f"{one.units} {plural(one.kind)}", str(one.clear), str(one.first), str(one.second), _share(one))
        for one in every
        if one.step == step
    ]
    return Table(
        "tasks",
        f"Which task does a unit serve, at step {step}?",
        ("layer", "units", "with a clear effect", f"{first} alone", f"{second} alone", "share of the clear ones"),
        tuple(rows),
        f"Alone: the effect there is over nine times that on the other task (|selectivity| > {SELECTIVE:g}). Clear: "
        f"both effects together are {CLEAR:g} standard errors above 0.",
    )


def _share(one: Group) -> str:
    return str(table.Measured(one.selective, one.stderr)) if one.clear else NONE


def _cells(one: Correlation) -> tuple[str, str, str, str]:
    if not one.defined:
        return (NONE, NONE, NONE, str(one.n))
    chance = NONE if np.isnan(one.p) else f"{one.p:.2g}"
    return (f"{one.rho:+.2f}", f"{one.low:+.2f} to {one.high:+.2f}", chance, str(one.n))


def _or_none(value: table.Measured | None) -> str:
    return NONE if value is None else str(value)
