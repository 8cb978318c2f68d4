"""What the noise of minibatches does to a move."""

import math

import pytest

from llc_lightning.sampling.observables.batch_noise import BatchNoise
from tests.sampling.observables.looks import N_BETA, STEP_SIZE, look_at

BATCHES = [[[0, 0], [2, 3]], [[1, 1], [2, 2]]]
"""The gradients differ by (2, 0) in the first chain, by (0, 3) in the second."""


def test_it_is_half_the_square_of_what_two_minibatches_differ_by() -> None:
    looked = BatchNoise(1).look(look_at([[3.0, 4.0], [1.0, 2.0]], batches=BATCHES))
    share = STEP_SIZE * N_BETA**2 / 4
    assert looked.flatten().tolist() == pytest.approx([share * 4 / 2, share * 9 / 2])


def test_there_is_none_with_all_examples() -> None:
    assert BatchNoise(1).look(look_at([[3.0, 4.0]])).item() == 0


def test_it_is_not_known_of_a_sampler_that_takes_it_off() -> None:
    looked = BatchNoise(1).look(look_at([[3.0, 4.0], [1.0, 2.0]], batches=BATCHES, sampler="sgnht"))
    assert [math.isnan(value) for value in looked.flatten().tolist()] == [True, True]
