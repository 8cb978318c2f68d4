"""What is demanded of a calibrated estimate, and of the ones beside it."""

import math
from dataclasses import dataclass
from typing import TypeAlias

from llc_lightning.llc.diagnostics.not_local import LOCAL_DISTANCE
from llc_lightning.llc.record import LLCRecord
from llc_lightning.runtime.status import split

RHAT, ESS = 1.01, 400.0
"""The limits of Vehtari et al. 2021, arXiv:1903.08008: R-hat below, bulk effective sample size at least."""


@dataclass(frozen=True)
class Check:
    """One demand on a calibrated estimate, and how it was met.

    ``said`` tells what was found and what is wanted; of the demand for a status of ``ok``, ``value`` is the number of
    reasons against it.
    """

    name: str
    value: float
    limit: float
    passed: bool
    said: str


Checks: TypeAlias = tuple[Check, ...]


def mixed(record: LLCRecord) -> Checks:
    """Returns the demands on one estimate by itself."""
    far = record.distance / record.model_norm if record.model_norm else 0.0
    local = f"the distance is {far:.2g} of the weights' norm, wanted {LOCAL_DISTANCE} or less"
    return (
        Check("R-hat", record.rhat, RHAT, record.rhat < RHAT, f"R-hat is {record.rhat:.4g}, wanted below {RHAT}"),
        Check("ESS", record.ess, ESS, record.ess >= ESS, f"ESS is {record.ess:.0f}, wanted {ESS:.0f} or more"),
        Check("locality", far, LOCAL_DISTANCE, far <= LOCAL_DISTANCE, local),
        _faultless("status", record),
    )


def unchanged(name: str, record: LLCRecord, other: LLCRecord, tolerance: float) -> Checks:
    """Returns the demands on an estimate beside another one: much the same value, and no reason against it either."""
    change = abs(other.value - record.value) / (abs(record.value) or 1.0)
    said = f"the change at {name} is {change:.1%}, wanted {tolerance:.2g} or less"
    first = Check(f"change at {name}", change, tolerance, change <= tolerance, said)
    return first, _faultless(f"status at {name}", other)


def not_tried(name: str, tolerance: float) -> Check:
    """Returns the demand on an estimate that there was no budget for."""
    return Check(f"change at {name}", math.nan, tolerance, False, f"the change at {name} is not known")


def passed(checks: Checks) -> bool:
    """Says whether every demand is met."""
    return all(check.passed for check in checks)


def _faultless(name: str, record: LLCRecord) -> Check:
    reasons = len(split(record.status))
    return Check(name, float(reasons), 0.0, not reasons, f"the {name} is {record.status}")
