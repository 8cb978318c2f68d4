"""One estimate of one case, and what came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from functools import partial
from itertools import product
from types import MappingProxyType
from typing import Any, TypeAlias

import torch

from benchmarks.truth.case import Case
from benchmarks.truth.collection import all_cases
from llc_lightning import estimate_llc
from llc_lightning.runtime.errors import LLCLightningError
from llc_lightning.sampling.base import SAMPLERS

_STDERRS, _SHARE = 4.0, 0.05
_DIGITS = 6
REFUSED = "refused"
"""Status of what the sampler refuses to estimate, such as minibatches by one that needs the full batch."""


class Verdict(StrEnum):
    """What a status is worth beside the exact value."""

    RIGHT = "right"
    FALSE_ALARM = "flagged, though right"
    ALARM = "flagged and wrong"
    SILENT = "SILENT"
    REFUSED = "refused"


@dataclass(frozen=True)
class Row:
    """An estimate of a case; the exact value stands beside it, so that a stored row can be judged by itself."""

    case: str
    sampler: str
    seed: int
    exact: float
    error: float
    value: float
    stderr: float
    low: float
    high: float
    """Of the 90 % interval."""
    status: str
    seconds: float
    """Of CPU."""

    @property
    def wrong(self) -> bool:
        """Whether it is off by more than 4 standard errors and 5 % of the exact value; a failed value is."""
        away = abs(self.value - self.exact)
        return not (away <= _STDERRS * math.hypot(self.stderr, self.error) or away <= _SHARE * abs(self.exact))

    @property
    def ok(self) -> bool:
        """Whether nothing is said against the value."""
        return self.status == "ok"

    @property
    def covered(self) -> bool:
        """Whether the 90 % interval holds the exact value."""
        return self.low <= self.exact <= self.high

    @property
    def verdict(self) -> Verdict:
        """What came of it."""
        if self.status == REFUSED:
            return Verdict.REFUSED
        if self.wrong:
            return Verdict.SILENT if self.ok else Verdict.ALARM
        return Verdict.RIGHT if self.ok else Verdict.FALSE_ALARM

    @property
    def key(self) -> tuple[str, str, int]:
        """What it is an estimate of."""
        return self.case, self.sampler, self.seed


@dataclass(frozen=True)
class Found:
    """What a package says of a case: the value, its error, a 90 % interval, and whether to trust it."""

    value: float
    stderr: float
    low: float
    high: float
    status: str


Settings: TypeAlias = Mapping[str, int]
"""How many chains, steps of burn-in and draws, where it is not what the case or the defaults say."""
Estimator: TypeAlias = Callable[[Case, int, Settings], Found]
"""What estimates a case under a seed."""


def ours(sampler: str, case: Case, seed: int, settings: Settings) -> Found:
    """Returns the estimate of ``estimate_llc`` by this sampler, at the defaults but for what belongs to the case."""
    try:
        record = estimate_llc(
            case.loss, dict(case.params), case.data, n_beta=case.n_beta, gamma=case.gamma, seed=seed,
            sampler=sampler, **{**case.settings, **settings},
        )  # fmt: skip
    except LLCLightningError:
        return Found(math.nan, math.nan, math.nan, math.nan, REFUSED)
    return Found(record.value, record.stderr, *record.interval(), record.status)


ESTIMATORS: dict[str, Estimator] = {sampler: partial(ours, sampler) for sampler in SAMPLERS.names()}
"""By the name that a row calls its sampler; another package is one more entry."""


def estimated(
    names: Iterable[str],
    samplers: Iterable[str],
    seeds: int,
    *,
    jobs: int = 1,
    settings: Settings = MappingProxyType({}),
) -> Iterator[Row]:
    """Yields the estimates of every case by every sampler under every seed, on that many processes."""
    asked = [(*one, dict(settings)) for one in product(names, samplers, range(seeds))]
    if jobs == 1:
        yield from map(_estimate, asked)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_estimate, asked, chunksize=max(1, seeds))


def _estimate(asked: tuple[str, str, int, Settings]) -> Row:
    return estimate(*asked)


def estimate(name: str, sampler: str, seed: int, settings: Settings = MappingProxyType({})) -> Row:
    """Returns the row of a case, by its name among all cases."""
    torch.set_num_threads(1)
    case = all_cases()[name]
    started = time.process_time()
    found = ESTIMATORS[sampler](case, seed, settings)
    seconds = time.process_time() - started
    return Row(name, sampler, seed, case.exact, case.error, **vars(found), seconds=seconds)


def to_plain(rows: Iterable[Row]) -> list[list[Any]]:
    """Returns the rows as lists of plain values, short enough to store."""
    return [[_short(value) for value in asdict(row).values()] for row in rows]


def from_plain(plain: Iterable[list[Any]]) -> list[Row]:
    """Returns the rows again."""
    return [Row(*(math.nan if value is None else value for value in row)) for row in plain]


def columns() -> list[str]:
    """Returns the names of the values of a plain row."""
    return [field.name for field in fields(Row)]


def _short(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
