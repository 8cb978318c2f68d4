"""The LLC under ablation where the truth is known: what removing a unit changes, and whether the numbers close.

    python -m benchmarks under_ablation               all tables
    python -m benchmarks under_ablation removal --seeds 2

Prints a line for every case beside what is asked of it, and ends with 1 where something is missed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from math import inf, isfinite, sqrt

import torch

from benchmarks.truth.smooth_points import around, at_a_smooth_point, softest
from llc_lightning.exact import reduced_rank_coefficient, unit_value
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.ablated_llc.plan import AblatedLLCPlan
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.measure.measurements import measure
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row

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


@dataclass(frozen=True)
class Off:
    """By how much a measured value is off what it must be, and its standard error."""

    miss: float
    stderr: float

    @classmethod
    def of(cls, row: Row, wanted: float = 0.0) -> Off:
        """Returns it of a row."""
        return cls(row.value - wanted, row.stderr)

    @property
    def errors(self) -> float:
        """How many errors it is off; infinitely many where it is no number, or off without an error."""
        if self.miss == 0:
            return 0.0
        return abs(self.miss) / self.stderr if isfinite(self.miss) and self.stderr > 0 else inf


def within(some: Iterable[Off], errors: float) -> float:
    """Returns the share of values that are off by at most so many errors."""
    held = [one.errors <= errors for one in some]
    return sum(held) / len(held)


def main(arguments: list[str]) -> int:
    """Prints the tables with these names, or all; returns 1 where something is missed."""
    tables: dict[str, Callable[[int], bool]] = {"removal": removal}
    parser = argparse.ArgumentParser(prog="python -m benchmarks under_ablation")
    parser.add_argument("tables", nargs="*", choices=[*tables, []], metavar="TABLE", help=", ".join(tables))
    parser.add_argument("--seeds", type=int, default=20, help="of every size in the table `removal` (default: 20)")
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    kept = [tables[name](given.seeds) for name in given.tables or tables]
    return 0 if all(kept) else 1


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


def _removed(size: tuple[int, int, int, int], seeds: int) -> bool:
    inputs, hidden, outputs, rank = size
    whole = reduced_rank_coefficient(inputs, hidden, outputs, rank=rank).value
    left = reduced_rank_coefficient(inputs, hidden - 1, outputs, rank=min(rank, hidden - 1)).value
    change, off, seconds = float(left - whole), list[Off](), list[float]()
    for at in islice(_smooth(size), seeds):
        started = time.process_time()
        rows = measure(REMOVAL, at).rows
        seconds.append(time.process_time() - started)
        off += [Off.of(row, change) for row in rows if row.quantity == "llc_shift"]
    mean, furthest = change + sum(one.miss for one in off) / len(off), max(one.errors for one in off)
    share, error, cost = within(off, 2), max(one.stderr for one in off), sum(seconds) / len(seconds)
    kept = share >= 0.9 and furthest <= 3.5 and error <= 0.15 and cost <= 5
    told = f"{share:9.0%}{furthest:9.2f}{error:9.3f}{cost:6.1f}"
    print(f"{size!s:14}{change:7.1f}{mean:8.3f}{told}{_verdict(kept)}", flush=True)
    return kept


def _smooth(size: tuple[int, int, int, int]) -> Iterator[Snapshot]:
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
    print(f"{cost:9g}{exact:8.3f}{row.value:8.3f}{row.stderr:7.3f}{off.errors:7.2f}{_verdict(kept)}", flush=True)
    return kept


def _verdict(kept: bool) -> str:
    return "" if kept else " MISSED"
