"""Projection off the principal directions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, Activations, Shared
from llc_lightning.ablation.engine.moments import mean_over_examples
from llc_lightning.runtime.batches import chunks
from llc_lightning.runtime.errors import SettingError

_SLAB = 1024


@METHODS.register(
    "project", summary="projects the activation off its first principal directions",
    source="Ravfogel et al. 2020, arXiv:2004.07667", also=("subspace", "direction"), constant=False,
    needs_reference=True, needs_partner=False, whole=True, draws=1,
    revision=3,
)  # fmt: skip
@dataclass(frozen=True)
class Project(Shared):
    """Replaces the activation h by ``h - P (h - mean)``, P the projection onto its first principal directions.

    The directions are those in the space of the units that hold most of the variance over examples and positions. For
    directions of one's own, ablate a component of kind ``direction`` by any other method.
    """

    rank: int = 1
    """How many directions; as many as there are units at most."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if self.rank < 1:
            raise SettingError(f"rank is {self.rank}; project off at least 1 direction.")

    def values(
        self, seen: Activations, blocks: Sequence[Int[Tensor, "row"]], *, seed: int
    ) -> Iterator[Float[Tensor, "1 row *unit"]]:
        """Yields what is left of the activations."""
        # Units last, and all features of a unit with them: [example, ..., unit or feature].
        moved = seen.activation.movedim(seen.positions, tuple(range(1, 1 + len(seen.positions))))
        flat = moved.flatten(1 + len(seen.positions)).flatten(0, len(seen.positions))
        known = flat if seen.real is None else flat[self._counting(seen)]
        mean = mean_over_examples(known)
        covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=flat.device)
        for slab in chunks(len(known), _SLAB):
            centred = known[slab].double() - mean
            covariance += centred.T @ centred
        if self.rank > len(mean):
            raise SettingError(
                f"rank is {self.rank}, but the activation has {len(mean)} directions; give at most that."
            )
        # A broken activation stays what it is, and its effect says so.
        sound = bool(covariance.isfinite().all())
        linalg: Any = torch.linalg  # its functions carry no types
        vectors: Tensor = linalg.eigh(covariance)[1][:, -self.rank :] if sound else covariance[:, : self.rank]
        top, mean = vectors.to(flat.dtype), mean.to(flat.dtype)
        for rows in blocks:
            part = moved[rows.to(moved.device)]
            centred = part.flatten(1 + len(seen.positions)) - mean
            left = part - (centred @ top @ top.T).reshape(part.shape)
            yield left.movedim(tuple(range(1, 1 + len(seen.positions))), seen.positions)[None]

    def _counting(self, seen: Activations) -> Bool[Tensor, "row"]:
        """Says which examples and positions, side by side, count."""
        real = torch.ones_like(seen.activation, dtype=torch.bool) if seen.real is None else seen.real
        moved = real.expand_as(seen.activation).movedim(seen.positions, tuple(range(1, 1 + len(seen.positions))))
        return moved.flatten(1 + len(seen.positions)).any(-1).flatten()
