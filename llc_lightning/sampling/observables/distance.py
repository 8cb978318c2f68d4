"""How far the chains are from the centre."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.observables.base import OBSERVABLES, Look, Stateless
from llc_lightning.sampling.products import inner


@OBSERVABLES.register("squared_distance", summary="squared distance of the moved weights from the centre", costly=False)
@dataclass(frozen=True)
class SquaredDistance(Stateless):
    """The squared Euclidean distance of the moved weights from the centre, [chain, lane]."""

    every: int
    name: str = "squared_distance"

    def look(self, look: Look) -> Float[Tensor, "chain lane"]:
        """Returns the squared distance."""
        away = look.away
        return inner(away, away)
