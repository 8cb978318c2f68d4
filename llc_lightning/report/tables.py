"""The tables of a run: what was found, how it was found, and where its curves start and end."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.analysis.cis import TRAINED, Verdict
from llc_lightning.analysis.correlation import Correlation
from llc_lightning.analysis.selectivity import CLEAR, SELECTIVE, Group, groups
from llc_lightning.analysis.timing import Timing
from llc_lightning.analysis.trajectories import CURVE, trajectories
from llc_lightning.report.cells import NONE, Table, number
from llc_lightning.report.panels import other
from llc_lightning.report.panels.curves import median_at_the_end, unit_of_rows
from llc_lightning.report.sections import Findings, other_quantities
from llc_lightning.results.quantities import QUANTITIES
from llc_lightning.runtime.kinds import called, plural

MOST = 40
"""Curves that the overview lists."""
_REVISION = "-revision="


def verdict_table(runs: Sequence[Findings]) -> Table | None:
    """Returns what the verdict of each run rests on, side by side."""
    judged = [(one.run, one.verdict) for one in runs if one.verdict]
    if not judged:
        return None
    verdicts = [verdict for _, verdict in judged]
    lines: list[tuple[str, list[str]]] = [
        ("computes in superposition", ["yes" if one.superposition else "no" for one in verdicts]),
        ("circuits solved", [f"{one.solved} of {one.circuits}" for one in verdicts]),
        ("circuits that fit without sharing", [f"{one.circuits_dedicated:g}" for one in verdicts]),
        ("mean accuracy over circuits", [str(one.accuracy or NONE) for one in verdicts]),
        ("mean accuracy without sharing", [str(one.accuracy_dedicated or NONE) for one in verdicts]),
        *_measures(verdicts),
        ("circuits per neuron", [str(one.circuits_per_unit or NONE) for one in verdicts]),
        ("neurons per circuit", [str(one.units_per_circuit or NONE) for one in verdicts]),
        ("at step", [str(one.step) for one in verdicts]),
    ]
    return Table(
        "verdict",
        "Does it compute in superposition?",
        ("", *(run for run, _ in judged)),
        tuple((name, *cells) for name, cells in lines),
        "± is one standard error. The answer rests on circuits solved and accuracy against neurons that share nothing, "
        "which no exponent enters. A loss is compared within one measure alone. Circuits per neuron and the reverse "
        "are participation ratios: reported, not judged.",
    )


def _measures(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, list[str]]]:
    """Yields what each run's loss is in every measure, and beside its best baseline; * marks what it was trained on."""
    units = list(dict.fromkeys(one.unit for verdict in verdicts for one in verdict.losses))
    for unit in units:
        here = [next((one for one in verdict.losses if one.unit == unit), None) for verdict in verdicts]
        yield (
            f"loss ({unit})",
            [f"{one.loss}{' (trained on)' if one.name == TRAINED else ''}" if one else NONE for one in here],
        )
        yield (
            f"loss / best baseline ({unit})",
            [f"{one.ratio} ({one.best_baseline.replace('_', ' ')} {one.best})" if one else NONE for one in here],
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
        f"({one.rung.resolution:.1f}) is nearest 10{left}. |w| is the norm of a {called(one.kind)}'s weights. "
        "Intervals: Fisher's z; p: permutations. Reliability: share of the effect's spread over units that is "
        "no sampling error.",
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
            *(called(found.curve.kind), "step", "n_beta", "n_beta x effect", "wrLLC", "curve", "wrLLC / curve"),
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


def health_table(found: Findings) -> Table:
    """Returns how many rows are ok, flagged and failed."""
    rows = [
        (
            *(one.quantity, one.kind or NONE, str(one.ok), str(one.flagged), str(one.failed)),
            "not at the last step" if one.ok_from is None else str(one.ok_from),
        )
        for one in found.health.counts
    ]
    total = found.health
    every = ("all", "", str(total.ok), str(total.flagged), str(total.failed), "")
    return Table(
        "health",
        "How trustworthy the rows are",
        ("quantity", "kind", "ok", "flagged", "failed", "all ok from step"),
        (*rows, every),
        "Flagged values are kept, drawn hollow and left out of every number; failed ones have no value.",
    )


def trouble_table(found: Findings) -> Table | None:
    """Returns the reasons against rows, each with what to change."""
    rows = tuple(
        (one.reason, str(one.rows), _steps(one.first_step, one.last_step), ", ".join(one.quantities), one.sentence)
        for one in found.health.troubles
    )
    columns = ("reason", "rows", "steps", "quantities", "what it means and what to change")
    return Table("troubles", "Why rows are not ok", columns, rows) if rows else None


def timing_table(time: Timing) -> Table | None:
    """Returns what measuring cost; a revision is told where the same was measured at several."""
    alike = Counter(one.name.partition(_REVISION)[0] for one in time.costs)
    rows = tuple(
        (_read(one.name, alike), str(one.parts), f"{one.seconds:.1f}", f"{one.seconds / one.parts:.2f}")
        for one in time.costs
    )
    columns = ("measured by", "times", "seconds", "seconds each time")
    return Table("time", "What measuring cost", columns, rows, time.sentence()) if rows else None


def _read(part: str, alike: Mapping[str, int]) -> str:
    """Writes the name of a part as words.

    Example:
        >>> _read("llc-replicate=1-revision=8", {}), _read("llc-revision=8", {"llc": 2})
        ('llc, replicate 1', 'llc, revision 8')
    """
    name, _, revision = part.partition(_REVISION)
    said = name.replace("-replicate=", ", replicate ").replace("-weights=", ", weights ")
    return f"{said}, revision {revision}" if revision and alike.get(name, 1) > 1 else said


def settings_table(found: Findings) -> Table | None:
    """Returns how the learning coefficients were sampled, and how well the ok chains mixed."""
    llc = table.first_replicate(table.select(found.rows, quantity="llc"))
    rows: list[tuple[str, ...]] = []
    for (kind, n_beta, gamma), part in table.by(llc, "kind", "n_beta", "gamma"):
        good = part.loc[table.ok(part)]
        told = map(table.details(part.iloc[:1])[0].get, ("sampler", "preconditioner"))
        how = ", ".join(str(name) for name in told if name not in (None, "none"))
        rows.append(
            (
                *(kind, f"{n_beta:g}", f"{gamma:g}", how or NONE),
                *(_span(table.numbers(part, column)) for column in ("chains", "draws", "n_examples", "step_size")),
                number(float(good["rhat"].max()), 3),
                number(float(good["ess"].min()), 0),
            )
        )
    columns = (
        "LLC of",
        "n_beta",
        "gamma",
        "sampler",
        "chains",
        "draws",
        "examples",
        "step size",
        "worst R-hat",
        "least ESS",
    )
    note = "R-hat and ESS over ok rows. An LLC means nothing without its n_beta and gamma."
    return Table("settings", "How the learning coefficients were sampled", columns, tuple(rows), note) if rows else None


def other_table(found: Findings) -> Table | None:
    """Returns where the quantities that no panel is about end: of several components the median."""
    names = other_quantities(table.distinct(found.rows, "quantity"))
    if not names:
        return None
    curves = trajectories(found.rows, quantities=names, losses=["*"], level=found.level)
    rows = tuple(
        (name, what, median_at_the_end(part, 4) or NONE, unit_of_rows(part, name), str(table.steps(part)[-1]))
        for name in names
        for what, part in other.groups(table.select(curves, quantity=name))
    )
    return Table(
        "other",
        "Other quantities",
        ("quantity", "of", "at the end", "unit", "last step"),
        rows,
        "Of several components the median; trajectories has all values with their errors.",
    )


def quantity_table(found: Findings) -> Table:
    """Returns unit and definition of every quantity in the rows."""
    present = sorted(table.distinct(found.rows, "quantity"))
    known = [QUANTITIES.get(name).item for name in present if name in QUANTITIES]
    told = found.rows[["quantity", "unit"]].drop_duplicates()
    units = {name: [one for one in table.texts(part, "unit") if one] for name, part in table.by(told, "quantity")}
    rows = tuple((one.name, ", ".join(units[one.name]) or one.unit, one.definition) for one in known)
    return Table("quantities", "What the quantities are", ("quantity", "unit", "definition"), rows)


def overview_table(curves: pd.DataFrame) -> Table:
    """Returns one line for each curve of :func:`llc_lightning.analysis.trajectories.trajectories`, up to ``MOST``."""
    several = len(table.distinct(curves, "revision")) > 1
    rows: list[tuple[str, ...]] = []
    by_curve = curves.groupby(CURVE[:-1], sort=False, dropna=False)
    for _, curve in list(by_curve)[:MOST]:
        good = curve.loc[table.ok(curve)]
        first, last = curve.iloc[:1], curve.iloc[-1:]
        rungs = (f"{value:g}" if value == value else "" for value in first[["n_beta", "gamma"]].iloc[0].tolist())
        rows.append(
            (
                *(table.texts(first, name)[0] for name in ("quantity", "component", "method", "loss")),
                *rungs,
                *(f"{_value(end)} @ {table.steps(end)[0]}" for end in (first, last)),
                f"{len(good)} of {len(curve)}",
                *(table.texts(first, "revision") if several else ()),
            )
        )
    columns = ("quantity", "component", "method", "loss", "n_beta", "gamma", "first @ step", "last @ step", "ok")
    columns += ("revision",) if several else ()
    more = by_curve.ngroups - len(rows)
    note = (
        f"{more} more curves: narrow with --component or --quantities, or write all with --out FILE.csv" if more else ""
    )
    return Table("trajectories", f"{by_curve.ngroups} curves", columns, tuple(rows), note)


def _share(one: Group) -> str:
    return str(table.Measured(one.selective, one.stderr)) if one.clear else NONE


def _cells(one: Correlation) -> tuple[str, str, str, str]:
    if not one.defined:
        return (NONE, NONE, NONE, str(one.n))
    chance = NONE if np.isnan(one.p) else f"{one.p:.2g}"
    return (f"{one.rho:+.2f}", f"{one.low:+.2f} to {one.high:+.2f}", chance, str(one.n))


def _span(values: "np.ndarray[Any, np.dtype[np.float64]]") -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return NONE
    low, high = (f"{end:.3g}" if abs(end) < 1e3 else f"{end:.0f}" for end in (known.min(), known.max()))
    return low if low == high else f"{low} to {high}"


def _steps(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"


def _value(row: pd.DataFrame) -> str:
    value = table.measured(row)
    return str(value) if value.value == value.value else NONE
