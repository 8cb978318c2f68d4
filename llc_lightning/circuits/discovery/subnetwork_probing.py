"""Subnetwork probing, on edges."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.circuits.discovery.base import DISCOVERIES
from llc_lightning.circuits.discovery.learned import Learned, Samples, hard_concrete, kept
from llc_lightning.runtime.errors import SettingError


@DISCOVERIES.register(
    "subnetwork_probing", summary="learns hard-concrete masks under a price for each edge",
    source="Cao et al. 2021, arXiv:2104.03514; of edges Conmy et al. 2023, arXiv:2304.14997", also=("sp",),
)  # fmt: skip
@dataclass(frozen=True)
class SubnetworkProbing(Learned):
    """The mean loss under sampled masks, plus the price times the expected number of edges, is descended on."""

    price: float = 0.1
    """Of an edge, in nats, or the metric's unit."""
    start: float = field(default=0.6, init=False)
    """An edge is kept with a probability of .9 in the beginning."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if not self.price > 0:
            raise SettingError(f"price is {self.price}; give a number above 0, or all edges are kept.")

    def sample(self, parameters: Float[Tensor, "edge"], stream: torch.Generator) -> Float[Tensor, "lane edge"]:
        """Returns masks."""
        return hard_concrete(parameters, self.samples, stream)

    def slope(self, parameters: Float[Tensor, "edge"], drawn: Samples, step: int) -> Float[Tensor, "edge"]:
        """Returns the gradient of loss and price."""
        return torch.autograd.grad(drawn.losses.mean() + self.price * kept(parameters).sum(), parameters)[0]

    def chosen(self, parameters: Float[Tensor, "edge"]) -> Float[Tensor, "edge"]:
        """Returns the masks without noise."""
        return (torch.sigmoid(parameters) * 1.2 - 0.1).clamp(0, 1)
