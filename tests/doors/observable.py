"""An observable, as a contributor would write it: the largest distance of any weight from w*."""

from dataclasses import dataclass

import torch
from torch import Tensor

from llc_lightning.sampling.observables.base import OBSERVABLES, Look, Stateless


@dataclass(frozen=True)
class Reach(Stateless):
    every: int = 1
    name: str = "reach"

    def look(self, look: Look) -> Tensor:
        return torch.stack([away.abs().flatten(2).amax(2) for away in look.away.values()]).amax(0)


@OBSERVABLES.register("reach", summary="the largest distance of any weight from w*", costly=False)
def reach(draws: int) -> Reach:
    return Reach()
