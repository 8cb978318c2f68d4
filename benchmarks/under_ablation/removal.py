"""What removing a unit of reduced-rank regression changes, and the LLC of one unit's weights."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count, islice
from math import sqrt

import torch

from benchmarks.truth.smooth_points import around, at_a_smooth_point, softest
from benchmarks.under_ablation.misses import Off, verdict, within
from llc_lightning.exact import reduced_rank_coefficient, unit_value
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.ablated_llc.plan import AblatedLLCPlan
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.measure.measurements import measure
from llc_lightning.measure.snapshot import Snapshot

SIZES = ((4, 3, 4, 2), (4, 4, 4, 2), (5, 3, 5, 1), (4, 2, 4, 2), (5, 3, 5, 3), (6, 2, 4, 2))
"""Inputs, hidden units, outputs, rank."""
STRENGTHS = (0.0, 0.05, 0.45, 2.0, 4.5, 12.5, 20.0, 100.0, 500.0)
"""n_beta times what ablating a unit costs."""
REMOVAL = AblatedLLCPlan(
    components=("one[0]",),
    methods=("zero",),
    n_beta=(1e4,),
    gamma=1.0,
    settings=ChainSettings(chains=32, burn_in=600, draws=900),
)
STEEP = 1000.0
"""A point is smooth where every direction that the data hold is held so much more firmly than by the localisation."""
CURVE = LLCPlan(
    components=("one[0]",), n_beta=(1000.0,), gamma=1.0, settings=ChainSettings(chains=32, burn_in=500, draws=2000)
)


def removal(seeds: int) -> bool:
    """Prints what removing a unit of reduced-rank regression does to the LLC, and the LLC of one unit's weights."""
    chains = REMOVAL.settings
    print(f"\n## Removing a unit of reduced-rank regression: n_beta 1e4, gamma 1, smooth points, {seeds} seeds of each")
    print(
        f"{chains.chains} chains x ({chains.burn_in} + {chains.draws}); asked: >= 90 % within 2 errors, all within 3.5,"
    )
    print("errors <= .15, <= 5 CPU s a case")
    print(f"{'size, rank':14}{'change':>7}{'mean':>8}{'within 2':>9}{'furthest':>9}{'error <=':>9}{'CPU s':>6}")
    kept = [_removed(size, seeds) for size in SIZES]
    print("\n## The LLC of one unit's weights, 4 inputs and outputs: n_beta 1000, gamma 1; asked: within 3 errors")
    print(f"{'n_beta dL':>9}{'exact':>8}{'LLC':>8}{'error':>7}{'off by':>7} errors")
    kept += [_unit(cost) for cost in STRENGTHS]
    return all(kept)


def exact_change(size: tuple[int, int, int, int]) -> float:
    """Returns by how much the coefficient changes when a unit is removed, redundant or needed.

    Example:
        >>> exact_change((4, 3, 4, 2)), exact_change((4, 2, 4, 2))
        (-1.0, -2.5)
    """
    inputs, hidden, outputs, rank = size
    whole = reduced_rank_coefficient(inputs, hidden, outputs, rank=rank).value
    return float(reduced_rank_coefficient(inputs, hidden - 1, outputs, rank=min(rank, hidden - 1)).value - whole)


def _removed(size: tuple[int, int, int, int], seeds: int) -> bool:
    change, off, seconds = exact_change(size), list[Off](), list[float]()
    for at in islice(smooth(size), seeds):
        started = time.process_time()
        rows = measure(REMOVAL, at).rows
        seconds.append(time.process_time() - started)
        off += [Off.of(row, change) for row in rows if row.quantity == "llc_shift"]
    mean, furthest = change + sum(one.miss for one in off) / len(off), max(one.errors for one in off)
    share, error, cost = within(off, 2), max(one.stderr for one in off), sum(seconds) / len(seconds)
    kept = share >= 0.9 and furthest <= 3.5 and error <= 0.15 and cost <= 5
    told = f"{share:9.0%}{furthest:9.2f}{error:9.3f}{cost:6.1f}"
    print(f"{size!s:14}{change:7.1f}{mean:8.3f}{told}{verdict(kept)}", flush=True)
    return kept


def smooth(size: tuple[int, int, int, int]) -> Iterator[Snapshot]:
    """Yields nets that are at smooth points with the unit and without it, by their seeds."""
    ((n_beta,), (address,)) = REMOVAL.n_beta, REMOVAL.components
    for seed in count():
        at = at_a_smooth_point(*size, seed=seed)
        if n_beta * softest(at, address, n_beta=n_beta) >= STEEP * REMOVAL.gamma:
            yield at


def _unit(cost: float) -> bool:
    """Prints the LLC of the weights of a unit that costs ``cost / n_beta`` to ablate, beside another that is in use."""
    (n_beta,) = CURVE.n_beta
    strength = sqrt(2 * cost / n_beta)
    exact = unit_value(4, 4, strength=strength, n_beta=n_beta, gamma=CURVE.gamma)
    left, right = (torch.eye(4, 2, dtype=torch.float64) for _ in range(2))
    sizes = torch.tensor([strength, 1.0], dtype=torch.float64).sqrt()
    (row,) = (one for one in measure(CURVE, around((right * sizes).T, left * sizes)).rows if one.quantity == "llc")
    off = Off.of(row, exact)
    kept = off.errors <= 3
    print(f"{cost:9g}{exact:8.3f}{row.value:8.3f}{row.stderr:7.3f}{off.errors:7.2f}{verdict(kept)}", flush=True)
    return kept
