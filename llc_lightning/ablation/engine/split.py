"""Three parts of the examples, so that what is fitted and chosen on some is measured on others."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from llc_lightning.runtime.seeding import generator

_SELECT = 1024
"""So many examples at most select."""


@dataclass(frozen=True)
class Split:
    """Three random parts of the examples, by their index."""

    fit: Int[Tensor, "fit"]
    """One half, on which constants are fitted."""
    select: Int[Tensor, "select"]
    """One quarter, 1024 at most, which select among constants."""
    score: Int[Tensor, "score"]
    """The others, on which effects are measured; of one or two examples those that select."""


def split_examples(n: int, *, seed: int) -> Split:
    """Returns the parts of ``n`` examples; a single one is in all of them."""
    order = torch.randperm(n, generator=generator(seed, "held-out"))
    if n == 1:
        return Split(order, order, order)
    rest = order[n // 2 :]
    size = min(_SELECT, max(1, len(rest) // 2))
    select, score = rest[:size], rest[size:] if len(rest) > 1 else rest
    return Split(order[: n // 2].sort().values, select.sort().values, score.sort().values)
