"""What is demanded of a calibrated estimate, and of the ones beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from llc_lightning.llc.record import LLCRecord
from llc_lightning.runtime.status import split

RHAT, ESS = 1.01, 400.0
"""The limits of Vehtari et al. 2021, arXiv:1903.08008: R-hat below, bulk effective sample size at least."""


@dataclass(frozen=True)
class Check:
    """One demand on a calibrated estimate, and how it was met."""

    name: str
    value: float
    limit: float
    passed: bool


Checks: TypeAlias = tuple[Check, ...]


def mixed(record: LLCRecord) -> Checks:
    """Returns the demands on one estimate by itself."""
    return (
        Check("R-hat", record.rhat, RHAT, record.rhat < RHAT),
        Check("ESS", record.ess, ESS, record.ess >= ESS),
        _faultless("reasons against it", record),
    )


def unchanged(name: str, record: LLCRecord, other: LLCRecord, tolerance: float) -> Checks:
    """Returns the demands on an estimate beside another one: much the same value, and no reason against it either."""
    change = abs(other.value - record.value) / (abs(record.value) or 1.0)
    return (
        Check(f"change at {name}", change, tolerance, change <= tolerance),
        _faultless(f"reasons against it at {name}", other),
    )


def passed(checks: Checks) -> bool:
    """Says whether every demand is met."""
    return all(check.passed for check in checks)


def _faultless(name: str, record: LLCRecord) -> Check:
    reasons = len(split(record.status))
    return Check(name, float(reasons), 0.0, not reasons)
