"""How stiff the posterior is where the chains are when burn-in ends, and what follows for how far they settle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.batches import Batch
from llc_lightning.sampling.base import Posterior
from llc_lightning.sampling.curvature import Krylov
from llc_lightning.sampling.stacked import Stack, StackedLoss

_SIGNIFICANT = 2.0
_PROBES, _QUADRATURES, _PRODUCTS = 8, 4, 6
_WHOLE = 12
_FLAT = 3e-6
"""Share of the largest stiffness that single precision cannot tell from none."""


class Settling(NamedTuple):
    """What is predicted of the way to equilibrium, of each lane.

    ``unsettled`` is the share of the value that directions would still add. ``cold`` and ``cold_all`` are what the
    virial and the plain virial, of M = 1, are still short of, halved, each with the standard error of the prediction.
    ``heated`` is the share of the value that the step size adds, where all of them are.
    """

    unsettled: Float[Tensor, "lane"]
    cold: Float[Tensor, "lane"]
    cold_error: Float[Tensor, "lane"]
    cold_all: Float[Tensor, "lane"]
    cold_all_error: Float[Tensor, "lane"]


@dataclass
class Stiffness:
    """``B = P^1/2 (n_beta H + gamma) P^1/2`` where chains are when burn-in ends; P is the preconditioner, or 1.

    Args:
        stacked: The loss.
        posterior: What is sampled.
        metric: Gives P, [1 or chain, lane, *slice], or None for 1.
        batch: The examples that the Hessian is measured on.
        seed: The run seed.
    """

    stacked: StackedLoss
    posterior: Posterior
    metric: Callable[[], Stack | None]
    batch: Batch
    seed: int
    nodes: Float[Tensor, "chain lane node"] = field(default_factory=lambda: torch.zeros(0), init=False)
    weights: Float[Tensor, "chain lane node"] = field(default_factory=lambda: torch.zeros(0), init=False)
    """Of the trace of f(B)."""
    weighted: Float[Tensor, "chain lane node"] = field(default_factory=lambda: torch.zeros(0), init=False)
    """Of that of M f(B)."""
    pull: Float[Tensor, "chain lane"] = field(default_factory=lambda: torch.zeros(0), init=False)
    """The localisation's part of B."""

    def virial_weights(self, position: Stack) -> Stack:
        """Returns the diagonal ``M = n_beta D / (n_beta D + gamma)`` of every chain and lane, [chain, lane, *slice].

        ``D`` is Hutchinson's estimate of the Hessian's diagonal, one probe where each of the first 8 chains is, averaged
        over all of them but the chain itself, which would stay for a while where its own D was measured. Any constant M
        is right; this one weighs every direction by its part in the coefficient. Where D does not exceed twice its error
        it counts as 0, so that directions in which the loss is flat do not blur the check.
        """
        chains = len(next(iter(position.values())))
        growing: list[tuple[Krylov, Stack]] = []
        found: dict[str, list[Tensor]] = {name: [] for name in position}
        for chain in range(min(chains, _PROBES)):
            krylov, vector, pulled = self._begin(position, chain)
            image = krylov.image_of_start()
            for name, value in image.items():
                felt = vector[name] * value - pulled[name]
                found[name].append((felt / pulled[name].clamp(min=_TINY)).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0))
            if chain < _QUADRATURES:
                growing.append((krylov, vector))
        weights = {name: _of_the_others(torch.cat(parts), chains) for name, parts in found.items()}
        self._measure(growing, weights)
        return weights
