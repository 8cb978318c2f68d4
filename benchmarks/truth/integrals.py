"""Quadrature for losses of few weights: means of ``n_beta L`` under ``exp(-n_beta L - gamma/2 |w - w*|^2)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Function = Callable[..., Numbers]

_SMALLEST, _BEYOND = -40.0, 12.0


def mean(log_weight: Numbers, energy: Numbers) -> float:
    """Returns the mean of the energy under unnormalised weights."""
    weight = np.exp(log_weight - log_weight.max())
    return float((weight * energy).sum() / weight.sum())


def log_grid(gamma: float, points: int) -> Numbers:
    """Returns logarithms of distances, from next to nothing to where the localisation leaves nothing."""
    return np.linspace(_SMALLEST, np.log(_BEYOND / np.sqrt(gamma)), points)


def on_a_line(loss: Function, *, n_beta: float, gamma: float, dimension: int = 1) -> float:
    """Returns the value of a loss of the distance from w* alone, in any number of dimensions.

    The trapezoidal rule in the logarithm converges exponentially, whatever the loss does at 0.
    """
    log_r = log_grid(gamma, 20_000)
    r = np.exp(log_r)
    energy = n_beta * loss(r)
    return mean(dimension * log_r - energy - gamma / 2 * r**2, energy)


def on_a_plane(loss: Function, *, n_beta: float, gamma: float, points: int = 600) -> float:
    """Returns the value of a loss of two weights, on logarithmic grids in each of the four quadrants."""
    log_r = log_grid(gamma, points)
    x, y = np.exp(log_r)[:, None], np.exp(log_r)[None, :]
    base = log_r[:, None] + log_r[None, :] - gamma / 2 * (x**2 + y**2)
    energy = np.stack([n_beta * loss(a * x, b * y) for a in (-1, 1) for b in (-1, 1)])
    return mean(base - energy, energy)


def of_rays(loss: Function, degree: float, *, n_beta: float, gamma: float, points: int = 10_000) -> float:
    """Returns the value of a loss of two weights that is ``r^degree`` times a function of the angle."""
    log_r = log_grid(gamma, 400)[:, None]
    angle = (np.arange(points) + 0.5) * (2 * np.pi / points)
    energy = n_beta * np.exp(degree * log_r) * loss(np.cos(angle), np.sin(angle))
    return mean(2 * log_r - energy - gamma / 2 * np.exp(2 * log_r), energy)


def on_a_grid(loss: Function, *, n_beta: float, gamma: float, reach: float, centre: tuple[float, float]) -> float:
    """Returns the value of a smooth loss of two weights on an even grid around w*."""
    line = np.linspace(-reach, reach, 801)
    x, y = line[:, None], line[None, :]
    energy = n_beta * loss(centre[0] + x, centre[1] + y)
    return mean(-energy - gamma / 2 * (x**2 + y**2), energy)


def of_powers(powers: Sequence[float], *, n_beta: float, gamma: float) -> float:
    """Returns the value of ``prod_i |w_i|^p_i`` from the distribution of its logarithm, a sum of independent ones.

    It reduces any number of factors to one dimension: the densities of ``p_i log |w_i|`` are convolved on a grid.
    """
    spacing = 0.02
    log_loss, density = np.zeros(1), np.ones(1)
    for power in powers:
        steps = spacing / power
        log_w = np.arange(_SMALLEST, np.log(_BEYOND / np.sqrt(gamma)), steps)
        density = np.convolve(density, np.exp(log_w - gamma / 2 * np.exp(2 * log_w)))
        density /= density.max()
        start = log_loss[0] + power * log_w[0]
        log_loss = start + spacing * np.arange(len(density))
    energy = n_beta * np.exp(log_loss)
    return mean(np.log(np.maximum(density, 1e-300)) - energy, energy)
