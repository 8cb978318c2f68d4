"""Averaged noise, written out for one weight."""

import math
from collections.abc import Iterator

import pytest
import torch

from llc_lightning.sampling.base import Posterior
from llc_lightning.sampling.samplers.lm import LeimkuhlerMatthews
from tests.sampling.trajectories import N_BETA, Normals, Target, assert_equal


def reference(target: Target, w: float, eps: float, normal: Normals, uniform: float) -> Iterator[float]:
    t = 0
    while True:
        w = w - eps / 2 * target.force(w) + math.sqrt(eps) * (normal(t) + normal(t + 1)) / 2
        t += 1
        yield w


def test_a_preconditioner_scales_the_step_size() -> None:
    assert_equal("lm", Target(lambda x: x * x, lambda x: 2 * x, N_BETA, 3.0), scale=0.3, diagonal=4.0)


def test_noise_of_batches_moves_it_by_half_the_step_size() -> None:
    """A step takes ``eps/2 n_beta`` of it, beside ``sqrt(eps)`` of the noise that belongs there."""
    centre, one = {"w": torch.zeros(1, 1, 2)}, torch.ones(1)
    sampler = LeimkuhlerMatthews(Posterior(centre, 5 * one, one), 0.16 * one, {"w": torch.tensor([[[1.0, 0.25]]])})
    found = sampler.batch_noise({"w": torch.tensor([[[1.0, -2.0]]])})
    assert found["w"].flatten().tolist() == pytest.approx([-0.4 * 5 / 2, 2 * 0.2 * 5 / 2])
