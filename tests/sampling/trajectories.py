"""The first steps of a sampler beside the same ones written out for one weight in plain numbers: slow and literal."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import TypeAlias

import pytest
import torch
from torch import Tensor

from llc_lightning.sampling.base import SAMPLERS, Evaluated, Posterior
from llc_lightning.sampling.stacked import Stack

N_BETA, STEP_SIZE, STEPS = 7.0, 0.01, 5


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

Reference: TypeAlias = Callable[[Target, float, float, Normals, float], Iterator[float]]
"""Yields the positions of one weight, from target, start, step size, noise, and the uniform number of every step."""


class Full:
    """A loss of every weight by itself, as a sampler sees it with the full batch."""

    minibatch = False

    def __init__(self, target: Target) -> None:
        self._target = target

    def __call__(self, position: Stack) -> Evaluated:
        w = position["w"]
        of_each = [[sum(self._target.loss(x) for x in lane) for lane in chain] for chain in w.tolist()]
        gradient = [[[self._target.gradient(x) for x in lane] for lane in chain] for chain in w.tolist()]
        return Evaluated(torch.tensor(of_each, dtype=w.dtype), {"w": torch.tensor(gradient, dtype=w.dtype)})

    def gradient_at_centre(self) -> Stack:
        raise AssertionError("the full batch needs no control variate")


class Fixed:
    """Noise that is known beforehand: ``scale (1 + t)`` at its t-th draw."""

    def __init__(self, scale: float, uniform: float) -> None:
        self._scale, self._uniform, self._drawn = scale, uniform, 0

    def normal(self) -> Stack:
        self._drawn += 1
        return {"w": torch.full((2, 1, 1), self._scale * self._drawn, dtype=torch.float64)}

    def uniform(self) -> Tensor:
        return torch.full((2, 1), self._uniform, dtype=torch.float64)


def trajectories(
    name: str, target: Target, *, scale: float, start: float = 0.5, diagonal: float | None = None, uniform: float = 0.5
) -> tuple[list[float], list[float]]:
    """Returns the sampler's first positions and those of the literal reference."""
    centre = {"w": torch.zeros(1, 2, 1, dtype=torch.float64)}
    n_beta, gamma, step = (torch.full((2,), x, dtype=torch.float64) for x in (target.n_beta, target.gamma, STEP_SIZE))
    preconditioner = None if diagonal is None else {"w": torch.full_like(centre["w"], diagonal)}
    sampler = SAMPLERS.get(name).item(Posterior(centre, n_beta, gamma, centre), step, preconditioner)
    position = {"w": torch.full((2, 2, 1), start, dtype=torch.float64)}
    noise, loss = Fixed(scale, uniform), Full(target)
    found = []
    for _ in range(STEPS):
        sampler.step(position, sampler.look(position, loss), loss, noise)
        assert bool((position["w"] == position["w"][0, 0, 0]).all())
        found.append(position["w"][0, 0, 0].item())
    eps = STEP_SIZE * (diagonal or 1.0)
    steps = reference_of(name)(target, start, eps, lambda t: scale * (1 + t), uniform)
    return found, list(islice(steps, STEPS))


def reference_of(name: str) -> Reference:
    """Returns the sampler written out for one weight: it is in the test file of its name."""
    return import_module(f"tests.sampling.samplers.test_{name}").reference


def assert_equal(name: str, target: Target, **options: float) -> None:
    found, expected = trajectories(name, target, **options)
    assert found == pytest.approx(expected, rel=1e-9)
