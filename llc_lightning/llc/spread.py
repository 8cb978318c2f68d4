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
    however long they are. A chain has some of the examples, and stands for all of them: ``(1 - 1 / n) / (1 - 1 / k)``
    is what k of n without replacement lack. Rows are of one chain after the other.

    Args:
        factor: What every weight counts, [1 or chain, lane, *slice].
        chains: How many there are.
        n: Of how many examples the variance is.
    """

    def __init__(self, factor: Stack, chains: int, n: int) -> None:
        self._factor = factor
        self._chains = chains
        self._n = n
        self._first: Stack = {}
        self._sums: Stack = {}
        self._squares = torch.zeros((), dtype=torch.float64)
        self._there = torch.zeros(chains, 1, dtype=torch.long)
        self._counts = torch.zeros(chains, 1, dtype=torch.long)

    def add(self, rows: Stack, there: Bool[Tensor, "row"], counted: Bool[Tensor, "row lane"]) -> None:
        """Adds rows; used up.

        Args:
            rows: The vectors, [row, lane, *slice].
            there: Which of them are of an example.
            counted: Which of these count on a lane; the variance is about the mean of those.
        """
        parts: list[Tensor] = []
        for name, value in taken(rows):
            each = self._each(value)
            if name not in self._first:
                self._first[name] = each[0].clone()
            left = each - self._first[name]
            _leave_out(left, counted)
            summed = left.sum(0) if len(left) > 1 or name not in self._sums else left[0]
            self._sums[name] = self._sums[name].add_(summed) if name in self._sums else summed
            parts.append(self._square(name, left))
        squares = total(parts)
        self._squares = self._squares.to(squares.device) + self._each(squares).sum(0)
        self._there = self._there + self._each(there[:, None]).sum(0)
        self._counts = self._counts + self._each(counted).sum(0)

    def variance(self) -> Float[Tensor, "lane"]:
        """Returns its mean over chains, times the share of the examples that count."""
        there, counts = (some.to(self._squares) for some in (self._there, self._counts))
        summed = {name: value * self._factor[name] for name, value in self._sums.items()}
        squares = self._squares - inner(summed, summed).double() / counts.clamp(min=1)
        each = squares / (counts - 1).clamp(min=1) * (1 - 1 / self._n) * counts / there.clamp(min=1)
        return each.clamp(min=0).mean(0)

    def about_mean(self, rows: Stack, counted: Bool[Tensor, "row lane"]) -> Float[Tensor, "row lane"]:
        """Returns the squares of other rows about the means so far, 0 of what does not count; used up."""
        parts: list[Tensor] = []
        for name, value in taken(rows):
            seen = self._counts.clamp(min=1).to(value)
            seen = seen.view(*seen.shape, *(1,) * (value.ndim - 2))
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
