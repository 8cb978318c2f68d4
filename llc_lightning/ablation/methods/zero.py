"""Zero ablation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, Activations, Shared


@METHODS.register(
    "zero", summary="replaces the activation by 0", source="Meyes et al. 2019, arXiv:1901.08644",
    also=("knockout",), constant=True, needs_reference=False, needs_partner=False, whole=False, draws=1,
    revision=3,
)  # fmt: skip
@dataclass(frozen=True)
class Zero(Shared):
    """Replaces the activation by 0: removes a unit from the network, together with its mean contribution."""

    def values(
        self, seen: Activations, blocks: Sequence[Int[Tensor, "row"]], *, seed: int
    ) -> Iterator[Float[Tensor, "1 1 *unit"]]:
        """Yields zeros."""
        zeros = seen.activation.new_zeros((1, 1, *seen.activation.shape[1:]))
        return (zeros for _ in blocks)
