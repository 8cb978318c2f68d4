"""The losses of some examples, one by one."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.batches import Batch
from llc_lightning.sampling.observables.base import Look, Stateless
from llc_lightning.sampling.stacked import StackedLoss


@dataclass(frozen=True, eq=False)
class ExampleLosses(Stateless):
    """The excess losses of the same examples at every look, [chain, lane, example]."""

    every: int
    stacked: StackedLoss
    examples: Batch
    losses: Float[Tensor, "example"]
    """Those of the centre."""
    name: str = "example_losses"

    def look(self, look: Look) -> Float[Tensor, "chain lane example"]:
        """Returns the excess losses."""
        return self.stacked.losses(look.position, self.examples, per_chain=False) - self.losses
