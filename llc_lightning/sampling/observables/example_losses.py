"""The losses of some examples, one by one."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.batches import Batch
from llc_lightning.sampling.observables.base import Look, Stateless


@dataclass(frozen=True, eq=False)
class ExampleLosses(Stateless):
    """The excess losses of the same examples at every look, [chain, lane, example]."""

    every: int
    examples: Batch
    losses: Float[Tensor, "example"]
    """Those of the centre."""
    name: str = "example_losses"

    def look(self, look: Look) -> Float[Tensor, "chain lane example"]:
        """Returns the excess losses."""
        return look.loss.losses_of(look.position, self.examples) - self.losses
