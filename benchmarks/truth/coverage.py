"""How often the 90 % intervals hold the exact value: ``python -m benchmarks truth --coverage``.

The repeats run together, as one large set of chains with the step size of an estimate by itself: every chain has
streams of its own, so that a set of eight of them has the bits of an estimate under its replicate.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import t

from benchmarks.truth.case import Case
from benchmarks.truth.collection import all_cases
from llc_lightning import LLCRecord, estimate_llc
from llc_lightning.llc.draws import error_of

SETS, CHAINS, ALONE = 400, 8, 6
"""Repeats, the chains of each, and how many estimates by themselves tell the status."""
LEVEL = 0.9
CASES = (
    "catalogue: quadratic, three scales",
    "catalogue: quadratic, six scales",
    "catalogue: reduced rank 2 2 2 of 0, n_beta 100",
    "known failures: |w1 w2|, n_beta 100",
    "slow directions: slow in 2: 1, 1e-2",
    "rank-deficient: 10 of rank 5",
    "sums: (w1 + .. + w10)^4",
    "valleys: banana at angles",
    "kinks: relu(w)^2 / 2, n_beta 100",
    "kinks: |w|_1 in 5, n_beta 100",
    "crossings: (w1 w2)^2, n_beta 1000",
    "minibatches: noise: Gaussian of 0.3, batch 16",
    "minibatches: noise: Student 2.2, batch 16",
    "minibatches: noise: 2 of 4096 of 3, batch 16",
    "minibatches: curvature: uniform, batch 8",
    "minibatches: curvature: Pareto 1.5, batch 16",
    "minibatches: curvature: Pareto 3, batch 32",
    "minibatches: covariates: Student 2.2, batch 8",
    "minibatches: covariates: Student 3, batch 16",
)
"""Cheap ones of each kind, among them minibatches with heavy tails."""
HEAD = f"{'':52}{'covered':>9}{'mean':>10}{'exact':>10}{'stderr':>9}{'SD':>9}{'CPU s':>7}  statuses of {ALONE}"


@dataclass(frozen=True)
class Coverage:
    """How often the intervals of sets of chains hold the exact value, and what an estimate by itself says."""

    case: str
    covered: float
    mean: float
    exact: float
    stderr: float
    """The mean of those of the sets."""
    spread: float
    """The standard deviation of the values of the sets."""
    seconds: float
    """Of CPU."""
    statuses: tuple[str, ...]

    def __str__(self) -> str:
        told = ", ".join(f"{status} {self.statuses.count(status)}" for status in dict.fromkeys(self.statuses))
        return (
            f"{self.case[:51]:52}{self.covered:9.3f}{self.mean:10.4g}{self.exact:10.4g}{self.stderr:9.2g}"
            f"{self.spread:9.2g}{self.seconds:7.1f}  {told}"
        )


def coverages(names: Iterable[str], *, sets: int = SETS) -> Iterator[Coverage]:
    """Yields that of every case."""
    for name in names:
        torch.set_num_threads(1)
        started, case = time.process_time(), all_cases()[name]
        alone = [estimate(case, replicate=replicate) for replicate in range(ALONE)]
        steps = sorted(record.step_size for record in alone)
        together = estimate(case, chains=sets * CHAINS, step_size=steps[len(steps) // 2])
        values, errors = values_and_errors(together, sets)
        reach = float(t.ppf((1 + LEVEL) / 2, CHAINS - 1))
        yield Coverage(
            name, float((np.abs(values - case.exact) <= reach * errors).mean()), float(values.mean()), case.exact,
            float(errors.mean()), float(values.std(ddof=1)), time.process_time() - started,
            tuple(record.status for record in alone),
        )  # fmt: skip


def values_and_errors(record: LLCRecord, sets: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the value and the standard error of every set of chains, [set]."""
    scaled = record.n_beta * record.excess[:, record.settings.burn_in :].double().numpy()
    parts = np.split(scaled, sets)
    return np.array([part.mean() for part in parts]), np.array([error_of(part) for part in parts])


def estimate(case: Case, **settings: float) -> LLCRecord:
    """Returns the estimate of a case, with settings in place of its own or the defaults."""
    return estimate_llc(
        case.loss, dict(case.params), case.data, n_beta=case.n_beta, gamma=case.gamma, **{**case.settings, **settings}
    )
