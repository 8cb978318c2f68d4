"""Edge attribution at both ends."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.circuits.base import SCORES
from llc_lightning.circuits.gradients import Gradient, Subject


@SCORES.register(
    "clean_corrupted", summary="difference to the donor times the mean of the gradients of the unablated and of the "
    "donor's run", source="Hanna et al. 2024, arXiv:2403.17806", also=("endpoints",), estimates=True,
)  # fmt: skip
@dataclass(frozen=True)
class CleanCorrupted(Gradient):
    """``(donor - own) . (dL/d sum + dL/d sum with the donor's inputs) / 2``: the trapezoid with one step."""

    def of_block(self, subject: Subject, block: int) -> Float[Tensor, "edge row"]:
        """Returns the products with the mean of both gradients."""
        clean, found = subject.slopes(block), list[Tensor]()
        for draw in range(subject.donor.draws):
            other = subject.slopes(block, subject.towards(block, draw, 1.0, subject.input_points))
            mean = {reader: (clean[reader] + other[reader]) / 2 for reader in clean}
            found.append(subject.products(block, draw, mean))
        return torch.stack(found).mean(0)
