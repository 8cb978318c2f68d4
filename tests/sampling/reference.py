"""Every sampler written out for one weight, in plain numbers: slow, literal, and what the batched ones must equal."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A loss of one weight around a centre of 0, at a resolution."""

    loss: Callable[[float], float]
    gradient: Callable[[float], float]
    n_beta: float
    gamma: float

    def energy(self, w: float) -> float:
        return self.n_beta * self.loss(w) + self.gamma / 2 * w * w

    def force(self, w: float) -> float:
        return self.n_beta * self.gradient(w) + self.gamma * w


Normals = Callable[[int], float]


def sgld(target: Target, w: float, eps: float, normal: Normals, uniform: float) -> Iterator[float]:
    t = 0
    while True:
        w = w - eps / 2 * target.force(w) + math.sqrt(eps) * normal(t)
        t += 1
        yield w


def lm(target: Target, w: float, eps: float, normal: Normals, uniform: float) -> Iterator[float]:
    t = 0
    while True:
        w = w - eps / 2 * target.force(w) + math.sqrt(eps) * (normal(t) + normal(t + 1)) / 2
        t += 1
        yield w


def rmsprop_sgld(target: Target, w: float, eps: float, normal: Normals, uniform: float) -> Iterator[float]:
    t, square = 0, 0.0
    while True:
        square = 0.99 * square + 0.01 * target.gradient(w) ** 2
        own = eps / (0.1 + math.sqrt(square))
        w = w - own / 2 * target.force(w) + math.sqrt(own) * normal(t)
        t += 1
        yield w


def mala(target: Target, w: float, eps: float, normal: Normals, uniform: float) -> Iterator[float]:
    def log_proposal(to: float, of: float) -> float:
        return -((to - of + eps / 2 * target.force(of)) ** 2) / (2 * eps)

    t = 0
    while True:
        new = w - eps / 2 * target.force(w) + math.sqrt(eps) * normal(t)
        ratio = target.energy(w) - target.energy(new) + log_proposal(w, new) - log_proposal(new, w)
        w = new if math.log(uniform) < ratio else w
        t += 1
        yield w


def sgnht(target: Target, w: float, eps: float, normal: Normals, uniform: float) -> Iterator[float]:
    h = math.sqrt(eps / 2)
    p, friction, t = normal(0), 0.1 / h, 1
    while True:
        p -= h * target.force(w)
        w += h / 2 * p
        friction += 0.01 / (2 * h) * (p * p - 1)
        spread = math.sqrt(0.1 / h / friction * (1 - math.exp(-2 * friction * h)))
        p = math.exp(-friction * h) * p + spread * normal(t)
        friction += 0.01 / (2 * h) * (p * p - 1)
        w += h / 2 * p
        t += 1
        yield w


REFERENCE = {
    "sgld": sgld,
    "sgld_cv": sgld,  # with the full batch
    "lm": lm,
    "rmsprop_sgld": rmsprop_sgld,
    "sgnht": sgnht,
    "mala": mala,
}
