"""Quantised weights."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, WeightMethod
from llc_lightning.ablation.engine.weights import Weight
from llc_lightning.runtime.errors import SettingError


@METHODS.register(
    "quantise", summary="rounds the component's weights to few bits", source="Nagel et al. 2021, arXiv:2106.08295",
    also=("quantize", "quantization", "rounding"), constant=True, needs_reference=False, needs_partner=False,
    whole=False, draws=1,
    revision=3,
)  # fmt: skip
@dataclass(frozen=True)
class Quantise(WeightMethod):
    """Replaces each weight w by ``s round(w / s)``, with ``s = max |w| / (2^(bits - 1) - 1)`` and ties to even.

    This is symmetric uniform quantisation, rounded to nearest, with one scale for each tensor of the component (Nagel
    et al. 2021, section 2.2), the scale that clips nothing; -2^(bits - 1) is not used, so that the grid is symmetric.
    A component's entries of one parameter are one tensor. Biases are the component's weights too, and are rounded;
    where networks are deployed they often keep 32 bits.
    """

    bits: int = 8
    """Bits of a weight, its sign included; at least 2."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if self.bits < 2:
            raise SettingError(f"bits is {self.bits}; quantise to at least 2 bits, one of them for the sign.")

    def edited(self, weights: Sequence[Weight], *, seed: int, draw: int) -> Sequence[Tensor]:
        """Returns the rounded weights."""
        return [self._rounded(weight.values) for weight in weights]

    def _rounded(self, values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        exact = values.double()  # so that the last bits of a scale decide no tie
        scale = exact.abs().amax() / (2 ** (self.bits - 1) - 1)
        return ((exact / scale).round() * scale).to(values.dtype) if scale > 0 else values
