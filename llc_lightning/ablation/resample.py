"""Resample ablation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.ablation.base import METHODS, Method
from llc_lightning.runtime.seeding import generator


@METHODS.register(
    "resample", summary="replaces the activation by that of another example",
    source="Chan et al. 2022, causal scrubbing; Li and Janson 2024, arXiv:2409.09951",
    constant=False, needs_reference=True, draws=4,
)  # fmt: skip
@dataclass(frozen=True)
class Resample(Method):
    """Replaces the activation by that of a donor: another example, drawn at random, the same for all units.

    It keeps the activation's marginal distribution and removes what it says about the input. The donors of a draw are a
    permutation without fixed points (:func:`donors`), the same at every hook point and step.
    """

    draws: int = 4

    def values(
        self, reference: Float[Tensor, "example *unit"], blocks: Sequence[Int[Tensor, "row"]], *, seed: int
    ) -> Iterator[Float[Tensor, "draw row *unit"]]:
        """Yields the donors' activations."""
        by_draw = torch.stack([donors(len(reference), seed=seed, draw=draw) for draw in range(self.draws)])
        for rows in blocks:
            chosen = by_draw[:, rows].to(reference.device)
            yield reference.index_select(0, chosen.flatten()).unflatten(0, chosen.shape)


def donors(n: int, *, seed: int, draw: int) -> Int[Tensor, "example"]:
    """Returns for each of ``n`` examples the index of its donor: a uniformly random cyclic permutation.

    A cyclic permutation of two or more has no fixed point; a single example can only be its own donor.
    """
    order = torch.randperm(n, generator=generator(seed, "donors", draw))
    donor = torch.empty_like(order)
    donor[order] = order.roll(1)
    return donor
