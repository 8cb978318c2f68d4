"""Mean ablation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, Activations, Shared, checked_positions


@METHODS.register(
    "mean", summary="replaces the activation by its mean over the examples",
    source="Wang et al. 2022, arXiv:2211.00593", also=("average",), constant=True, needs_reference=True,
    needs_partner=False, whole=False, draws=1,
)  # fmt: skip
@dataclass(frozen=True)
class Mean(Shared):
    """Replaces the activation by its mean over the examples: removes what it says about the input, keeps its level.

    The mean is accumulated in float64.
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
        if not self.label:
            mean = self._over_positions(seen.mean()[None], _counts(seen.real), seen).to(seen.activation.dtype)
            yield from (mean[None] for _ in blocks)
            return
        given = seen.labels[self.label]
        classes = cast("Tensor", given.unique())  # pyright: ignore[reportUnknownMemberType]
        labels = torch.searchsorted(classes, given)
        groups = [seen.of((labels == place).nonzero().flatten()) for place in range(len(classes))]
        counts = None if seen.real is None else torch.cat([cast("Tensor", _counts(group.real)) for group in groups])
        means = torch.stack([group.mean() for group in groups])
        means = self._over_positions(means, counts, seen).to(seen.activation.dtype)
        for rows in blocks:
            yield means[labels[rows.to(labels.device)]][None]

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
