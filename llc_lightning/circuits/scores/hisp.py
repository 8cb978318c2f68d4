"""Head importance scores, of edges."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.circuits.base import SCORES
from llc_lightning.circuits.gradients import Gradient, Subject


@SCORES.register(
    "hisp", summary="size of what the sender adds times the gradient of the unablated run, whatever the donor",
    source="Michel et al. 2019, arXiv:1905.10650; of circuits Conmy et al. 2023, arXiv:2304.14997",
    also=("head_importance",), estimates=False, at_clean=True,
)  # fmt: skip
@dataclass(frozen=True)
class HISP(Gradient):
    """``|own . dL/d sum|``, mean over the examples. The authors score heads; here each connection has its own."""

    def of_block(self, subject: Subject, block: int) -> Float[Tensor, "edge row"]:
        """Returns the sizes of the products with the gradients of the unablated run."""
        slopes = subject.slopes(block)
        known = subject.streams.of(subject.examples.blocks.batches[block])
        said = {name: subject.streams.said(sender, known) for name, sender in subject.graph.senders.items()}
        products = [(said[edge.sender] * slopes[edge.reader]).flatten(1).sum(1) for edge in subject.graph.edges]
        return torch.stack(products).abs()
