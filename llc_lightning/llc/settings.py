"""How chains are run: everything about an estimate but the weights, the data, the posterior and the seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from llc_lightning.runtime.errors import SettingError
from llc_lightning.sampling.base import SAMPLERS

PRECONDITIONERS = ("none", "hutchinson")
"""``hutchinson``: the constant diagonal ``1 / (n_beta max(D, 0) + gamma)``, D Hutchinson's estimate of diag H."""


@dataclass(frozen=True, kw_only=True)
class ChainSettings:
    """The settings of one estimate's chains.

    ``step_size`` is SGLD's ``eps``, or ``auto``: ``step_fraction`` over the largest curvature met. ``draws`` are kept
    per chain after ``burn_in``. ``batch_size`` None means the full batch. The curvature is measured on
    ``curvature_examples``.
    """

    sampler: str = "sgld"
    step_size: float | Literal["auto"] = "auto"
    step_fraction: float = 0.4
    preconditioner: str = "none"
    chains: int = 8
    draws: int = 500
    burn_in: int = 200
    batch_size: int | None = None
    curvature_examples: int = 4096

    def __post_init__(self) -> None:
        """Checks every range.

        Raises:
            SettingError: If a value is out of range.
        """
        SAMPLERS.get(self.sampler)
        if self.preconditioner not in PRECONDITIONERS:
            raise SettingError(
                f"unknown preconditioner {self.preconditioner!r}; use one of: {', '.join(PRECONDITIONERS)}."
            )
        if self.step_size != "auto":
            check_positive("step_size", self.step_size)
        check_positive("step_fraction", self.step_fraction)
        for name, least in (("chains", 1), ("draws", 1), ("burn_in", 0), ("curvature_examples", 1)):
            check_count(name, getattr(self, name), least)
        if self.batch_size is not None:
            check_count("batch_size", self.batch_size, 1)


def check_positive(name: str, value: object, *, zero: bool = False) -> None:
    """Raises a SettingError unless a number is finite and positive (or zero, where that is allowed)."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise SettingError(f"{name} is {value!r}; give a finite number.")
    if value < 0 or (value == 0 and not zero):
        raise SettingError(f"{name} is {value!r}; it must be {'at least 0' if zero else 'positive'}.")


def check_count(name: str, value: object, least: int) -> None:
    """Raises a SettingError unless a number is an integer of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SettingError(f"{name} is {value!r}; give an integer of at least {least}.")
