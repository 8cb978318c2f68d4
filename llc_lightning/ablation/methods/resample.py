"""Resample ablation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, Activations, Shared
from llc_lightning.ablation.engine.influence import Donors, cycle, donors
from llc_lightning.runtime.errors import DataError, SettingError
from llc_lightning.runtime.seeding import generator

_POSITIONS = ("joint", "own", "pooled")


@METHODS.register(
    "resample", summary="replaces the activation by that of another example",
    source="Chan et al. 2022, causal scrubbing; Li and Janson 2024, arXiv:2409.09951",
    also=("shuffle", "permute"), constant=False, needs_reference=True, needs_partner=False, whole=False, draws=4,
    revision=4,
)  # fmt: skip
@dataclass(frozen=True)
class Resample(Shared):
    """Replaces the activation by that of a donor: another example, drawn at random, the same for all units.

    It keeps the activation's marginal distribution and removes what it says about the input. The donors of a draw are a
    permutation without fixed points (:func:`donors`), the same at every hook point and step. Where positions are
    masked, the donor at a position is the nearest example behind in the permutation in which it counts. Every example
    is also others' donor, and the standard error counts that
    (:class:`~llc_lightning.ablation.engine.influence.Influences`).
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
        real = _by_position(seen)
        if self._is_joint(seen) and real is None:
            by_draw = self._joint(n, seed, labels)
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

    def donors(self, seen: Activations, *, seed: int) -> Donors:
        """Returns the donors of every draw, for all positions or for each.

        Of masked positions: of all together the donor of most of them, of each by itself only those that count.
        """
        n, real = len(seen.activation), _by_position(seen)
        labels = seen.labels[self.label].cpu() if self.label else None
        if self._is_joint(seen) and real is None:
            return Donors(self._joint(n, seed, labels)[..., None])
        positions = torch.Size(seen.activation.shape[axis] for axis in seen.positions).numel()
        draws = range(self.draws)
        at = torch.stack([self._at(n, positions, seed=seed, draw=draw, labels=labels, real=real) for draw in draws])
        return Donors(at // positions if real is None else _of_those(at // positions, real, one=self._is_joint(seen)))

    def _is_joint(self, seen: Activations) -> bool:
        return self.positions == "joint" or not seen.positions

    def _joint(self, n: int, seed: int, labels: Int[Tensor, "example"] | None) -> Int[Tensor, "draw example"]:
        return torch.stack([donors(n, seed=seed, draw=draw, labels=labels) for draw in range(self.draws)])

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
            return cycle(order, labels, real) * positions + torch.arange(positions)
        stream = generator(seed, "donors", self.positions, draw)
        if self.positions == "pooled":
            known = torch.arange(n * positions) if real is None else real.flatten().nonzero().flatten()
            return known[torch.randint(len(known), (n, positions), generator=stream)]
        own = [
            cycle(torch.randperm(n, generator=stream), labels, None if real is None else real[:, at : at + 1])
            for at in range(positions)
        ]
        return torch.cat([one.view(n, 1) for one in own], dim=1) * positions + torch.arange(positions)


def _of_those(
    by_draw: Int[Tensor, "draw example position"], real: Bool[Tensor, "example position"], *, one: bool
) -> Int[Tensor, "draw example place"]:
    """Returns donors at the positions that count alone, which stand for the others in turn; or the one of most."""
    order = real.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    turn = order.gather(1, torch.arange(real.shape[1]) % real.sum(1, keepdim=True))
    given = by_draw.gather(2, turn.expand_as(by_draw))
    return given.mode(2, keepdim=True).values if one else given


def _by_position(seen: Activations) -> Bool[Tensor, "example position"] | None:
    """Returns which positions count, with one axis of all of them; None where all do."""
    real = seen.real
    if real is None or not seen.positions:
        return None
    other = tuple(axis for axis in range(1, real.ndim) if axis not in seen.positions)
    reduced = real.any(other, keepdim=True) if other else real
    shape = [size if axis in (0, *seen.positions) else 1 for axis, size in enumerate(seen.activation.shape)]
    return reduced.expand(shape).flatten(1).cpu()
