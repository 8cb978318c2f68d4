"""Relevance patching."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.circuits.base import SCORES
from llc_lightning.circuits.gradients import ChangeAt, Gradient, Subject
from llc_lightning.components.hooks import submodules
from llc_lightning.components.loss import Change


@SCORES.register(
    "relp", summary="difference to the donor times coefficients of relevance propagation in the place of the gradient",
    source="Rezaei Jafari et al. 2025, arXiv:2508.21258", also=("relevance", "lrp"), estimates=True, at_clean=True,
)  # fmt: skip
@dataclass(frozen=True)
class RelP(Gradient):
    """As ``eap``, with rules of layer-wise relevance propagation in the backward pass.

    The scale of every normalisation is a constant (LN-rule), and an activation function is a product with the constant
    ``f(x) / x`` (identity rule); with ``attention`` so are the patterns of attention (AH-rule), which leaves queries
    and keys without a score. Gated MLPs are not known here. Where a part has no hook point, its gradient is its own.
    """

    attention: bool = False

    def of_block(self, subject: Subject, block: int) -> Float[Tensor, "edge row"]:
        """Returns the products with the coefficients."""
        norms = list(self._constants(subject))
        edits = [*norms, *self._ratios(subject)]
        slopes = subject.slopes(block, edits, norms)
        return torch.stack([subject.products(block, draw, slopes) for draw in range(subject.donor.draws)]).mean(0)

    def _constants(self, subject: Subject) -> Iterator[Change]:
        """Yields the edits that let no gradient through."""
        names = (".hook_scale", ".hook_pattern") if self.attention else (".hook_scale",)
        for point in submodules(subject.examples.loss.module):
            if point.endswith(names):
                yield ChangeAt(point, _constant)

    def _ratios(self, subject: Subject) -> Iterator[Change]:
        """Yields the edits that make activation functions products with constants."""
        for after, before in subject.graph.wiring.smooth.items():
            ratio = _Ratio()
            yield ChangeAt(before, ratio.take)
            yield ChangeAt(after, ratio.give)


def _constant(activation: Tensor) -> Tensor:
    return activation.detach()


class _Ratio:
    """Turns ``f(x)`` into ``x`` times the constant ``f(x) / x``."""

    def __init__(self) -> None:
        self._before = torch.zeros(())

    def take(self, activation: Tensor) -> Tensor:
        """Keeps x."""
        self._before = activation
        return activation

    def give(self, activation: Tensor) -> Tensor:
        """Returns the product; the constant is the slope at 0 where x is 0."""
        before = self._before
        ratio = torch.where(before == 0, 0.5, activation / torch.where(before == 0, 1.0, before)).detach()
        return activation.detach() + ratio * (before - before.detach())
