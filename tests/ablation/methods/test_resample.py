"""Resample ablation."""

import itertools
from collections import Counter

import pytest
import torch

from llc_lightning.ablation.engine.base import Activations
from llc_lightning.ablation.engine.influence import donors
from llc_lightning.ablation.methods.resample import Resample
from llc_lightning.runtime.errors import DataError


@pytest.mark.parametrize("n", [2, 3, 10, 1000])
def test_donors_are_a_permutation_without_fixed_points(n: int) -> None:
    for draw in range(8):
        donor = donors(n, seed=1, draw=draw)
        assert sorted(donor.tolist()) == list(range(n))
        assert not (donor == torch.arange(n)).any()


def test_a_single_example_is_its_own_donor() -> None:
    assert donors(1, seed=0, draw=0).tolist() == [0]


@pytest.mark.parametrize("options", [{}, {"positions": "own"}, {"label": "class"}])
def test_a_single_example_has_nobody_to_take_from(options: dict[str, str]) -> None:
    seen = Activations(torch.randn(1, 3, 2), labels={"class": torch.zeros(1, dtype=torch.int64)})
    with pytest.raises(DataError, match=r"takes the activation of another example.*, and none has one; give more\."):
        list(Resample(**options).values(seen, [torch.arange(1)], seed=0))


def test_all_cyclic_permutations_are_equally_likely() -> None:
    found = Counter(tuple(donors(4, seed=seed, draw=0).tolist()) for seed in range(3000))
    cyclic = {
        tuple(dict(zip(order, (*order[1:], order[0]), strict=True))[i] for i in range(4))
        for order in itertools.permutations(range(4))
    }
    assert set(found) == cyclic
    assert len(cyclic) == 6
    assert all(abs(count - 500) < 5 * 500**0.5 for count in found.values())


def test_draws_and_seeds_differ_and_repeat() -> None:
    assert torch.equal(donors(50, seed=3, draw=1), donors(50, seed=3, draw=1))
    assert not torch.equal(donors(50, seed=3, draw=1), donors(50, seed=3, draw=2))
    assert not torch.equal(donors(50, seed=3, draw=1), donors(50, seed=4, draw=1))


def test_values_are_the_donors_activations_whatever_the_blocks() -> None:
    reference = torch.randn(10, 3, 2)
    expected = torch.stack([reference[donors(10, seed=7, draw=draw)] for draw in range(2)])
    whole = list(Resample(draws=2).values(Activations(reference), [torch.arange(10)], seed=7))
    split = list(Resample(draws=2).values(Activations(reference), [torch.arange(5), torch.arange(5, 10)], seed=7))
    assert torch.equal(whole[0], expected)
    assert torch.equal(torch.cat(split, dim=1), expected)
