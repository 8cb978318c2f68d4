"""Sums over examples, of vectors at every chain, that keep no vector."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llc_lightning.sampling.curvature import taken
from llc_lightning.sampling.products import inner, products, total
from llc_lightning.sampling.stacked import Stack

_TINY = 1e-30


class Spread:
    """The variance over examples of vectors at every chain, summed over weights: mean square less square of the mean.

    Both of what is left when the first vector of the chain is taken off: where all of them are the same nothing is,
    however long they are. Rows are of one chain after the other.

    Args:
        factor: What every weight counts, [1 or chain, lane, *slice].
        chains: How many there are.
    """

    def __init__(self, factor: Stack, chains: int) -> None:
        self._factor = factor
        self._chains = chains
        self._first: Stack = {}
        self._sums: Stack = {}
        self._squares = torch.zeros((), dtype=torch.float64)
        self._counts = torch.zeros(chains, dtype=torch.long)

    def add(self, rows: Stack, there: Bool[Tensor, "row"], counted: Bool[Tensor, "row lane"]) -> None:
        """Adds rows; used up.

        Args:
            rows: The vectors, [row, lane, *slice].
            there: Which of them are of an example, by whose number everything is divided.
            counted: Which of these count on a lane; in place of the others stands the first vector.
        """
        parts: list[Tensor] = []
        for name, value in taken(rows):
            each = self._each(value)
            left = each - self._first.setdefault(name, each[0].clone())
            _leave_out(left, counted)
            summed = left.sum(0) if len(left) > 1 or name not in self._sums else left[0]
            self._sums[name] = self._sums[name].add_(summed) if name in self._sums else summed
            parts.append(self._square(name, left))
        squares = total(parts)
        self._squares = self._squares.to(squares.device) + self._each(squares).sum(0)
        self._counts += there.view(-1, self._chains).sum(0)

    def variance(self) -> Float[Tensor, "lane"]:
        """Returns its mean over chains."""
        seen = self._counts.clamp(min=1).to(self._squares.device)[:, None]
        mean = {name: value * self._factor[name] for name, value in self._sums.items()}
        each = self._squares / seen - inner(mean, mean).double() / seen.square()
        return each.clamp(min=0).mean(0)

    def about_mean(self, rows: Stack, counted: Bool[Tensor, "row lane"]) -> Float[Tensor, "row lane"]:
        """Returns the squares of other rows about the means so far, 0 of what does not count; used up."""
        parts: list[Tensor] = []
        for name, value in taken(rows):
            seen = self._counts.clamp(min=1).to(value).view(-1, *(1,) * (value.ndim - 1))
            left = self._each(value) - (self._first[name] + self._sums[name] / seen)
            _leave_out(left, counted)
            parts.append(self._square(name, left))
        return total(parts)

    def _each(self, value: Tensor) -> Tensor:
        return value.view(-1, self._chains, *value.shape[1:])

    def _square(self, name: str, left: Tensor) -> Float[Tensor, "row lane"]:
        rows = left.mul_(self._factor[name]).flatten(0, 1)
        return products(rows, rows).double()


class Mean:
    """The mean over examples of a number of every lane."""

    def __init__(self) -> None:
        self._sums = torch.zeros(3, 1, dtype=torch.float64)

    def add(self, values: Float[Tensor, "row lane"], counted: Bool[Tensor, "row lane"]) -> None:
        """Adds those that count."""
        some = values.double().masked_fill(~counted.to(values.device), 0.0)
        more = torch.stack([counted.to(some).sum(0), some.sum(0), some.square().sum(0)])
        self._sums = self._sums.to(more.device) + more

    def relative_error(self) -> Float[Tensor, "lane"]:
        """Returns its standard error as a share of it; 1 for one value, 0 where all are 0."""
        count, mean, square = self._sums[0], *(self._sums[1:] / self._sums[0].clamp(min=1))
        variance = (square - mean.square()).clamp(min=0) / (count - 1).clamp(min=1)
        relative = (variance.sqrt() / mean.clamp(min=_TINY)).nan_to_num(nan=0.0)
        return torch.where(count > 1, relative, 1.0)


def _leave_out(left: Tensor, counted: Bool[Tensor, "row lane"]) -> None:
    """Puts 0 in place of what does not count of rows [turn, chain, lane, *slice]."""
    if not bool(counted.all()):
        out = ~counted.view(*left.shape[:3], *(1,) * (left.ndim - 3))
        left.masked_fill_(out.to(left.device), 0.0)
