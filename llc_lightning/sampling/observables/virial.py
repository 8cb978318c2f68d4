"""The virial: by what the chains are checked against what must hold in equilibrium, whatever the loss."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llc_lightning.sampling.observables.base import Look
from llc_lightning.sampling.products import products, total
from llc_lightning.sampling.stacked import Stack


@dataclass(eq=False)
class Virial:
    """``(w - w*) . M grad U`` with a constant diagonal ``M``: its mean in equilibrium is the trace of M.

    ``weights_at`` gives M, [chain, lane, *slice], for where all chains are when burn-in ends. Where it is 0 for want of
    a curvature, it is taken for 1 and the chain is blind: flat directions that have not settled look too cold to it.
    """

    every: int
    weights_at: Callable[[Stack], Stack]
    name: str = "virial"
    _weights: Stack = field(default_factory=dict[str, Tensor], init=False)
    _trace: Tensor = field(default_factory=lambda: torch.zeros(0), init=False)
    _blind: Tensor = field(default_factory=lambda: torch.zeros(0), init=False)

    def settle(self, position: Stack) -> None:
        """Chooses M, once: it must not follow the draws."""
        self._weights, self._blind = seeing(self.weights_at(position))
        self._trace = _trace(self._weights)

    def look(self, look: Look) -> Float[Tensor, "chain lane 3"]:
        """Returns the virial, the trace, and 1 for a blind chain or 0."""
        virial = total(self._of(name, value, look) for name, value in look.away.items())
        return torch.stack([virial, self._trace, self._blind.to(virial.dtype)], -1)

    def _of(self, name: str, away: Tensor, look: Look) -> Float[Tensor, "chain lane"]:
        weighted = away * self._weights[name]
        along = products(weighted, look.here.gradient[name])
        return look.posterior.n_beta * along + look.posterior.gamma * products(weighted, away)


def seeing(weights: Stack) -> tuple[Stack, Bool[Tensor, "chain lane"]]:
    """Returns M with 1 for the chains where it is 0 everywhere, and which they are."""
    blind = _trace(weights) == 0
    if not bool(blind.any()):
        return weights, blind
    filled = {
        name: value.masked_fill(blind.view(*blind.shape, *(1,) * (value.ndim - 2)), 1.0)
        for name, value in weights.items()
    }
    return filled, blind


def _trace(weights: Stack) -> Float[Tensor, "chain lane"]:
    return total(value.flatten(2).sum(2) for value in weights.values())
