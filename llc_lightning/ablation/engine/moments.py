"""Means and standard errors over examples, summed in float64 and in an order that no layout can change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.runtime.batches import chunks

_SLAB = 1024
_TOGETHER = 1 << 14
"""So many numbers are worth a sum of their own."""


def tree_sum(values: Float[Tensor, "series row task"]) -> Float[Tensor, "series task"]:
    """Returns the sum over rows, a power of two of them, by adding halves.

    Elementwise additions alone, so that the bits of one series do not depend on how many are summed beside it, as they
    may in a library's reduction; the error grows with the logarithm of the rows.

    Example:
        >>> tree_sum(torch.tensor([[[1.0], [2.0], [3.0], [4.0]]]))
        tensor([[10.]])
    """
    while values.shape[1] > 1:
        values = torch.add(*values.chunk(2, dim=1))
    return values[:, 0]


class RowSums:
    """Sums over rows, by halves, and over blocks, in their order; small blocks wait for others to be summed in one go.

    Args:
        start: What is added to; by default the first block's sums are the first.
    """

    def __init__(self, start: Float[Tensor, "series task"] | None = None) -> None:
        self._total: Tensor | None = start
        self._at = slice(None)
        self._waiting: list[Tensor] = []

    def add(self, values: Float[Tensor, "series row task"], at: slice = slice(None)) -> None:
        """Adds a block of some series, all of them where there is no start."""
        if self._waiting and (at, values.shape) != (self._at, self._waiting[0].shape):
            self._sum()
        self._at = at
        self._waiting.append(values)
        if len(self._waiting) * values.numel() >= _TOGETHER:
            self._sum()

    def total(self) -> Float[Tensor, "series task"]:
        """Returns the sums so far."""
        self._sum()
        if self._total is None:
            raise RuntimeError("no block of examples was added")
        return self._total

    def _sum(self) -> None:
        if not self._waiting:
            return
        several = torch.cat(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
        untyped: Any = tree_sum(several)
        blocks: tuple[Tensor, ...] = untyped.split(len(self._waiting[0]))
        for sums in blocks:
            if self._total is None:
                self._total = sums
            else:
                self._total[self._at] += sums.to(self._total.device)
        self._waiting = []


@dataclass(frozen=True)
class Counted:
    """Which losses of a block count for which task, and how to pack these: a task may be active in few examples."""

    mask: Bool[Tensor, "packed task"]
    """Which of the packed losses count."""
    index: Int[Tensor, "entry"] | None
    """Where the packed losses stand among the block's, flattened; None where packing would save nothing."""

    @classmethod
    def of(cls, mask: Bool[Tensor, "row task"]) -> Counted:
        """Returns the packing of a block: for every task the examples that count, in order, then others as filling."""
        rows, tasks = mask.shape
        packed = 1 << max(int(mask.sum(0).max()) - 1, 0).bit_length()
        if packed >= rows:
            return cls(mask, None)
        # A stable sort by counting, which is several times faster: those that count come first, in order.
        seen, row = mask.cumsum(0), torch.arange(rows, device=mask.device)[:, None].expand_as(mask)
        order = torch.empty_like(seen).scatter_(0, torch.where(mask, seen - 1, seen[-1] + row - seen), row)[:packed]
        index = order * tasks + torch.arange(tasks, device=mask.device)
        return cls(mask.gather(0, order), index.flatten())

    def pack(self, values: Float[Tensor, "series row task"]) -> Float[Tensor, "series packed task"]:
        """Returns the losses that count, and the filling."""
        if self.index is None:
            return values
        return values.flatten(1).index_select(1, self.index).view(len(values), *self.mask.shape)


class Moments:
    """Running sums over blocks of examples, of several series that are each split into tasks.

    Args:
        errors: Whether the standard errors and skewness are asked for; they are NaN else.
    """

    def __init__(self, *, errors: bool = True) -> None:
        self._powers, self._errors = RowSums(), errors
        self._count: Tensor | None = None

    def add(self, values: Float[Tensor, "series packed task"], mask: Bool[Tensor, "packed task"]) -> None:
        """Adds packed values; those that do not count may be anything, also NaN."""
        kept = values.masked_fill(~mask, 0).double()
        self._powers.add(torch.cat([kept, kept.square(), kept.pow(3)]) if self._errors else kept)
        count = mask.sum(0, keepdim=True).double()
        self._count = count if self._count is None else self._count + count

    def results(
        self,
    ) -> tuple[
        Float[Tensor, "1 task"],
        Float[Tensor, "series task"],
        Float[Tensor, "series task"],
        Float[Tensor, "series task"],
    ]:
        """Returns the number of examples that count, the means, their standard errors SD / sqrt(n) and skewness.

        The SD has n - 1 in its denominator. A mean without examples and an error with fewer than two are NaN. The
        skewness is that of the mean over examples, which is that of one example over sqrt(n).
        """
        if self._count is None:
            raise RuntimeError("no block of examples was added")
        count = self._count
        if not self._errors:
            mean = self._powers.total() / count
            return count, mean, torch.full_like(mean, torch.nan), torch.full_like(mean, torch.nan)
        total, squares, cubes = self._powers.total().chunk(3)
        mean = total / count
        spread = (squares - total * mean).clamp_min(0)
        skew = (cubes - 3 * mean * squares + 2 * total * mean.square()) / spread.pow(1.5)
        freedom = torch.where(count > 1, count - 1, torch.nan)
        return count, mean, (spread / freedom / count).sqrt(), skew


def mean_over_examples(
    values: Float[Tensor, "example *unit"], real: Bool[Tensor, "example *entry"] | None = None
) -> Float[Tensor, "*unit"]:
    """Returns the float64 mean over the examples, a slab at a time so that no float64 copy of all of them is made.

    Args:
        values: The values.
        real: Which of them count, to broadcast; 0 is the mean of none. None for all.
    """
    total = torch.zeros(values.shape[1:], dtype=torch.float64, device=values.device)
    for slab in chunks(len(values), _SLAB):
        total += _counting(values, real, slab).sum(0, dtype=torch.float64)
    return total / (len(values) if real is None else real.sum(0).clamp_min(1))


def sd_over_examples(
    values: Float[Tensor, "example *unit"], real: Bool[Tensor, "example *entry"] | None = None
) -> Float[Tensor, "*unit"]:
    """Returns the float64 standard deviation over the examples (n in its denominator; 0 for a single one).

    Args:
        values: The values.
        real: Which of them count, to broadcast; None for all.
    """
    mean = mean_over_examples(values, real)
    total = torch.zeros_like(mean)
    for slab in chunks(len(values), _SLAB):
        total += _counting((values[slab] - mean).square(), None if real is None else real[slab]).sum(0)
    return (total / (len(values) if real is None else real.sum(0).clamp_min(1))).sqrt()


def _counting(values: Tensor, real: Tensor | None, slab: slice = slice(None)) -> Tensor:
    """Returns values with 0 for those that do not count."""
    return values[slab] if real is None else torch.where(real[slab], values[slab], 0)
