"""Which chains count as exploded."""

import math

import torch
from torch import Tensor

from llc_lightning.sampling.chains import Chains
from llc_lightning.sampling.step_size import IMPROBABLE, exploded


def of(excess: Tensor, **limit: float) -> list[bool]:
    chains = Chains(excess[None], torch.zeros_like(excess), {})
    return exploded(chains, torch.tensor([100.0]), 10, **limit)[0].tolist()


def draws() -> Tensor:
    return torch.rand(4, 100, generator=torch.Generator().manual_seed(0))


def test_chains_near_each_other_are_healthy() -> None:
    assert of(draws()) == [False] * 4


def test_one_draw_far_beyond_the_median_is_an_explosion() -> None:
    excess = draws()
    excess[2, 50] = 1e6
    assert of(excess) == [False, False, True, False]


def test_a_chain_that_exploded_early_and_stayed_there_is_found_by_the_others() -> None:
    excess = draws()
    excess[1, 3:] = 1e17
    assert of(excess) == [False, True, False, False]


def test_an_infinite_median_is_no_excuse() -> None:
    excess = draws()
    excess[1, 30:] = math.inf
    assert of(excess) == [False, True, False, False]
    assert of(torch.full((4, 100), math.inf)) == [True] * 4


def test_with_all_examples_a_draw_that_no_equilibrium_has_is_told() -> None:
    excess = draws()
    excess[3, 50] = 51 * excess[3].median()
    assert of(excess) == [False] * 4
    assert of(excess, limit=IMPROBABLE) == [False, False, False, True]
    excess[3, 50] = 49 * excess[3].median()
    assert of(excess, limit=IMPROBABLE) == [False] * 4
