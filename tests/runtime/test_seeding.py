"""Seeds are pure functions of their labels."""

import itertools

import torch

from llc_lightning.runtime.seeding import derive_seed, generator


def test_seed_values_never_change() -> None:
    assert derive_seed(0, "noise", 3) == 7346017372464610397
    assert derive_seed() == 4090036724241674979


def test_labels_are_kept_apart() -> None:
    labels = [(1,), ("1",), (1, 1), (11,), ("a", "b"), ("ab",), ("a,b",), (), ("",), (-1,)]
    seeds = [derive_seed(*label) for label in labels]
    assert all(a != b for a, b in itertools.combinations(seeds, 2))


def test_seeds_fit_63_bits_and_use_them() -> None:
    seeds = [derive_seed(i) for i in range(200)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62


def test_generators_repeat_and_leave_the_global_stream_alone() -> None:
    before = torch.get_rng_state()
    a = torch.randn(4, generator=generator(0, "noise", 1))
    b = torch.randn(4, generator=generator(0, "noise", 1))
    c = torch.randn(4, generator=generator(0, "batch", 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), before)
