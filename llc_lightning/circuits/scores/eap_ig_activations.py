"""Edge attribution with integrated gradients at the senders."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.circuits.base import SCORES
from llc_lightning.circuits.gradients import Gradient, Subject
from llc_lightning.runtime.errors import at_least


@SCORES.register(
    "eap_ig_activations", summary="difference to the donor times the mean gradient on the way of all parts beside the "
    "sender to it", source="Hanna et al. 2024, arXiv:2403.17806; Marks et al. 2024, arXiv:2403.19647",
    also=("ig_activations",), estimates=False,
)  # fmt: skip
@dataclass(frozen=True)
class EAPIGActivations(Gradient):
    """As ``eap_ig``, but what goes to the donor is the hook point at which the sender writes, with all its units.

    It takes as many backward passes as there are such hook points, times the steps, and has no axiom of completeness
    over the edges that leave the inputs.
    """

    steps: int = 5
    check: bool = True
    """Whether to double the steps once to see what that changes."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        at_least(1, steps=self.steps)

    def of_block(self, subject: Subject, block: int) -> Float[Tensor, "edge row"]:
        """Returns the products with the mean gradients, each sender's on its own way."""
        like = next(iter(subject.examples.first.values()))
        total = like.new_zeros(len(subject.graph.edges), subject.examples.blocks.size)
        senders = [subject.graph.sender(edge).component for edge in subject.graph.edges]
        groups = [tuple(part.point for part in sender.members) for sender in senders]
        for draw in range(subject.donor.draws):
            for points in dict.fromkeys(groups):
                own = torch.tensor([group == points for group in groups])
                for k in range(self.steps):
                    way = subject.towards(block, draw, (k + 0.5) / self.steps, points)
                    found = subject.products(block, draw, subject.slopes(block, way))
                    total[own] += found[own] / (self.steps * subject.donor.draws)
        return total

    def finer(self) -> EAPIGActivations | None:
        """Returns the same with twice the steps."""
        return replace(self, steps=2 * self.steps, check=False) if self.check else None
