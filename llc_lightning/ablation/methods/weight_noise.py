"""Noisy weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from llc_lightning.ablation.engine.base import METHODS, WeightMethod
from llc_lightning.ablation.engine.weights import Weight
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.seeding import generator


@METHODS.register(
    "weight_noise", summary="adds Gaussian noise to the component's weights", source="Murray and Edwards 1994, IEEE "
    "Transactions on Neural Networks 5(5)", also=("perturb", "sharpness"), constant=True, needs_reference=False,
    needs_partner=False, whole=False, draws=1,
    revision=3,
)  # fmt: skip
@dataclass(frozen=True)
class WeightNoise(WeightMethod):
    """Replaces each weight w by ``w + scale * rms(w) * xi`` with xi ~ N(0, 1), independent per entry.

    rms(w) is the root mean square of the component's entries of that parameter, so that the scale means the same for
    large and small weights. The numbers are drawn tensor by tensor in the component's order, from a stream that the
    seed and the draw alone key: components of the same form get the same ones.
    """

    scale: float = 0.1
    """Standard deviation of the noise, in units of the weights' root mean square; positive."""

    draws: int = 1

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if not (self.scale > 0 and math.isfinite(self.scale)):
            raise SettingError(
                f"the scale of the noise is {self.scale}; give a positive number of root mean squares of the weights."
            )

    def edited(self, weights: Sequence[Weight], *, seed: int, draw: int) -> Sequence[Tensor]:
        """Returns the noisy weights."""
        stream = generator(seed, "weight-noise", draw)
        return [self._noisy(weight.values, stream) for weight in weights]

    def _noisy(self, values: Tensor, stream: Generator) -> Tensor:
        # Drawn on the CPU in float32, so that the numbers are the same on every device and at every precision.
        xi = torch.randn(values.shape, dtype=torch.float32, generator=stream).to(values.device)
        exact = values.double()
        return (exact + self.scale * exact.square().mean().sqrt() * xi).to(values.dtype)
