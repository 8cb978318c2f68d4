"""The losses of several tasks along chains that sample another loss."""

from dataclasses import dataclass

from jaxtyping import Float, Shaped
from torch import Tensor

from llc_lightning.sampling.observables.base import Look, Stateless
from llc_lightning.sampling.stacked import StackedLoss


@dataclass(frozen=True, eq=False)
class TaskLosses(Stateless):
    """The excess loss of every task on the examples of the step, [chain, lane, task]."""

    every: int
    stacked: StackedLoss
    """Gives the losses as [example, task], or [example, 1] where the tasks share one."""
    losses: Float[Tensor, "example own"]
    """Those of the centre."""
    shares: Float[Tensor, "example task"]
    """How much an example counts for a task: 0, or the inverse of the share of the examples that do."""
    name: str = "task_losses"

    def look(self, look: Look) -> Float[Tensor, "chain lane task"]:
        """Returns the excess losses."""
        losses, shares, loss = self.losses, self.shares, look.loss
        if loss.index is not None:
            losses, shares = losses[loss.index], shares[loss.index]
        there = self.stacked.losses(look.position, loss.batch, per_chain=loss.minibatch)
        change = (there - _with_lane(losses, loss.minibatch)) * _with_lane(shares, loss.minibatch)
        return change.mean(2)


def _with_lane(values: Shaped[Tensor, "..."], per_chain: bool) -> Tensor:
    """Returns values of [chain or none, example, ...] as they broadcast against [chain, lane, example, ...]."""
    return values[:, None] if per_chain else values
