"""Losses with kinks, whose curvature is 0 almost everywhere: alone, and diluted beside regular weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import exp, pi

import numpy as np
import torch
from scipy.integrate import quad
from scipy.special import erf, erfcx
from torch import Tensor

from benchmarks.truth.case import Case, of_weights, quadratic_sum, turned
from benchmarks.truth.integrals import Numbers, log_grid, mean, of_powers, on_a_line, on_a_plane

_TIP = 1e-3


@dataclass(frozen=True)
class Kink:
    """A loss of a few weights, and its value as a function of n_beta and gamma, in up to two ways."""

    dimension: int
    loss: Callable[[Tensor], Tensor]
    value: Callable[..., float]
    again: Callable[..., float] | None = None


def half_parabola(*, n_beta: float, gamma: float) -> float:
    """Returns the value of ``relu(w)^2 / 2``: Gaussians of two widths on the two half-lines."""
    right, left = (n_beta + gamma) ** -0.5, gamma**-0.5
    return right / (right + left) * n_beta / (n_beta + gamma) / 2


def half_parabola_by_quadrature(*, n_beta: float, gamma: float) -> float:
    """Returns the same on a grid."""
    w = np.linspace(-12, 12, 400_001) / gamma**0.5
    energy = n_beta * np.maximum(w, 0) ** 2 / 2
    return mean(-energy - gamma / 2 * w**2, energy)


def half_line(*, n_beta: float, gamma: float) -> float:
    """Returns the value of ``relu(w)``: a Gaussian on the left, ``exp(-n_beta w - gamma w^2 / 2)`` on the right."""
    root, tilt = gamma**-0.5, n_beta / gamma**0.5
    left, right = root * (pi / 2) ** 0.5, root * (pi / 2) ** 0.5 * float(erfcx(tilt / 2**0.5))
    return n_beta * (1 / gamma - n_beta / gamma * right) / (left + right)


def half_line_by_quadrature(*, n_beta: float, gamma: float) -> float:
    """Returns the same by quadrature of the half where the loss is not 0."""

    def moment(power: int) -> float:
        return quad(lambda w: w**power * exp(-n_beta * w - gamma / 2 * w**2), 0, 60 / n_beta, epsabs=0)[0]

    return n_beta * moment(1) / ((pi / 2 / gamma) ** 0.5 + moment(0))


def largest(dimension: int, *, n_beta: float, gamma: float) -> float:
    """Returns the value of ``max_i |w_i|`` from the distribution of the largest of Gaussians."""
    log_t = log_grid(gamma, 20_000)
    t = np.exp(log_t)
    inside = dimension * log_t if dimension == 1 else log_t + (dimension - 1) * np.log(erf(t * (gamma / 2) ** 0.5))
    return mean(inside - gamma / 2 * t**2 - n_beta * t, n_beta * t)


def _power(power: float, numbers: Numbers) -> Numbers:
    return numbers**power


ABSOLUTE = Kink(1, lambda w: w.abs().sum(), partial(on_a_line, partial(_power, 1)), partial(of_powers, (1,)))
POWER = Kink(1, lambda w: w.abs().pow(1.5).sum(), partial(on_a_line, partial(_power, 1.5)), partial(of_powers, (1.5,)))
PRODUCT = Kink(
    2, lambda w: (w[0] * w[1]).abs(), partial(of_powers, (1, 1)), partial(on_a_plane, lambda x, y: abs(x * y))
)
PRODUCT_OF_THREE = Kink(3, lambda w: (w[0] * w[1] * w[2]).abs(), partial(of_powers, (1, 1, 1)))
RELU = Kink(1, lambda w: w.clamp(min=0).square().sum() / 2, half_parabola, half_parabola_by_quadrature)
HALF = Kink(1, lambda w: w.relu().sum(), half_line, half_line_by_quadrature)
LARGEST = Kink(
    2, lambda w: w.abs().amax(), partial(largest, 2),
    partial(on_a_plane, lambda x, y: np.maximum(abs(x), abs(y)), points=1200),
)  # fmt: skip
LARGEST_OF_FIVE = Kink(5, lambda w: w.abs().amax(), partial(largest, 5))
UPWARDS = Kink(
    2, lambda w: w.clamp(min=0).prod(), partial(on_a_plane, lambda x, y: np.maximum(x, 0) * np.maximum(y, 0))
)


def summed(dimension: int, kink: Kink = ABSOLUTE) -> Kink:
    """``|w_1| + .. + |w_d|``, or another kink in every weight."""
    again = kink.again
    return Kink(
        dimension, kink.loss, lambda **at: dimension * kink.value(**at),
        (lambda **at: dimension * again(**at)) if again else None,
    )  # fmt: skip


def cone(dimension: int) -> Kink:
    """``|w|``, rounded off within a thousandth of its tip so that it has a gradient there."""
    return Kink(
        dimension,
        lambda w: (w.square().sum() + _TIP**2).sqrt() - _TIP,
        partial(on_a_line, lambda r: r**2 / (np.sqrt(r**2 + _TIP**2) + _TIP), dimension=dimension),
    )


ALONE: tuple[tuple[str, Kink, float], ...] = (
    ("|w|", ABSOLUTE, 100.0),
    ("|w|", ABSOLUTE, 1e4),
    ("|w|^1.5", POWER, 100.0),
    ("|w|_1 in 5", summed(5), 100.0),
    ("|w|_1 in 20", summed(20), 100.0),
    ("|w1 w2|", PRODUCT, 30.0),
    ("|w1 w2|", PRODUCT, 1000.0),
    ("|w1 w2 w3|", PRODUCT_OF_THREE, 100.0),
    ("relu(w)^2 / 2", RELU, 100.0),
    ("relu(w)^2 / 2", RELU, 1000.0),
    ("relu(w)^2 / 2 in 30", summed(30, RELU), 500.0),
    ("relu(w) in 10", summed(10, HALF), 1000.0),
    ("relu(w) in 100", summed(100, HALF), 1000.0),
    ("relu(w1) relu(w2)", UPWARDS, 100.0),
    ("max(|w1|, |w2|)", LARGEST, 100.0),
    ("max(|w1|, .., |w5|)", LARGEST_OF_FIVE, 100.0),
    ("cone in 3", cone(3), 100.0),
    ("cone in 10", cone(10), 1000.0),
)
DILUTED: tuple[tuple[str, Kink, int, float, int | None], ...] = (
    ("|w|", ABSOLUTE, 20, 100.0, None),
    ("|w|", ABSOLUTE, 5, 1000.0, 3),
    ("|w1 w2|", PRODUCT, 10, 100.0, None),
    ("|w1 w2|", PRODUCT, 40, 100.0, 4),
    ("|w|_1 in 5", summed(5), 20, 100.0, None),
    ("relu(w)^2 / 2", RELU, 5, 100.0, None),
    ("relu(w) in 20", summed(20, HALF), 10, 500.0, None),
    ("max(|w1|, |w2|)", LARGEST, 10, 1000.0, 5),
    ("cone in 3", cone(3), 15, 100.0, None),
)
"""A kink, how many regular weights of curvature 1 are beside it, n_beta, and the seed of their common angles if any."""


def cases() -> Iterator[Case]:
    """Yields the kinks."""
    for name, kink, n_beta in ALONE:
        yield _alone(name, kink, n_beta)
    for name, kink, regular, n_beta, seed in DILUTED:
        yield _diluted(name, kink, regular, n_beta, seed)


def _alone(name: str, kink: Kink, n_beta: float) -> Case:
    at = {"n_beta": n_beta, "gamma": 1.0}
    return Case(
        name=f"{name}, n_beta {n_beta:g}", group="kinks", loss=of_weights(kink.loss),
        params={"w": torch.zeros(kink.dimension)}, known="quadrature", value=partial(kink.value, **at),
        again=partial(kink.again, **at) if kink.again else None, **at,
    )  # fmt: skip


def _diluted(name: str, kink: Kink, regular: int, n_beta: float, seed: int | None) -> Case:
    at = {"n_beta": n_beta, "gamma": 1.0}

    def together(w: Tensor) -> Tensor:
        return kink.loss(w[: kink.dimension]) + w[kink.dimension :].square().sum() / 2

    dimension = kink.dimension + regular
    angles = "" if seed is None else " at angles"
    return Case(
        name=f"{name} + {regular} regular{angles}, n_beta {n_beta:g}", group="kinks diluted",
        loss=of_weights(together if seed is None else turned(together, dimension, seed)),
        params={"w": torch.zeros(dimension)}, known="sum of independent parts",
        value=lambda: kink.value(**at) + quadratic_sum([1.0] * regular, **at), **at,
    )  # fmt: skip
