"""RMSprop's diagonal, written out for one weight."""

import math
from collections.abc import Iterator

import pytest
import torch

from llc_lightning.sampling.base import Evaluated, Posterior
from llc_lightning.sampling.samplers.rmsprop_sgld import RMSpropSGLD
from tests.sampling.trajectories import Fixed, Full, Normals, Target

ONE = torch.ones(1, dtype=torch.float64)


def reference(target: Target, w: float, eps: float, normal: Normals, uniform: float) -> Iterator[float]:
    t, square = 0, 0.0
    while True:
        square = 0.99 * square + 0.01 * target.gradient(w) ** 2
        own = eps / (0.1 + math.sqrt(square))
        w = w - own / 2 * target.force(w) + math.sqrt(own) * normal(t)
        t += 1
        yield w


def test_the_diagonal_is_found_in_burn_in_and_then_kept() -> None:
    sampler = RMSpropSGLD(Posterior({"w": torch.zeros(1, 1, 1, dtype=torch.float64)}, ONE, ONE), 0.01 * ONE, None)
    assert sampler.metric["w"].item() == 10
    position, noise = {"w": torch.ones(2, 1, 1, dtype=torch.float64)}, Fixed(0.0, 0.5)
    loss = Full(Target(lambda x: 0.0, lambda x: 3.0, 1.0, 1.0))
    sampler.step(position, loss(position), loss, noise)
    found = sampler.metric["w"].flatten().tolist()
    assert found == pytest.approx([1 / (0.1 + math.sqrt(0.01) * 3)] * 2)
    sampler.settle()
    sampler.step(position, Evaluated(torch.zeros(2, 1), {"w": 100 * position["w"]}), loss, noise)
    assert sampler.metric["w"].flatten().tolist() == found


def test_noise_of_batches_is_that_of_the_diagonal() -> None:
    sampler = RMSpropSGLD(Posterior({"w": torch.zeros(1, 1, 1, dtype=torch.float64)}, ONE, ONE), 0.1 * ONE, None)
    assert sampler.batch_noise({"w": torch.full((1, 1, 1), 4.0)})["w"].item() == -2.0
