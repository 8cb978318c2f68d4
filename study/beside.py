"""What the page of the findings needs beside the answers: sides, peaks, values before, and errors held to a repeat."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from llc_lightning.analysis import across, revisions, table
from llc_lightning.analysis.across import Measurements
from llc_lightning.analysis.phases import Led
from llc_lightning.report.answers.base import between
from llc_lightning.report.cells import NONE, Table
from study.parts import AGAIN

_SCRUBBED = re.compile(r"(resample)\(label=(\w+)\)")
"""The method that takes an activation from another example with the same label, and what it does without a label."""
_PAIRED = ["step", "kind", "component", "method", "n_beta", "gamma"]
"""What two measurements of the same have in common."""


def beside(runs: Sequence[Measurements]) -> list[Table]:
    """Returns the tables of these runs that have a row, of the newest revision of each measurement."""
    newest = [replace(run, rows=revisions.newest(run.rows)) for run in runs]
    made = (leads(across.led_over(newest)), peaks(newest), controls(newest), scrubbed(newest), repeats(newest))
    return [one for one in made if one.rows]


def controls(runs: Sequence[Measurements]) -> Table:
    """Returns of each run the LLC that ablations are held against, and the wrLLC of the ablated components."""
    rows: list[tuple[str, ...]] = []
    for run in runs:
        shifted = table.first_replicate(table.select(run.rows, quantity="llc_shift"))
        for (step, n_beta, gamma), here in table.by(shifted, "step", "n_beta", "gamma"):
            at = {"step": step, "n_beta": n_beta, "gamma": gamma}
            control = table.select(run.rows, quantity="llc_ablated", component="", **at)
            ablated = table.distinct(here, "component")
            own = table.select(run.rows, quantity="llc", step=step, component=ablated)
            told = f"{table.measured(control)} ({table.texts(control, 'status')[0]})" if len(control) else NONE
            rows.append((run.net, run.name, f"{n_beta:g}, {gamma:g}", told, *_nearest(own, n_beta, gamma)))
    head = ("net", "run", "n_beta, gamma", "LLC before (status)", "wrLLC of the ablated, every estimate", "at", "ok")
    note = (
        "LLC before: of the whole model, re-optimised, ± one standard error, which every change of the run is held "
        "against. wrLLC: of the components that were ablated, around the trained weights, replicates too, at the "
        "resolution nearest in n_beta, then gamma."
    )
    return Table("controls", "What changes are held against, run by run", head, tuple(rows), note)


def leads(found: Sequence[tuple[Measurements, Led]]) -> Table:
    """Returns of each run to which side the ratios of steps lie, and in how many a lead of two could not be seen."""
    by_run: dict[tuple[str, str], list[Led]] = {}
    for run, one in found:
        by_run.setdefault((run.net, run.name), []).append(one)
    rows = tuple(
        (
            *(*of, str(len(here)), str(sum(one.ratio < 1 for one in here)), str(sum(one.ratio > 1 for one in here))),
            *(str(sum(bool(np.isnan(one.ratio)) for one in here)), str(sum(map(_hides_two, here)))),
        )
        for of, here in by_run.items()
    )
    head = ("net", "run", "dated", "ratio below 1", "above 1", "no ratio", "a lead of two hidden")
    note = (
        "Ratio: the step at which the wrLLC of a component is half way, over that at which the curve of all points "
        "expects it from the effect; below 1 the LLC is first. A lead of two hidden: without a ratio, or with an "
        "interval that reaches from its ratio to twice that or farther."
    )
    return Table("leads", "To which side the components of a run lean", head, rows, note)


def peaks(runs: Sequence[Measurements]) -> Table:
    """Returns of each run how far the LLC of the whole net goes, and where it ends."""
    rows: list[tuple[str, ...]] = []
    for run in runs:
        whole = table.first_replicate(table.full_llc(run.rows))
        for (n_beta, gamma), unsorted in table.by(whole, "n_beta", "gamma"):
            path = unsorted.loc[np.isfinite(table.numbers(unsorted, "value"))].sort_values("step")
            if len(path) > 2:
                values = table.numbers(path, "value")
                top = int(np.abs(values - values[0]).argmax())
                steps = [str(step) for step, ok in zip(path["step"], table.ok(path), strict=True) if not ok]
                told = (_at(path, one) for one in (0, top, -1))
                rows.append((run.net, run.name, f"{n_beta:g}, {gamma:g}", *told, ", ".join(steps) or NONE))
    head = ("net", "run", "n_beta, gamma", "first", "farthest from it", "last", "flagged at steps")
    note = "The LLC of the whole net around its trained weights, ± one standard error, with its step and status."
    return Table("peaks", "How far the LLC of the whole net goes", head, tuple(rows), note)


def scrubbed(runs: Sequence[Measurements]) -> Table:
    """Returns what components cost and change that come from another example, any or one with the same label."""
    rows: list[tuple[str, ...]] = []
    for run in runs:
        net, same = run.net.partition(AGAIN)[0], [one for one in runs if _of(one) == _of(run)]
        last = run.rows.loc[np.equal(table.numbers(run.rows, "step"), run.rows["step"].max())]
        known = table.select(last, quantity=("ablation_effect", "llc_shift"), loss="train")
        for found in filter(None, map(_SCRUBBED.fullmatch, sorted(table.distinct(known, "method")))):
            method, plain, label = found.group(), *found.groups()
            for component in table.natural(table.distinct(table.select(known, method=method), "component")):
                one = {"component": component, "loss": "train"}
                effects = [
                    _told(table.select(last, quantity="ablation_effect", method=each, **one))
                    for each in (plain, method)
                ]
                here = table.select(last, quantity="llc_shift", method=method, **one)
                at = {name: table.numbers(here, name)[-1] for name in ("n_beta", "gamma")} if len(here) else {}
                there = [
                    table.select(other.rows, quantity="llc_shift", method=plain, **one, **at) for other in same if at
                ]
                shifts = (next((_told(each) for each in there if len(each)), NONE), _told(here))
                rows.append((net, run.name, component, label, *effects, *shifts))
    head = ("net", "run", "component", "label", *_beside("loss"), *_beside("LLC"))
    note = (
        "Causal scrubbing: the component comes from another example, any or one with the same label, at the last step; "
        "a status where it is not ok. By the hypothesis that it tells the label alone, the same label costs nothing. "
        "Loss: by how much it rises at the trained weights, in its unit. LLC: the change of the rest, re-optimised, by "
        "the part of the same net and seed that has it."
    )
    return Table("scrubbed", "What hypotheses of a label explain", head, tuple(rows), note)


def repeats(runs: Sequence[Measurements]) -> Table:
    """Returns how far measurements of the same lie apart, in units of the error of their difference."""
    apart: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        llc = table.select(run.rows, quantity="llc", kind=table.unit_kind(run.rows) or "", loss="train")
        first, second = (llc.loc[np.equal(table.replicates(llc), which)] for which in (0, 1))
        pairs = [(run.net, "wrLLC, replicates", first, second)]
        plain, also, _ = run.net.partition(AGAIN)
        if also:
            before = [one for one in runs if one.net == plain and _seed(one) == _seed(run)]
            old, new = ([table.select(one.rows, quantity="llc_shift") for one in each] for each in (before, [run]))
            pairs += [(run.net, "changes by ablation, beside the first", one, new[0]) for one in old]
        for net, what, one, other in pairs:
            apart.setdefault((net, what), []).extend(_apart(one, other).tolist())
    rows = tuple(
        (net, what, str(len(z)), *_spread(np.array(z)), f"{max(map(abs, z)):.1f}")
        for (net, what), z in apart.items()
        if z
    )
    head = ("net", "what", "pairs", "apart", "chi squared", "by chance", "largest")
    note = (
        "Pairs: at the last step, both ok. Apart: the root of the mean square of their difference in units of its "
        "standard error, 1 where errors are right, with its interval of 95 %; by chance: how often right errors, of "
        "infinitely many chains, give as much. Both take the pairs as independent, which those of one run are not: "
        "they share random numbers and, of changes, the model before."
    )
    return Table("repeats", "Whether the errors hold when the same is measured twice", head, rows, note)


def _hides_two(one: Led) -> bool:
    return not one.high < 2 * one.ratio


def _nearest(own: pd.DataFrame, n_beta: float, gamma: float) -> tuple[str, str, str]:
    """Returns the ends of the values by hook point at the nearest resolution, that resolution, and how many are ok."""
    known = own.loc[np.isfinite(table.numbers(own, "value"))]
    rungs = [rung for rung, _ in table.by(known, "n_beta", "gamma")]
    if not rungs:
        return NONE, NONE, NONE
    at = min(rungs, key=lambda one: [abs(np.log(one[i] / (n_beta, gamma)[i])) for i in (0, 1)])
    here = table.select(known, n_beta=at[0], gamma=at[1])
    points = here.assign(point=here["component"].str.partition("[")[0])
    ends = [(name, between(table.numbers(part, "value").tolist(), ".3g")) for name, part in table.by(points, "point")]
    values = "; ".join(f"{name} {told}" if len(ends) > 1 else told for name, told in ends)
    counts = "; ".join(f"{int(table.ok(part).sum())} of {len(part)}" for _, part in table.by(points, "point"))
    return values, f"{at[0]:g}, {at[1]:g}", counts


def _at(path: pd.DataFrame, place: int) -> str:
    status = table.texts(path, "status")[place]
    return f"{table.measured(path, place)} ({table.numbers(path, 'step')[place]:g}, {status})"


def _beside(what: str) -> tuple[str, str]:
    return f"{what}: any other", f"{what}: same label"


def _told(rows: pd.DataFrame) -> str:
    """Returns the newest value of some rows, with its status where that is not ok."""
    if not len(rows):
        return NONE
    status = "" if table.ok(rows)[-1] else f" ({table.texts(rows, 'status')[-1]})"
    return f"{table.measured(rows)}{status}"


def _of(run: Measurements) -> tuple[str, int]:
    """Returns what was trained: the net and its seed."""
    return run.net.partition(AGAIN)[0], _seed(run)


def _seed(run: Measurements) -> int:
    return int(table.numbers(run.rows, "seed")[0])


def _apart(one: pd.DataFrame, other: pd.DataFrame) -> Float[np.ndarray, "pair"]:
    """Returns the differences of what both have at the last step, ok in both, over the errors of these."""
    good = [rows.loc[table.ok(rows) & (table.numbers(rows, "stderr") > 0)] for rows in (one, other)]
    pairs = good[0].merge(good[1], on=_PAIRED, suffixes=("", "_again"))
    pairs = pairs.loc[np.equal(table.numbers(pairs, "step"), one["step"].max())]
    error = np.hypot(table.numbers(pairs, "stderr"), table.numbers(pairs, "stderr_again"))
    return (table.numbers(pairs, "value") - table.numbers(pairs, "value_again")) / error


def _spread(z: Float[np.ndarray, "pair"]) -> tuple[str, str, str]:
    """Returns the root of the mean square with its interval, the sum of squares, and how often chance gives more."""
    total = float(z @ z)
    low, high = np.sqrt(total / stats.chi2.ppf([0.975, 0.025], len(z))).tolist()
    return (
        f"{np.sqrt(total / len(z)):.2f} [{low:.2f}, {high:.2f}]",
        f"{total:.1f}",
        f"{stats.chi2.sf(total, len(z)):.2g}",
    )
