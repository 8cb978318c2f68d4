"""MALA, written out for one weight."""

import math
from collections.abc import Iterator

import torch

from llc_lightning.sampling.base import Posterior
from llc_lightning.sampling.samplers.mala import MALA
from tests.sampling.trajectories import N_BETA, Fixed, Full, Normals, Target, assert_equal


def reference(target: Target, w: float, eps: float, normal: Normals, uniform: float) -> Iterator[float]:
    def log_proposal(to: float, of: float) -> float:
        return -((to - of + eps / 2 * target.force(of)) ** 2) / (2 * eps)

    t = 0
    while True:
        new = w - eps / 2 * target.force(w) + math.sqrt(eps) * normal(t)
        ratio = target.energy(w) - target.energy(new) + log_proposal(w, new) - log_proposal(new, w)
        w = new if math.log(uniform) < ratio else w
        t += 1
        yield w


def test_a_preconditioner_scales_the_step_size() -> None:
    assert_equal("mala", Target(lambda x: x * x, lambda x: 2 * x, N_BETA, 3.0), scale=0.3, diagonal=4.0)


def test_it_stays_where_a_proposal_is_refused_and_tells_how_many_were_not() -> None:
    one = torch.ones(1, dtype=torch.float64)
    sampler = MALA(Posterior({"w": torch.zeros(1, 1, 1, dtype=torch.float64)}, 50 * one, one), 0.25 * one, None)
    loss = Full(Target(lambda x: x * x / 2, lambda x: x, 50.0, 1.0))
    position = {"w": torch.zeros(2, 1, 1, dtype=torch.float64)}
    assert sampler.acceptance is None
    for noise, where in ((Fixed(0.0, 0.5), 0.0), (Fixed(100.0, 0.5), 0.0)):
        sampler.step(position, sampler.look(position, loss), loss, noise)
        assert position["w"].flatten().tolist() == [where] * 2
    assert sampler.acceptance is not None
    assert sampler.acceptance.tolist() == [[0.5], [0.5]]
