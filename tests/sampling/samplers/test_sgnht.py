"""The thermostat, written out for one weight."""

import math
from collections.abc import Iterator
from itertools import islice

import pytest

from tests.sampling.trajectories import N_BETA, STEP_SIZE, STEPS, Normals, Target, trajectories


def reference(target: Target, w: float, eps: float, normal: Normals, uniform: float) -> Iterator[float]:
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


def test_a_preconditioner_is_the_inverse_of_the_masses() -> None:
    """In the unit ``u = w / 2`` the masses of 1/4 are 1: the same steps there are those of no preconditioner."""
    target = Target(lambda x: x * x, lambda x: 2 * x, N_BETA, 3.0)
    found, _ = trajectories("sgnht", target, scale=0.3, diagonal=4.0)
    scaled = Target(lambda u: 4 * u * u, lambda u: 8 * u, N_BETA, 12.0)
    steps = reference(scaled, 0.25, STEP_SIZE, lambda t: 0.3 * (1 + t), 0.5)
    assert found == pytest.approx([2 * u for u in islice(steps, STEPS)], rel=1e-9)
