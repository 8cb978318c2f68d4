"""The loss at one position on two minibatches."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.observables.base import OBSERVABLES, Look, Stateless


@OBSERVABLES.register(
    "loss_pair", summary="excess losses on two minibatches that know nothing of each other", costly=False
)
@dataclass(frozen=True)
class LossPair(Stateless):
    """The excess losses on two minibatches that depend neither on the position nor on each other."""

    every: int
    name: str = "loss_pair"

    def look(self, look: Look) -> Float[Tensor, "chain lane 2"]:
        """Returns that on the examples of the step, and that on the second minibatch."""
        return torch.stack([look.here.excess, look.other_excess], -1)
