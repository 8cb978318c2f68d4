"""Mean ablation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, Activations, Shared, checked_positions
from llc_lightning.ablation.engine.influence import Donors, donors

_MOVES = 2
"""Donors of each example that the mean is moved towards; two tell apart what a donor adds from noise."""
_STEP = 0.1
"""How far: what the loss makes of it is then linear to a few percent, and far above its rounding."""


@METHODS.register(
    "mean", summary="replaces the activation by its mean over the examples",
    source="Wang et al. 2022, arXiv:2211.00593", also=("average",), constant=True, needs_reference=True,
    needs_partner=False, whole=False, draws=1, revision=4,
)  # fmt: skip
@dataclass(frozen=True)
class Mean(Shared):
    """Replaces the activation by its mean over the examples: removes what it says about the input, keeps its level.

    The mean is accumulated in float64. It is estimated from the examples that the effect is measured on, and the
    standard error counts that (:class:`~llc_lightning.ablation.engine.influence.Influences`).
    """

    positions: str = "own"
    """``own``: every position (pixel) has its own mean; ``pooled``: all have the mean over all of them, which is the
    one that is also an edit of the weights."""
    label: str = ""
    """The label to condition on: the mean is then over the examples with the same label, so that what the activation
    says about the label stays. It is an entry of the examples (``1`` for the second of a tuple) or one that the
    module's ``labels(batch)`` gives; '' conditions on nothing."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        checked_positions(self.positions)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label that it conditions on."""
        return (self.label,) if self.label else ()

    def values(
        self, seen: Activations, blocks: Sequence[Int[Tensor, "row"]], *, seed: int
    ) -> Iterator[Float[Tensor, "1 row_or_1 *unit"]]:
        """Yields the mean, or the means of the rows' labels."""
        means, label = self._means(seen)
        for rows in blocks:
            yield (means if label is None else means[label[rows.to(label.device)]])[None]

    def donors(self, seen: Activations, *, seed: int) -> Donors:
        """Returns towards which examples the mean is moved, of the same label where it has one."""
        n = len(seen.activation)
        label = seen.labels[self.label].cpu() if self.label else None
        return Donors(
            torch.stack([donors(n, seed=seed, draw=k, labels=label) for k in range(_MOVES)])[..., None], _STEP
        )

    def moved(
        self, seen: Activations, blocks: Sequence[Int[Tensor, "row"]], *, seed: int
    ) -> Iterator[Float[Tensor, "draw row *unit"]]:
        """Yields the mean moved a little towards what a donor adds to it."""
        means, label = self._means(seen)
        by_draw = self.donors(seen, seed=seed).by_draw[..., 0]
        for rows in blocks:
            mean = means if label is None else means[label[rows.to(label.device)]]
            given = [self._apart(seen, one[rows].to(means.device), mean, label) for one in by_draw]
            yield torch.stack([mean + _STEP * one for one in given])

    def _means(self, seen: Activations) -> tuple[Float[Tensor, "label *unit"], Int[Tensor, "example"] | None]:
        """Returns the mean of every label, and the place of each example's own; one mean where there are none."""
        dtype = seen.activation.dtype
        if not self.label:
            means = self._over_positions(seen.mean()[None], _counts(seen.real), seen)
            return means.to(dtype), None
        given = seen.labels[self.label]
        classes = cast("Tensor", given.unique())  # pyright: ignore[reportUnknownMemberType]
        labels = torch.searchsorted(classes, given)
        groups = [seen.of((labels == place).nonzero().flatten()) for place in range(len(classes))]
        counts = None if seen.real is None else torch.cat([cast("Tensor", _counts(group.real)) for group in groups])
        means = torch.stack([group.mean() for group in groups])
        return self._over_positions(means, counts, seen).to(dtype), labels

    def _apart(
        self,
        seen: Activations,
        donor: Int[Tensor, "row"],
        mean: Float[Tensor, "row_or_1 *unit"],
        label: Int[Tensor, "example"] | None,
    ) -> Float[Tensor, "row *unit"]:
        """Returns what donors add to the mean, times the number of examples that it is estimated from."""
        given = seen.activation[donor]
        if seen.real is None:
            return self._over_positions(given, None, seen) - mean
        # A position that counts in few examples takes more from each; where it does not count it takes nothing.
        apart = torch.where(seen.real[donor], given - mean, 0)
        group = given.new_ones(1, len(seen.real)) if label is None else (label == label[donor][:, None]).to(given)
        counts = (group @ seen.real.flatten(1).to(given)).view(-1, *seen.real.shape[1:]).expand_as(mean)
        number = group.sum(1).view(-1, *(1,) * (mean.ndim - 1))
        if self.positions == "pooled" and seen.positions:
            apart, counts = (one.sum(seen.positions, keepdim=True) for one in (apart, counts))
        return (apart * (number / counts.clamp_min(1))).expand_as(given)

    def _over_positions(
        self, means: Float[Tensor, "label *unit"], counts: Int[Tensor, "label *entry"] | None, seen: Activations
    ) -> Float[Tensor, "label *unit"]:
        if self.positions == "own" or not seen.positions:
            return means
        if counts is None:
            return means.mean(seen.positions, keepdim=True).expand_as(means)
        weights = counts.expand_as(means)
        total, count = (one.sum(seen.positions, keepdim=True) for one in (means * weights, weights))
        return (total / count.clamp_min(1)).expand_as(means)


def _counts(real: Bool[Tensor, "example *entry"] | None) -> Int[Tensor, "1 *entry"] | None:
    """Returns in how many examples each entry counts."""
    return None if real is None else real.sum(0, keepdim=True)
