"""One look at the chains, at a draw that is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.base import Evaluated, Posterior, Sampler
from llc_lightning.sampling.stacked import Stack
from llc_lightning.sampling.step_loss import StepLoss


@dataclass(frozen=True, eq=False)
class Look:
    """What observables see of one kept draw; what one of them asks for is there for all, and must not be changed."""

    draw: int
    """The number of the draw, burn-in not counted."""
    position: Stack
    """The moved weights of all chains and lanes, [chain, lane, *slice]; the next step moves them on."""
    here: Evaluated
    """What the step itself knows there: the excess loss, and the gradient that it is about to move along."""
    loss: StepLoss
    """The loss on the examples of the step, which do not depend on the position yet."""
    sampler: Sampler
    posterior: Posterior
    second: Callable[[int], StepLoss] | None = None
    """Gives the loss on a minibatch that no chain is moved by, for the look at a draw; None with the full batch."""

    @cached_property
    def away(self) -> Stack:
        """The moved weights minus those of the centre."""
        return {name: w - self.posterior.centre[name] for name, w in self.position.items()}

    @cached_property
    def other(self) -> StepLoss:
        """The loss on a second minibatch, drawn for this look alone; with the full batch the loss of the step."""
        return self.loss if self.second is None else self.second(self.draw)

    @cached_property
    def there(self) -> Evaluated:
        """What the sampler would know on the second minibatch: the excess loss and the gradient."""
        return self.sampler.look(self.position, self.other)

    @cached_property
    def other_excess(self) -> Float[Tensor, "chain lane"]:
        """The excess loss on the second minibatch, without a gradient unless that is known already."""
        known: Evaluated | None = vars(self).get("there")
        return self.other.excess(self.position) if known is None else known.excess
