"""The loss on the examples of one step of all chains."""

from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.runtime.batches import Batch, take
from llc_lightning.sampling.base import Evaluated
from llc_lightning.sampling.stacked import Stack, StackedLoss


class StepLoss:
    """Evaluates the loss of all chains on the examples of one step, paired with the losses of w* on the same ones.

    Args:
        stacked: The loss.
        data: All examples.
        baseline: Their losses at the centre.
        index: Which of them every chain takes; None for all.
    """

    def __init__(
        self,
        stacked: StackedLoss,
        data: Batch,
        baseline: Float[Tensor, "example"],
        index: Int[Tensor, "chain taken"] | None = None,
    ) -> None:
        self._stacked = stacked
        self._data = data
        self.index = index
        self.batch = data if index is None else take(data, index)
        self.baseline = baseline if index is None else baseline[index]
        self._at_centre: Stack = {}

    @property
    def minibatch(self) -> bool:
        """Whether the examples are some of all, drawn by every chain for itself."""
        return self.index is not None

    def __call__(self, position: Stack) -> Evaluated:
        """Returns the loss and its gradient at any position."""
        excess, gradient = self._stacked.excess_and_gradient(
            position, self.batch, self.baseline, per_chain=self.minibatch
        )
        return Evaluated(excess, gradient)

    def excess(self, position: Stack) -> Float[Tensor, "chain lane"]:
        """Returns the loss at any position, in excess of that at the centre."""
        return self._stacked.excess(position, self.batch, self.baseline, per_chain=self.minibatch)

    def gradient_at_centre(self) -> Stack:
        """Returns the gradient at the centre, on the same examples; evaluated once."""
        if not self._at_centre:
            chains = 1 if self.index is None else len(self.index)
            self._at_centre = self(self._stacked.start(chains)).gradient
        return self._at_centre
