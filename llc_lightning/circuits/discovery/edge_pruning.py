"""Edge pruning: masks of a given size."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.circuits.discovery.base import DISCOVERIES
from llc_lightning.circuits.discovery.learned import Learned, Samples, hard_concrete, kept
from llc_lightning.runtime.errors import at_least


@DISCOVERIES.register(
    "edge_pruning", summary="learns hard-concrete masks of a given number of edges",
    source="Bhaskar et al. 2024, arXiv:2406.16778",
)  # fmt: skip
@dataclass(frozen=True)
class EdgePruning(Learned):
    """A Lagrange multiplier raises the price of edges until their expected number is the one that is asked for.

    The number falls from that of all edges along the first three fifths of the steps. The edges with the largest
    parameters are kept, as many as were asked for. The multiplier follows the size at ten times the rate of the masks.
    """

    edges: int = 10
    start: float = field(default=0.6, init=False)
    _price: list[float] = field(default_factory=list[float], init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        at_least(1, edges=self.edges)

    def sample(self, parameters: Float[Tensor, "edge"], stream: torch.Generator) -> Float[Tensor, "lane edge"]:
        """Returns masks."""
        return hard_concrete(parameters, self.samples, stream)

    def slope(self, parameters: Float[Tensor, "edge"], drawn: Samples, step: int) -> Float[Tensor, "edge"]:
        """Returns the gradient of loss and price, and moves the price."""
        if step == 0:
            self._price[:] = [0.0]
        count = len(parameters)
        aim = count + (min(self.edges, count) - count) * min(1.0, step / (0.6 * self.steps))
        over = kept(parameters).sum() - aim
        (found,) = torch.autograd.grad(drawn.losses.mean() + self._price[0] * over, parameters)
        self._price[0] = max(0.0, self._price[0] + 10 * self.rate * float(over.detach()) / count)
        return found

    def chosen(self, parameters: Float[Tensor, "edge"]) -> Float[Tensor, "edge"]:
        """Returns numbers above one half that grow with the parameter for the largest ones, 0 for all others."""
        most = parameters.topk(min(self.edges, len(parameters)))
        scores = 0.5 + 0.5 * torch.sigmoid(most.values).clamp_min(1e-6)  # as many as were asked for, however small
        return torch.zeros_like(parameters).scatter(0, most.indices, scores)
