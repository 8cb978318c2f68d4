"""Whether the loss rises around the chains as its gradient says."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.observables.base import OBSERVABLES, Look, Stateless
from llc_lightning.sampling.products import inner

_REACH = 0.2
"""Share of the way from the centre by which chains are moved farther, to compare the loss with its gradient."""


@OBSERVABLES.register(
    "gradient_check",
    summary="by how much the loss rises around the chains, and what its gradient says of it",
    costly=True,
    revision=2,
)
@dataclass(frozen=True)
class GradientCheck(Stateless):
    """By how much the loss rises around the chains, away from the centre, and the integral of its gradient over there.

    The two agree for any loss that has the gradient of its value: by the trapezoidal rule, so near that kinks are few.
    Its error is 2 % where the loss grows as the fourth power of the distance, and 5 % for the sixth.
    """

    every: int
    name: str = "gradient_check"

    def look(self, look: Look) -> Float[Tensor, "chain lane 2"]:
        """Returns by how much the loss has risen, and what its gradient says of it."""
        centre, here = look.posterior.centre, look.loss(look.position)
        above = look.loss.elsewhere({name: centre[name] + (1 + _REACH) * value for name, value in look.away.items()})
        away = look.away
        sloped = (inner(away, here.gradient) + inner(away, above.gradient)) * _REACH / 2
        return torch.stack([above.excess - here.excess, sloped], -1)


def differ(
    risen: Float[Tensor, "chain look"], sloped: Float[Tensor, "chain look"], *, share: float, errors: float
) -> bool:
    """Says whether what the loss rises by and what its gradient says differ beyond what kinks explain.

    Args:
        risen: By how much the loss has risen.
        sloped: What its gradient says of it.
        share: Of the mean size of both, that the mean difference exceeds.
        errors: Standard errors of the difference, that it exceeds as well.
    """
    gap = (risen - sloped).double()
    size = (risen.double().abs() + sloped.double().abs()).mean().item() / 2
    error = gap.std().item() / math.sqrt(gap.numel()) if gap.numel() > 1 else math.inf
    return gap.mean().abs().item() > max(share * size, errors * error)
