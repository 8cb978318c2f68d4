"""A loss whose value at finite n_beta is known exactly, and how it is estimated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from llc_lightning.runtime.batches import LossFn, Params


ONE_EXAMPLE = torch.zeros(1)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A loss at w*, its resolution, and the exact ``n_beta E[L(w) - L(w*)]`` there."""

    name: str
    group: str
    loss: LossFn
    params: Params
    n_beta: float
    gamma: float
    value: Callable[[], float]
    """Computes the exact value; ``exact`` keeps it."""
    known: str
    """How it is known."""
    again: Callable[[], float] | None = None
    """Computes it a second, unrelated way, for the tests."""
    error: float = 0.0
    """Standard error of the exact value, where it is itself a mean."""
    data: Tensor | tuple[Tensor, ...] = ONE_EXAMPLE
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What differs from the defaults of ``estimate_llc``: what belongs to the case, such as a batch size."""
    holds: frozenset[str] = frozenset()
    """Reasons that hold here by their definition, so that they are no false alarm: not-local, not-a-minimum."""
    out_of_reach: bool = False
    """Whether no chain that starts at w* can see all that the value counts."""

    @cached_property
    def exact(self) -> float:
        """The exact value."""
        return self.value()


def of_weights(function: Callable[[Tensor], Tensor]) -> LossFn:
    """Returns the loss that is a function of the weights ``w`` alone, the same for every example."""

    def loss(params: Params, batch: Tensor) -> Tensor:
        return function(params["w"]) + 0 * batch

    return loss


def rotation(dimension: int, seed: int) -> Tensor:
    """Returns a random orthogonal matrix, in double precision."""
    draws = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(dimension, dimension, generator=draws, dtype=torch.float64)).Q


def turned(function: Callable[[Tensor], Tensor], dimension: int, seed: int) -> Callable[[Tensor], Tensor]:
    """Returns the function in coordinates at random angles; the localisation is round, so that its value stays."""
    turn = rotation(dimension, seed).float()
    return lambda w: function(turn.to(w) @ w)


def quadratic_sum(curvature: Sequence[float], *, n_beta: float, gamma: float) -> float:
    """Returns ``1/2 sum_i n_beta h_i / (n_beta h_i + gamma)``: the value of a quadratic, of any directions."""
    return sum(n_beta * h / (n_beta * h + gamma) for h in curvature) / 2
