"""The value of a linear network at finite n_beta by Gibbs sampling, which has no step size and no bias.

Given the others, each layer of ``1/2 |W_L .. W_1 - T|^2`` with Gaussian localisation is Gaussian: it is drawn
exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mean:
    """A mean over independent chains, its standard error, and the largest R-hat of the halves of chains."""

    value: float
    error: float
    rhat: float
    distance: float
    """Root mean square distance of all weights from w*."""


def sampled(
    weights: Sequence[Tensor], *, n_beta: float, gamma: float, chains: int, sweeps: int, burn_in: int, seed: int = 0
) -> Mean:
    """Returns ``n_beta E[L]`` around weights whose product is the target, from chains that start there.

    Every sweep draws each layer once. What is averaged is the mean of ``L`` given the other layers, in place of ``L``
    (Gelfand and Smith 1990, Journal of the American Statistical Association 85).

    Args:
        weights: ``W_1`` to ``W_L``, in double precision.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation.
        chains: How many independent chains.
        sweeps: Sweeps of each that are averaged.
        burn_in: Sweeps before.
        seed: Of the draws.
    """
    draws = torch.Generator().manual_seed(seed)
    target = _product(weights)
    layers = [weight.expand(chains, *weight.shape) for weight in weights]
    energies, distances = torch.zeros(sweeps, chains).double(), torch.zeros(chains).double()
    for sweep in range(-burn_in, sweeps):
        for i, centre in enumerate(weights):
            layers[i], energy = _drawn(layers[:i], centre, layers[i + 1 :], target, n_beta, gamma, draws)
        if sweep >= 0:
            energies[sweep] = energy
            distances += sum((a - b).square().sum((1, 2)) for a, b in zip(layers, weights, strict=True)) / sweeps
    means = energies.mean(0)
    return Mean(
        means.mean().item(), (means.std() / chains**0.5).item(), _rhat(energies), distances.mean().sqrt().item()
    )


def _drawn(
    below: Sequence[Tensor], centre: Tensor, above: Sequence[Tensor], target: Tensor, n_beta: float, gamma: float,
    draws: torch.Generator,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Returns a draw of the layer given the others, [chain, out, in], and the mean of ``n_beta L`` given them."""
    out, into = centre.shape
    left = _product(above) if above else torch.eye(out, dtype=torch.float64)[None]
    right = _product(below) if below else torch.eye(into, dtype=torch.float64)[None]
    curved, turn = torch.linalg.eigh(left.mT @ left)
    curves, turns = torch.linalg.eigh(right @ right.mT)
    curvature = n_beta * curved[:, :, None] * curves[:, None, :]
    pull = turn.mT @ (n_beta * left.mT @ target @ right.mT + gamma * centre) @ turns
    mean = pull / (curvature + gamma)
    noise = torch.randn(torch.broadcast_shapes(mean.shape), generator=draws, dtype=torch.float64)
    drawn = turn @ (mean + noise / (curvature + gamma).sqrt()) @ turns.mT
    at_mean = n_beta / 2 * (left @ (turn @ mean @ turns.mT) @ right - target).square().sum((1, 2))
    return drawn, at_mean + (curvature / (curvature + gamma)).sum((1, 2)) / 2


def _product(layers: Sequence[Tensor]) -> Tensor:
    return reduce(lambda below, above: above @ below, layers)


def _rhat(energies: Tensor) -> float:
    """Returns the R-hat of the halves of chains (Gelman et al. 2013, Bayesian Data Analysis, 11.4)."""
    halves = torch.cat(energies[: len(energies) // 2 * 2].chunk(2), dim=1)
    within, between = halves.var(0).mean(), halves.mean(0).var()
    return (1 + between / within).sqrt().item()
