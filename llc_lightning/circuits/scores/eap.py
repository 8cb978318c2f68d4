"""Edge attribution patching."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.circuits.base import SCORES
from llc_lightning.circuits.gradients import Gradient, Subject


@SCORES.register(
    "eap", summary="difference to the donor times the gradient of the unablated run",
    source="Syed et al. 2023, arXiv:2310.10348; Nanda 2023, attribution patching", also=("atp", "attribution"),
    estimates=True, at_clean=True,
)  # fmt: skip
@dataclass(frozen=True)
class EAP(Gradient):
    """``(donor - own) . dL/d sum`` at the unablated run: one backward pass for all edges.

    Where a network is saturated, as trained ones are, the gradient there says nothing of the way to the donor.
    """

    def of_block(self, subject: Subject, block: int) -> Float[Tensor, "edge row"]:
        """Returns the products with the gradients of the unablated run."""
        slopes = subject.slopes(block)
        return torch.stack([subject.products(block, draw, slopes) for draw in range(subject.donor.draws)]).mean(0)
