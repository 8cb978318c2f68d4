"""Mean ablation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.ablation.base import METHODS, Method
from llc_lightning.ablation.moments import mean_over_examples


@METHODS.register(
    "mean", summary="replaces the activation by its mean over the examples",
    source="Wang et al. 2022, arXiv:2211.00593", constant=True, needs_reference=True, draws=1,
)  # fmt: skip
@dataclass(frozen=True)
class Mean(Method):
    """Replaces the activation by its mean over the examples: removes what it says about the input, keeps its level.

    Axes other than the example axis keep their own means: a token's position and a pixel are not averaged over.
    The mean is accumulated in float64.
    """

    def values(
        self, reference: Float[Tensor, "example *unit"], blocks: Sequence[Int[Tensor, "row"]], *, seed: int
    ) -> Iterator[Float[Tensor, "1 1 *unit"]]:
        """Yields the mean."""
        mean = mean_over_examples(reference).to(reference.dtype)[None, None]
        return (mean for _ in blocks)
