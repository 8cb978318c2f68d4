"""Gaussian noise."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, Activations, Shared
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.seeding import generator


@METHODS.register(
    "noise", summary="adds Gaussian noise of the activation's own standard deviation",
    source="Meng et al. 2022, arXiv:2202.05262", also=("gaussian", "corrupt"), constant=False, needs_reference=True,
    needs_partner=False, whole=False, draws=4,
    revision=3,
)  # fmt: skip
@dataclass(frozen=True)
class Noise(Shared):
    """Replaces the activation h by ``h + scale * SD(h) * xi`` with xi ~ N(0, 1), independent per unit and example.

    SD(h) is each unit's own standard deviation over the examples (per position or pixel, where there are any), so that
    the scale means the same for loud and quiet units; Meng et al. use 3 for one SD of all embeddings.
    """

    scale: float = 1.0
    """Standard deviation of the noise, in units of the activation's own; positive."""

    draws: int = 4

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if not (self.scale > 0 and math.isfinite(self.scale)):
            raise SettingError(
                f"the scale of the noise is {self.scale}; give a positive number of standard deviations."
            )

    def values(
        self, seen: Activations, blocks: Sequence[Int[Tensor, "row"]], *, seed: int
    ) -> Iterator[Float[Tensor, "draw row *unit"]]:
        """Yields the noisy activations; every draw reads its own random stream from block to block."""
        reference = seen.activation
        spread = (self.scale * seen.sd()).to(reference.dtype)
        streams = [generator(seed, "gaussian", draw) for draw in range(self.draws)]
        for rows in blocks:
            clean = reference[rows.to(reference.device)]
            # Drawn on the CPU in float32, so that the numbers are the same on every device and at every precision.
            xi = torch.stack([torch.randn(clean.shape, dtype=torch.float32, generator=stream) for stream in streams])
            yield torch.addcmul(clean, xi.to(clean), spread)
