"""Uniform gradient sampling."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.circuits.discovery.base import DISCOVERIES
from llc_lightning.circuits.discovery.learned import Learned, Samples
from llc_lightning.runtime.errors import SettingError


@DISCOVERIES.register(
    "ugs", summary="learns which edges to keep from masks that are 0, 1, or now and then between",
    source="Li & Janson 2024, arXiv:2409.09951", also=("uniform_gradient_sampling",),
)  # fmt: skip
@dataclass(frozen=True)
class UniformGradientSampling(Learned):
    """Each edge is kept by a share whose mean is its probability ``p``, with ``p (1 - p)`` uniform, else 0 or 1.

    The loss' derivative by a share between 0 and 1 has the expectation ``L(kept) - L(ablated)`` under the other edges'
    masks. Its mean over the samples in which the share lies there, plus the price, times ``p (1 - p)`` is the gradient;
    in a step with no such sample there is neither, so that both weigh the same and the price is the least that a kept
    edge does. Unlike the authors' own, there is no price for nodes, and the rate does not depend on the price.
    """

    price: float = 0.1
    """Of an edge, in nats, or the metric's unit: one that does less is not kept."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if not self.price > 0:
            raise SettingError(f"price is {self.price}; give a number above 0, or all edges are kept.")

    def sample(self, parameters: Float[Tensor, "edge"], stream: torch.Generator) -> Float[Tensor, "lane edge"]:
        """Returns masks, from which no gradient flows."""
        chance = torch.sigmoid(parameters.detach())
        noise = torch.rand((self.samples, len(chance)), generator=stream)
        within = chance * (1 - chance)
        return (1 - ((noise - chance) / within + 0.5).clamp(0, 1)).requires_grad_(True)

    def slope(self, parameters: Float[Tensor, "edge"], drawn: Samples, step: int) -> Float[Tensor, "edge"]:
        """Returns the estimate of the gradient, 0 for an edge of which the step's samples tell nothing."""
        (slopes,) = torch.autograd.grad(drawn.losses.sum(), drawn.masks)
        inside = (drawn.masks > 0) & (drawn.masks < 1)
        does = torch.where(inside, slopes, 0).sum(0) / inside.sum(0).clamp_min(1)
        chance = torch.sigmoid(parameters.detach())
        return torch.where(inside.any(0), does + self.price, 0) * chance * (1 - chance)

    def chosen(self, parameters: Float[Tensor, "edge"]) -> Float[Tensor, "edge"]:
        """Returns the probabilities."""
        return torch.sigmoid(parameters)
