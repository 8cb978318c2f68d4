"""The contract of a sampler, and the table of samplers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.registry import Registry
from llc_lightning.sampling.stacked import Stack


@dataclass(frozen=True)
class Posterior:
    """The localised tempered posterior ``p(w) ~ exp(-n_beta L(w) - gamma/2 |w - w*|^2)`` of every lane.

    The centre is [1, lane, *slice] by parameter. Source: Lau et al. 2023, arXiv:2308.12108.
    """

    centre: Stack
    n_beta: Float[Tensor, "lane"]
    gamma: Float[Tensor, "lane"]


class Sampler(ABC):
    """A Markov chain whose stationary distribution is the posterior, stepped for all chains and lanes at once.

    Args:
        posterior: What is sampled.
        step_size: ``eps`` of each lane, in the convention ``w' = w - eps/2 grad U + sqrt(eps) xi``.
        preconditioner: Optional constant positive diagonal, [1, lane, *slice]; ``eps`` becomes ``eps *
            preconditioner``.
    """

    @abstractmethod
    def __init__(
        self, posterior: Posterior, step_size: Float[Tensor, "lane"], preconditioner: Stack | None
    ) -> None: ...

    @abstractmethod
    def step(self, position: Stack, gradient: Stack, noise: Callable[[], Stack]) -> None:
        """Moves ``position`` in place.

        Args:
            position: Where the chains are.
            gradient: The gradient of the (minibatch) mean loss there.
            noise: Draws standard normal noise, [chain, 1, *slice].
        """


SAMPLERS: Registry[type[Sampler]] = Registry("sampler")
"""All samplers by name."""
