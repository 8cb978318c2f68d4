"""SGLD with a control variate: with the full batch SGLD itself, with minibatches along a gradient of less noise."""

import pytest
import torch

from llc_lightning.runtime.errors import SettingError
from llc_lightning.sampling.base import Evaluated, Posterior
from llc_lightning.sampling.samplers.sgld_cv import SGLDCV
from llc_lightning.sampling.stacked import Stack
from tests.sampling.samplers import test_sgld
from tests.sampling.trajectories import N_BETA, Target, assert_equal

reference = test_sgld.reference
ONE = torch.ones(1)
CENTRE = {"w": torch.zeros(1, 1, 2)}


class Batch:
    """A loss with the gradient ``w + noise`` on the minibatch."""

    minibatch = True

    def __call__(self, position: Stack) -> Evaluated:
        return Evaluated(torch.zeros(1, 1), {"w": position["w"] + torch.tensor([5.0, -7.0])})

    def gradient_at_centre(self) -> Stack:
        return self(CENTRE).gradient


def test_a_preconditioner_scales_the_step_size() -> None:
    assert_equal("sgld_cv", Target(lambda x: x * x, lambda x: 2 * x, N_BETA, 3.0), scale=0.3, diagonal=4.0)


def test_noise_that_is_the_same_at_the_centre_falls_out() -> None:
    mean = {"w": torch.tensor([[[0.5, 0.0]]])}
    sampler = SGLDCV(Posterior(CENTRE, ONE, ONE, mean), ONE, None)
    here = sampler.look({"w": torch.tensor([[[1.0, 2.0]]])}, Batch())
    assert here.gradient["w"].flatten().tolist() == [1.5, 2.0]


def test_it_needs_the_gradient_at_the_centre() -> None:
    with pytest.raises(
        SettingError, match=r"sgld_cv needs the gradient at the centre; give the posterior its gradient\."
    ):
        SGLDCV(Posterior(CENTRE, ONE, ONE), ONE, None)
