"""Curved valleys of regular and singular models, in coordinates at random angles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.special import ive
from torch import Tensor

from benchmarks.truth.case import Case, of_weights, turned
from benchmarks.truth.integrals import mean, on_a_grid


@dataclass(frozen=True)
class Bend:
    """``steep/2 (w_2 - bend w_1^power)^2 + along/2 w_1^2``, and independent copies of it."""

    bend: float
    along: float
    n_beta: float
    gamma: float = 1.0
    steep: float = 1.0
    power: int = 2
    copies: int = 1
    seed: int | None = None

    def loss(self, w: Tensor) -> Tensor:
        """Returns the loss of the weights, pair by pair."""
        x, y = w.view(-1, 2).unbind(1)
        return (self.steep * (y - self.bend * x**self.power).square() + self.along * x.square()).sum() / 2

    def value(self) -> float:
        """Returns the value: given w_1, w_2 is Gaussian, and a smooth integral over w_1 is left."""
        x = np.linspace(-12, 12, 200_001) / self.gamma**0.5
        across = self.n_beta * self.steep
        precision, curve = across + self.gamma, self.bend * x**self.power
        along = self.n_beta * self.along / 2 * x**2
        pulled = across * (self.gamma / precision * curve) ** 2 / 2
        energy = along + across / (2 * precision) + pulled
        log_weight = -along - self.gamma / 2 * x**2 - across * self.gamma / precision * curve**2 / 2
        return self.copies * mean(log_weight, energy)

    def again(self) -> float:
        """Returns the value on a grid of two weights, sheared so that the valley is straight."""
        width = 9 / self.gamma**0.5
        x = np.linspace(-width, width, 1201)[:, None]
        across = np.linspace(-9, 9, 101)[None, :] / (self.n_beta * self.steep) ** 0.5
        y = across + self.bend * x**self.power
        energy = self.n_beta / 2 * (self.steep * across**2 + self.along * x**2)
        return self.copies * mean(-energy - self.gamma / 2 * (x**2 + y**2), energy)


BENDS = {
    "parabola": Bend(1.0, 0.01, 100.0),
    "parabola, flat along": Bend(1.0, 0.0, 1000.0),
    "parabola, n_beta 1e4": Bend(1.0, 1e-3, 1e4, seed=1),
    "narrow parabola at angles": Bend(3.0, 0.01, 1000.0, seed=2),
    "banana at angles": Bend(0.5, 0.1, 1e4, seed=3),
    "cubic at angles": Bend(1.0, 0.01, 1000.0, power=3, seed=4),
    "steep parabola, gamma 10": Bend(1.0, 1e-3, 1e4, gamma=10.0, steep=5.0, seed=5),
    "5 parabolas at angles": Bend(1.0, 0.01, 1000.0, copies=5, seed=6),
    "20 parabolas at angles": Bend(0.5, 0.003, 1e4, copies=20, seed=7),
}
RINGS = ((2, 1000.0, 10.0), (5, 1000.0, 40.0), (20, 1e4, 200.0))
"""Dimension, n_beta and gamma."""


def cases() -> Iterator[Case]:
    """Yields the valleys."""
    for name, bend in BENDS.items():
        dimension = 2 * bend.copies
        yield Case(
            name=name, group="valleys", params={"w": torch.zeros(dimension)}, n_beta=bend.n_beta, gamma=bend.gamma,
            loss=of_weights(bend.loss if bend.seed is None else turned(bend.loss, dimension, bend.seed)),
            known="Gaussian across, quadrature along", value=bend.value, again=bend.again,
        )  # fmt: skip
    for dimension, n_beta, gamma in RINGS:
        yield _ring(dimension, n_beta, gamma)


def _ring(dimension: int, n_beta: float, gamma: float) -> Case:
    start = torch.ones(dimension) / dimension**0.5

    def again() -> float:
        circle = partial(on_a_grid, lambda x, y: (x**2 + y**2 - 1) ** 2 / 8, reach=12 / gamma**0.5)
        return circle(n_beta=n_beta, gamma=gamma, centre=(1.0, 0.0))

    return Case(
        name=f"sphere in {dimension}", group="valleys", params={"w": start}, n_beta=n_beta, gamma=gamma,
        loss=of_weights(lambda w: (w.square().sum() - 1).square() / 8), known="Bessel function, radial quadrature",
        value=partial(_ring_value, dimension, n_beta, gamma), again=again if dimension == 2 else None,
    )  # fmt: skip


def _ring_value(dimension: int, n_beta: float, gamma: float) -> float:
    """Returns the value of ``(|w|^2 - 1)^2 / 8`` at a point of the sphere: over angles the localisation is Bessel's."""
    r = np.linspace(1e-4, 4, 400_001)
    energy = n_beta * (r**2 - 1) ** 2 / 8
    order = dimension / 2 - 1
    log_angles = np.log(ive(order, gamma * r)) + gamma * r - order * np.log(r)
    return mean((dimension - 1) * np.log(r) + log_angles - gamma / 2 * (r**2 + 1) - energy, energy)
