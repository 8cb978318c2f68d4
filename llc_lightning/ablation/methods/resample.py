"""Resample ablation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, Activations, Shared
from llc_lightning.runtime.errors import DataError, SettingError
from llc_lightning.runtime.seeding import generator

_POSITIONS = ("joint", "own", "pooled")


@METHODS.register(
    "resample", summary="replaces the activation by that of another example",
    source="Chan et al. 2022, causal scrubbing; Li and Janson 2024, arXiv:2409.09951",
    also=("shuffle", "permute"), constant=False, needs_reference=True, needs_partner=False, whole=False, draws=4,
)  # fmt: skip
@dataclass(frozen=True)
class Resample(Shared):
    """Replaces the activation by that of a donor: another example, drawn at random, the same for all units.

    It keeps the activation's marginal distribution and removes what it says about the input. The donors of a draw are a
    permutation without fixed points (:func:`donors`), the same at every hook point and step. Where positions are
    masked, the donor at a position is the nearest example behind in the permutation in which it counts.
    """

    draws: int = 4
    positions: str = "joint"
    """``joint``: one donor for all positions (pixels); ``own``: a donor for each position, which gives its activation
    at the same position; ``pooled``: a donor and a position of it for each position."""
    label: str = ""
    """The label to condition on: donors then have the example's own label, so that what the activation says about the
    label stays. It is named as in ``mean``; '' conditions on nothing. An example alone with its label is its own
    donor."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if self.positions not in _POSITIONS:
            raise SettingError(f"positions is {self.positions!r}; use one of: {', '.join(_POSITIONS)}.")
        if self.label and self.positions == "pooled":
            raise SettingError("positions is 'pooled' and label is given; condition with 'joint' or 'own' positions.")

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label that it conditions on."""
        return (self.label,) if self.label else ()

    def values(
        self, seen: Activations, blocks: Sequence[Int[Tensor, "row"]], *, seed: int
    ) -> Iterator[Float[Tensor, "draw row *unit"]]:
        """Yields the donors' activations."""
        reference, n = seen.activation, len(seen.activation)
        labels = seen.labels[self.label].cpu() if self.label else None
        self._check_donors(torch.zeros(n, dtype=torch.int64) if labels is None else labels, seen)
        real = None if seen.real is None else _by_position(seen.real, seen).cpu()
        if not seen.positions or (self.positions == "joint" and real is None):
            by_draw = torch.stack([donors(n, seed=seed, draw=draw, labels=labels) for draw in range(self.draws)])
            for rows in blocks:
                chosen = by_draw[:, rows].to(reference.device)
                yield reference.index_select(0, chosen.flatten()).unflatten(0, chosen.shape)
            return
        # Positions in front, and everything that a position holds behind.
        moved = reference.movedim(seen.positions, tuple(range(1, 1 + len(seen.positions))))
        sizes = moved.shape[1 : 1 + len(seen.positions)]
        flat = moved.flatten(1, len(seen.positions))
        at = [self._at(n, sizes.numel(), seed=seed, draw=draw, labels=labels, real=real) for draw in range(self.draws)]
        entries = flat.flatten(0, 1)
        for rows in blocks:
            chosen = torch.stack([one[rows] for one in at]).to(reference.device)
            shape = (*chosen.shape[:2], *sizes, *entries.shape[1:])
            taken = entries.index_select(0, chosen.flatten()).reshape(shape)
            yield taken.movedim(tuple(range(2, 2 + len(sizes))), tuple(1 + axis for axis in seen.positions))

    def _check_donors(self, labels: Int[Tensor, "example"], seen: Activations) -> None:
        """Checks that some example has another to take an activation from.

        Raises:
            DataError: If each would be its own donor, so that nothing changes.
        """
        alone = len(cast("Tensor", labels.unique())) == len(labels)  # pyright: ignore[reportUnknownMemberType]
        if alone and not (self.positions == "pooled" and seen.positions):
            told = f" with the same label {self.label!r}" if self.label else ""
            raise DataError(
                f"{self.name!r} takes the activation of another example{told}, and none has one; give more."
            )

    def _at(
        self, n: int, positions: int, *, seed: int, draw: int, labels: Tensor | None, real: Tensor | None
    ) -> Int[Tensor, "example position"]:
        """Returns for every example and position which entry of [example, position], flattened, takes its place."""
        if self.positions == "joint":
            order = torch.randperm(n, generator=generator(seed, "donors", draw))
            return _cycle(order, labels, real) * positions + torch.arange(positions)
        stream = generator(seed, "donors", self.positions, draw)
        if self.positions == "pooled":
            known = torch.arange(n * positions) if real is None else real.flatten().nonzero().flatten()
            return known[torch.randint(len(known), (n, positions), generator=stream)]
        own = [
            _cycle(torch.randperm(n, generator=stream), labels, None if real is None else real[:, at : at + 1])
            for at in range(positions)
        ]
        return torch.cat([one.view(n, 1) for one in own], dim=1) * positions + torch.arange(positions)


def donors(n: int, *, seed: int, draw: int, labels: Int[Tensor, "example"] | None = None) -> Int[Tensor, "example"]:
    """Returns for each of ``n`` examples the index of its donor: a uniformly random cyclic permutation.

    With labels there is a cycle for each of them. A cyclic permutation of two or more has no fixed point; a single
    example can only be its own donor.
    """
    return _cycle(torch.randperm(n, generator=generator(seed, "donors", draw)), labels)


def _by_position(real: Bool[Tensor, "example *entry"], seen: Activations) -> Bool[Tensor, "example position"]:
    """Returns which positions count, with one axis of all of them."""
    other = tuple(axis for axis in range(1, real.ndim) if axis not in seen.positions)
    reduced = real.any(other, keepdim=True) if other else real
    shape = [size if axis in (0, *seen.positions) else 1 for axis, size in enumerate(seen.activation.shape)]
    return reduced.expand(shape).flatten(1)


def _cycle(
    order: Int[Tensor, "example"],
    labels: Int[Tensor, "example"] | None,
    real: Bool[Tensor, "example position"] | None = None,
) -> Int[Tensor, "example *position"]:
    """Returns the donors of a cyclic order, at every position among the examples in which it counts."""
    donor = torch.empty_like(order) if real is None else torch.empty_like(real, dtype=order.dtype)
    groups = [order]
    if labels is not None:
        known = cast("Tensor", labels.unique())  # pyright: ignore[reportUnknownMemberType]
        groups = [order[labels[order] == label] for label in known]
    for group in groups:
        donor[group] = group.roll(1) if real is None else group[_previous(real[group])]
    return donor


def _previous(real: Bool[Tensor, "example position"]) -> Int[Tensor, "example position"]:
    """Returns for every example the nearest one before it, around the end, in which the position counts."""
    n = len(real)
    twice = torch.where(real.repeat(2, 1), torch.arange(2 * n)[:, None], -1)
    return twice.cummax(0).values[n - 1 : 2 * n - 1] % n
