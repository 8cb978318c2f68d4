"""What is estimated at which resolution, and how chains are run: everything but the weights, the data and the seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from llc_lightning.llc.estimators import ESTIMATORS
from llc_lightning.runtime.errors import SettingError, at_least, not_negative, positive, unknown, unless_none

if TYPE_CHECKING:
    from torch import Tensor

    from llc_lightning.runtime.registry import Entry
    from llc_lightning.sampling.base import Sampler, SamplerFacts

_LARGEST = 3e38


@dataclass(frozen=True)
class Resolution:
    """The inverse temperature times sample size, and the localisation strength, at which an LLC is meant."""

    n_beta: float
    gamma: float

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            SettingError: If n_beta is not positive or gamma is negative.
        """
        positive(n_beta=self.n_beta)
        not_negative(gamma=self.gamma)
        for name, value in (("n_beta", self.n_beta), ("gamma", self.gamma)):
            if value > _LARGEST:
                raise SettingError(f"{name} is {value!r}; give at most {_LARGEST:g}, what single precision can hold.")


@dataclass(frozen=True)
class Restriction:
    """Of what one estimate is: the weights it moves, as masks by parameter name, or None for everything."""

    moved: Mapping[str, Tensor] | None


Part = Restriction
"""Its former name."""


PRECONDITIONERS = ("none", "hutchinson")
"""``hutchinson``: the constant diagonal ``1 / (n_beta max(D, 0) + gamma)``, D Hutchinson's estimate of diag H."""

# About 50 Hessian products, each as dear as two gradients, on this share of the examples that the chains evaluate.
_SHARE, _FEWEST, _MOST = 400, 16, 4096
_STEP_SHARE, _FEWEST_IN_STEPS, _MOST_IN_STEPS = 1000, 256, 512
_THOROUGH = 8


@dataclass(frozen=True, kw_only=True)
class ChainSettings:
    """The settings of one estimate's chains.

    ``step_size`` is SGLD's ``eps``, or ``auto``: ``step_fraction`` over the largest curvature met, None for what keeps
    the sampler's own bias small. ``draws`` are kept
    per chain after ``burn_in``. ``batch_size`` None means the full batch. ``estimator`` names the one whose value is
    reported first. ``box`` holds every weight within that distance of w*. The curvature is measured on
    ``curvature_examples``; ``auto`` takes as many as keep that a tenth or so of the work, and more
    where these leave open whether the Hessian is indefinite. The losses of
    ``watched_examples`` are recorded one by one, for the functional variance.
    """

    sampler: str = "lm"
    step_size: float | Literal["auto"] = "auto"
    step_fraction: float | None = None
    preconditioner: str = "none"
    chains: int = 8
    draws: int = 500
    burn_in: int = 200
    batch_size: int | None = None
    estimator: str = "mean"
    box: float | None = None
    curvature_examples: int | Literal["auto"] = "auto"
    watched_examples: int = 0

    def __post_init__(self) -> None:
        """Checks every range.

        Raises:
            SettingError: If a value is out of range.
        """
        sampler = self._sampler
        if self.preconditioner not in PRECONDITIONERS:
            raise SettingError(
                f"unknown preconditioner {self.preconditioner!r}; use one of: {', '.join(PRECONDITIONERS)}."
            )
        if self.preconditioner != "none" and not sampler.facts.preconditioned:
            raise SettingError(
                f"preconditioner is {self.preconditioner!r}, but {self.sampler} finds a diagonal of its own; use none."
            )
        _check_estimator(self.estimator)
        _check_not_word("step_size", self.step_size)
        if self.step_size != "auto":
            positive(step_size=self.step_size)
        if self.step_fraction is not None:
            positive(step_fraction=self.step_fraction)
        at_least(1, chains=self.chains, draws=self.draws)
        at_least(0, burn_in=self.burn_in, watched_examples=self.watched_examples)
        _check_not_word("curvature_examples", self.curvature_examples)
        if self.curvature_examples != "auto":
            at_least(1, curvature_examples=self.curvature_examples)
        at_least(1, **unless_none(batch_size=self.batch_size))
        if sampler.facts.full_batch and self.batch_size is not None:
            raise SettingError(
                f"batch_size is {self.batch_size}, but {self.sampler} compares losses of the full batch; use null "
                "(None in Python)."
            )
        if self.box is not None:
            positive(box=self.box)
            if sampler.facts.full_batch:
                raise SettingError(f"{self.sampler} is exact without a box, and not with one; leave box out.")

    @property
    def _sampler(self) -> Entry[type[Sampler], SamplerFacts]:
        from llc_lightning.sampling.base import SAMPLERS  # here, since readers of rows need no torch

        return SAMPLERS.get(self.sampler)

    @property
    def steps(self) -> int:
        """Steps of a chain, burn-in included."""
        return self.burn_in + self.draws

    @property
    def fraction(self) -> float:
        """What ``auto`` takes of the inverse largest curvature."""
        return self._sampler.facts.step_fraction if self.step_fraction is None else self.step_fraction

    def on(self, n_examples: int) -> ChainSettings:
        """Returns the settings for that many examples: a batch of as many or more is all of them."""
        large = self.batch_size is not None and self.batch_size >= n_examples
        return replace(self, batch_size=None) if large else self

    def curvature_size(self, n_examples: int, *, thorough: bool = False) -> int:
        """Returns on how many of the examples the curvature is measured: ``auto`` takes 8 times as many if thorough."""
        if self.curvature_examples != "auto":
            return min(self.curvature_examples, n_examples)
        evaluations = self.chains * self.steps * (self.batch_size or n_examples)
        size = max(_FEWEST, evaluations // _SHARE) * (_THOROUGH if thorough else 1)
        return min(n_examples, size, _MOST)

    def step_examples(self, n_examples: int) -> int:
        """Returns on how many of the examples largest eigenvalues and relaxations are measured, in many products."""
        evaluations = self.chains * self.steps * (self.batch_size or n_examples)
        return min(max(_FEWEST_IN_STEPS, evaluations // _STEP_SHARE), _MOST_IN_STEPS)


def _check_estimator(name: str) -> None:
    choices = [one for one, entry in ESTIMATORS.items() if entry.facts.may_be_value]
    if name in choices:
        return
    if name in ESTIMATORS:
        raise SettingError(
            f"estimator is {name!r}, which is reported beside the value; use one of: {', '.join(sorted(choices))}."
        )
    raise SettingError(unknown("estimator", name, choices))


def _check_not_word(name: str, value: object) -> None:
    if isinstance(value, str) and value != "auto":
        raise SettingError(f"{name} is {value!r}; give a number, or 'auto'.")
