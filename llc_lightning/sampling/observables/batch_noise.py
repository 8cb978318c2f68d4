"""What the noise of minibatches does to the moves of chains."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.base import Sampler
from llc_lightning.sampling.observables.base import OBSERVABLES, Look, Stateless
from llc_lightning.sampling.products import inner
from llc_lightning.sampling.stacked import Stack


@OBSERVABLES.register(
    "batch_noise",
    summary="variance that the noise of minibatches adds to a move, over that which belongs there",
    costly=True,
)
@dataclass(frozen=True)
class BatchNoise(Stateless):
    """The variance that the noise of minibatches adds to a move over that which belongs there, summed over weights.

    NaN where the sampler takes the noise off by itself.
    """

    every: int
    name: str = "batch_noise"

    def look(self, look: Look) -> Float[Tensor, "chain lane"]:
        """Returns it, from the gradients on two minibatches."""
        noise = noise_between(look.sampler, look.here.gradient, look.there.gradient)
        return torch.full_like(look.here.excess, math.nan) if noise is None else inner(noise, noise)


def noise_between(sampler: Sampler, one: Stack, other: Stack) -> Stack | None:
    """Returns what the noise of a minibatch's gradient does to a move, from the gradients on two of them."""
    return sampler.batch_noise({name: (value - other[name]) / math.sqrt(2) for name, value in one.items()})
