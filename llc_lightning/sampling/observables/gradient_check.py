"""Whether the loss rises around the chains as its gradient says."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.observables.base import OBSERVABLES, Look, Stateless
from llc_lightning.sampling.products import inner

_REACH = 0.3
"""Share of the way from the centre by which chains are moved back and forth, to compare the loss with its gradient."""


@OBSERVABLES.register(
    "gradient_check",
    summary="by how much the loss rises around the chains, and what its gradient says of it",
    costly=True,
)
@dataclass(frozen=True)
class GradientCheck(Stateless):
    """By how much the loss rises around the chains, away from the centre, and the integral of its gradient over there.

    The two agree for any loss that has the gradient of its value: by Simpson's rule, so near that kinks are few.
    """

    every: int
    name: str = "gradient_check"

    def look(self, look: Look) -> Float[Tensor, "chain lane 2"]:
        """Returns by how much the loss has risen, and what its gradient says of it."""
        centre, away = look.posterior.centre, look.away
        below, here, above = (
            look.loss({name: centre[name] + place * value for name, value in away.items()})
            for place in (1 - _REACH, 1.0, 1 + _REACH)
        )
        slopes = (inner(away, at.gradient) for at in (below, here, above))
        sloped = sum(weight * slope for weight, slope in zip((1, 4, 1), slopes, strict=True))
        return torch.stack([above.excess - below.excess, torch.as_tensor(sloped) * _REACH / 3], -1)
