"""How examples are parted: in blocks of one fixed size, whatever else is computed beside them, and in two folds.

What is fitted on some examples is measured on others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from llc_lightning.runtime.batches import Batch, n_examples, take
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.seeding import generator

_SMALLEST, _LARGEST = 4, 256
_VECTORS = 64
"""Rows of a pass, at least, and a multiple of it."""


@dataclass(frozen=True)
class Blocks:
    """Examples in blocks of ``size``; the last block is filled up with its last example, and ``real`` says so.

    The size is a power of two. Elementwise kernels work on vectors of up to 32 numbers and treat what is left over, or
    lies where two threads meet, by other code with other last bits: of a forward pass whose rows are a multiple of 64
    nothing is left over, at one thread and at two, and the bits of an ablation are the same wherever in the pass it
    stands. Where blocks are smaller, several ablations fill such a pass (``together``).
    """

    data: Batch
    n: int
    size: int

    @classmethod
    def of(cls, data: Batch, size: int | None = None) -> Blocks:
        """Returns the examples in blocks; without a size it follows from the number of examples alone.

        Raises:
            DataError: If the data are no examples, or none.
            SettingError: If the size is not a power of two.
        """
        n = n_examples(data)
        if size is None:
            size = min(_LARGEST, max(_SMALLEST, 1 << (n - 1).bit_length()))
        if size < 1 or size & (size - 1):
            raise SettingError(f"the block size is {size}; give a power of two, such as 64 or 256.")
        return cls(data, n, size)

    @cached_property
    def rows(self) -> tuple[Int[Tensor, "row"], ...]:
        """The examples of every block, by their index."""
        last = self.n - 1
        return tuple(torch.arange(start, start + self.size).clamp_max(last) for start in range(0, self.n, self.size))

    def __len__(self) -> int:
        """Returns the number of blocks."""
        return len(self.rows)

    @property
    def together(self) -> int:
        """The ablations of a forward pass are a multiple of this."""
        return lanes_together(self.size)

    @cached_property
    def batches(self) -> tuple[Batch, ...]:
        """The examples of every block, copies, since a module may write to them; the same objects every time."""
        return tuple(take(self.data, rows) for rows in self.rows)

    def real(self, block: int) -> Bool[Tensor, "row"]:
        """Says which rows of a block are examples of their own, not filling."""
        return torch.arange(self.size) < self.n - block * self.size


def lanes_together(rows: int) -> int:
    """Returns how many lanes of so many rows, a power of two, leave nothing over in a vector; see :class:`Blocks`."""
    return max(1, _VECTORS // rows)


def fold_orders(n: int, *, seed: int) -> tuple[Int[Tensor, "fit"], ...]:
    """Returns for each of two folds the examples that are not in it, in random order; a single one is in both."""
    order = torch.randperm(n, generator=generator(seed, "held-out"))
    return (order, order) if n == 1 else (order[n // 2 :], order[: n // 2])


def fold_of(n: int, *, seed: int) -> Int[Tensor, "example"]:
    """Returns the fold of every example: what is fitted for it is fitted on the others of :func:`fold_orders`."""
    folds = torch.zeros(n, dtype=torch.int64)
    folds[fold_orders(n, seed=seed)[0]] = int(n > 1)
    return folds
