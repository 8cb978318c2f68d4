"""Which ablations share a forward pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Run:
    """Lanes of one pass that share a kind of value and a draw and follow each other: a range of components."""

    kind: int
    draw: int
    lanes: slice
    components: slice


@dataclass(frozen=True)
class Pass:
    """The lanes of one forward pass: their components (-1 for none), and what they are."""

    components: Int[Tensor, "lane"]
    runs: tuple[Run, ...]


def plan(n_components: int, draws: Sequence[int], most: int, together: int = 1) -> tuple[Pass, ...]:
    """Returns passes of equal size, ``most`` lanes at most: nothing replaced, then every component for every draw.

    Args:
        n_components: The number of components.
        draws: The number of draws of every kind of value.
        most: Lanes per pass.
        together: Their number is a multiple of this.

    Example:
        >>> [one.components.tolist() for one in plan(2, [1, 2], 4)]
        [[-1, 0, 1, 0], [1, 0, 1, -1]]
    """
    # All lanes are one row: the one that replaces nothing, then for each kind and draw every component in order. Passes
    # cut it into equal pieces, filled up at the end, so that one traced graph serves them all.
    kinds = [(kind, draw) for kind, count in enumerate(draws) for draw in range(count)]
    total = 1 + n_components * len(kinds)
    most = max(1, min(most, total + together - 1) // together)
    # Of the larger sizes the one that leaves the fewest lanes empty.
    size = together * min(range(most, most // 2, -1), key=lambda some: -(-total // (some * together)) * some)
    count = -(-total // size)
    lane = torch.arange(count * size)
    numbers = torch.where((lane > 0) & (lane < total), (lane - 1) % n_components, -1)
    passes: list[Pass] = []
    for start in range(0, count * size, size):
        runs: list[Run] = []
        at, stop = max(start, 1), min(start + size, total)
        while at < stop:
            number, first = divmod(at - 1, n_components)
            length = min(n_components - first, stop - at)
            runs.append(Run(*kinds[number], slice(at - start, at - start + length), slice(first, first + length)))
            at += length
        passes.append(Pass(numbers[start : start + size], tuple(runs)))
    return tuple(passes)
