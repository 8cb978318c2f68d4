"""What is known of an estimate beside its value, in a few groups; what is not known is NaN, or empty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llc_lightning.llc.settings import ChainSettings

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

_NAN = math.nan


@dataclass(frozen=True, kw_only=True)
class Run:
    """How the chains were run."""

    settings: ChainSettings
    seed: int
    replicate: int
    step_size: float
    evaluations: int
    """Gradients of single examples that the chains took."""
    vmapped: bool

    @classmethod
    def unknown(cls, settings: ChainSettings, *, seed: int, replicate: int) -> Run:
        """Returns the run of chains that were asked for and not run."""
        return cls(settings=settings, seed=seed, replicate=replicate, step_size=_NAN, evaluations=0, vmapped=True)


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The weights w* and the loss there; lengths are Euclidean, losses in the unit of the loss function."""

    weights_digest: str
    """Names w*."""
    dimension: int
    """The number of moved weights."""
    weight_norm: float
    """Of the moved weights."""
    model_norm: float
    """Of all weights."""
    n_examples: int
    loss: float
    loss_stderr: float
    gradient_norm: float
    """Of the moved weights."""
    gradient_noise: float
    """The standard error of the gradient norm, as if the examples were drawn; NaN for one example."""
    curvature: float
    """The largest absolute eigenvalue of the Hessian of the loss at w*, along the moved weights."""
    expected_distance: float
    """In the quadratic approximation at w*; larger on losses that are flatter farther out."""

    @classmethod
    def unknown(cls) -> Geometry:
        """Returns NaN, '' and 0."""
        return cls(
            weights_digest="", dimension=0, weight_norm=_NAN, model_norm=_NAN, n_examples=0, loss=_NAN,
            loss_stderr=_NAN, gradient_norm=_NAN, gradient_noise=_NAN, curvature=_NAN, expected_distance=_NAN,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Bias:
    """What the value misses, and what it has too much of."""

    correction: float
    """Delta, what the value misses because w* is not a minimum."""
    predicted_bias: float
    """What the step size adds to the value in the quadratic approximation; NaN where there is no formula."""
    unsettled: float
    """The share of the value that directions would still add, which have not settled: in the quadratic approximation
    where the chains are when burn-in ends."""
    noise_bias: float
    """What the noise of minibatches adds to the value, to first order, or where that is little a bound of it: 0 with
    the full batch, NaN where it is not known."""
    noise_bias_stderr: float

    @classmethod
    def unknown(cls) -> Bias:
        """Returns NaN throughout."""
        return cls(correction=_NAN, predicted_bias=_NAN, unsettled=_NAN, noise_bias=_NAN, noise_bias_stderr=_NAN)


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Where the chains went."""

    healthy_chains: int
    """Those that neither died nor exploded."""
    per_chain: tuple[float, ...]
    """The means of all chains, NaN for those that died or exploded."""
    distance: float
    """From w* to the moved weights, the root mean square over draws."""
    temperature: float
    """What the virial is of its value in equilibrium: above 1 the chains are too hot, below 1 not there yet; NaN where
    the curvature is 0."""
    acceptance: float
    """The share of accepted proposals, burn-in included; NaN where the sampler makes none."""
    box_hits: float
    """The share of single weights' moves that the box held back, burn-in included; 0 without one."""

    @classmethod
    def unknown(cls) -> Motion:
        """Returns no chain."""
        return cls(
            healthy_chains=0, per_chain=(), distance=_NAN, temperature=_NAN, acceptance=_NAN, box_hits=_NAN
        )  # fmt: skip


@dataclass(frozen=True)
class ChainLosses:
    """The losses along every chain, burn-in included.

    ``excess`` is that of the minibatch minus ``baseline``, which is that of w* on the same minibatch.
    """

    excess: Float[Tensor, "chain step"]
    baseline: Float[Tensor, "chain step"]

    @classmethod
    def unknown(cls, chains: int) -> ChainLosses:
        """Returns no step of so many chains."""
        import torch

        return cls(torch.empty(chains, 0), torch.empty(chains, 0))
