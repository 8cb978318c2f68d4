"""A choice of resolution and settings, and the first one for a checkpoint that nothing is known of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from llc_lightning.llc.calibrate.directions import Directions, directions
from llc_lightning.llc.settings import ChainSettings, Resolution
from llc_lightning.runtime.batches import Batch, LossFn, Params, n_examples
from llc_lightning.runtime.errors import SettingError
from llc_lightning.sampling.base import SAMPLERS

EXAMPLES_PER_N_BETA = 10
"""With fewer examples the minimum of their mean loss is too far from that of the population."""

_OPTIONS = ("sampler", "step_size", "step_fraction", "preconditioner", "chains", "burn_in", "draws", "batch_size")
_DISTANCE = 0.25
_RELAXATIONS = 10
_DRAWS = 200
_SHARE = 10
"""Of the budget, for the longest trial: its two checks are twice as long each, and shorter trials went before."""
_FEW_EXAMPLES, _MANY_EXAMPLES = 32, 128


@dataclass(frozen=True)
class Choice:
    """Where an LLC is meant, and how the chains are run."""

    resolution: Resolution
    settings: ChainSettings

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of ``LLCCallback`` and ``estimate_llc`` that stand for this choice.

        The step size stays automatic, unless it was chosen: it follows the curvature of each snapshot.
        """
        at, settings = self.resolution, self.settings
        return {"n_beta": at.n_beta, "gamma": at.gamma, **{name: getattr(settings, name) for name in _OPTIONS}}

    @property
    def cost(self) -> int:
        """The steps of all chains together."""
        return self.settings.chains * self.settings.steps

    def longer(self) -> Choice:
        """Returns twice the burn-in and draws."""
        settings = self.settings
        return replace(self, settings=replace(settings, burn_in=2 * settings.burn_in, draws=2 * settings.draws))

    def finer(self) -> Choice:
        """Returns half the step, and twice the steps to go as far."""
        longer = self.longer()
        return replace(longer, settings=replace(longer.settings, step_fraction=self.settings.fraction / 2))

    def at_step(self, step_size: float) -> Choice:
        """Returns the choice with a step size in place of the automatic one."""
        return replace(self, settings=replace(self.settings, step_size=step_size))

    def larger_batches(self, times: int, n_examples: int) -> Choice:
        """Returns so many times the examples per step, or all there are."""
        size = times * (self.settings.batch_size or n_examples)
        return replace(self, settings=replace(self.settings, batch_size=size).on(n_examples))

    def tighter(self, times: float) -> Choice:
        """Returns a stronger localisation."""
        at = self.resolution
        return replace(self, resolution=Resolution(at.n_beta, times * at.gamma))

    def warmer(self, times: float) -> Choice:
        """Returns a lower n_beta, at which the loss counts for less."""
        at = self.resolution
        return replace(self, resolution=Resolution(at.n_beta / times, at.gamma))


def first_batch(sampler: str) -> int:
    """Returns how many examples per step to begin with: few where the noise that they make is known, and told."""
    return _FEW_EXAMPLES if SAMPLERS.get(sampler).facts.noise_known else _MANY_EXAMPLES


def first_choice(
    loss_fn: LossFn,
    params: Params,
    data: Batch,
    *,
    n_beta: float | None,
    gamma: float | None,
    sampler: str,
    preconditioner: str,
    chains: int,
    batch_size: int | None,
    moved: Mapping[str, Tensor] | None,
    budget: int,
    seed: int,
) -> Choice:
    """Returns what to try first.

    n_beta is ``n / ln n`` (Watanabe 2013, arXiv:1208.6338), or a tenth of the examples where that is less. gamma is the
    smallest at which, in the quadratic approximation at w*, the rms distance of the weights is a quarter of their norm
    and the slowest direction relaxes ten times within the budget.

    Raises:
        SettingError: If n_beta is not given and there are too few examples to choose it.
    """
    n = n_examples(data)
    if n_beta is None:
        if n < 2 * EXAMPLES_PER_N_BETA:
            raise SettingError(f"n_beta cannot be chosen from {n} examples; give it.")
        n_beta = min(n / math.log(n), n / EXAMPLES_PER_N_BETA)
    facts = SAMPLERS.get(sampler).facts
    settings = ChainSettings(
        sampler=sampler, step_fraction=facts.fraction, preconditioner=preconditioner, chains=chains,
        burn_in=_DRAWS // 2, draws=_DRAWS, batch_size=None if facts.full_batch else batch_size,
    ).on(n)  # fmt: skip
    if gamma is None:
        around = directions(loss_fn, params, data, moved, seed=seed)
        gamma = _localisation(around, n_beta, facts.fraction * (budget / chains / _SHARE) / _RELAXATIONS)
    return Choice(Resolution(float(n_beta), float(gamma)), settings)


def _localisation(around: Directions, n_beta: float, condition: float) -> float:
    """Returns the smallest gamma that is local and mixes.

    Args:
        around: The curvature at w*; a norm of 0 sets no limit to the distance.
        n_beta: Inverse temperature times sample size.
        condition: The largest ratio of the fastest to the slowest relaxation.
    """
    from scipy.optimize import brentq

    spectrum, dimension, norm = around.spectrum, around.dimension, around.norm
    nodes, weights = n_beta * spectrum.nodes[0, 0].clamp(min=0), spectrum.weights[0, 0]
    largest = nodes.max().item()
    if not math.isfinite(largest):
        return 1.0  # the trial will say what is wrong
    mixing = max(largest / condition, 1e-12 * max(largest, 1.0))
    far2 = (_DISTANCE * norm) ** 2

    def too_far(gamma: float) -> float:
        return dimension * (weights / (nodes + gamma)).sum().item() - far2

    local = mixing
    if norm > 0 and too_far(mixing) > 0:  # with dimension / far2 also flat directions are near enough
        local = brentq(too_far, mixing, max(mixing, dimension / far2))
    return float(f"{local:.2g}")
