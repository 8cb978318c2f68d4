"""Means and standard errors over examples."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from llc_lightning.ablation.engine.moments import (
    Counted,
    Moments,
    RowSums,
    mean_over_examples,
    sd_over_examples,
    tree_sum,
)


def test_a_tree_adds_everything_once() -> None:
    values = 2.0 ** torch.arange(16).view(1, 8, 2)
    assert tree_sum(values).tolist() == [[sum(4.0**i for i in range(8)), sum(2 * 4.0**i for i in range(8))]]


def test_a_series_sums_to_the_same_bits_alone() -> None:
    values = torch.randn(37, 256, 3)
    together = tree_sum(values)
    assert all(torch.equal(tree_sum(values[i : i + 1])[0], together[i]) for i in range(37))


def test_blocks_that_wait_for_each_other_sum_to_the_same_bits_as_one_after_the_other() -> None:
    generator = torch.Generator().manual_seed(0)
    sums, slowly = RowSums(torch.zeros(6, 2)), torch.zeros(6, 2)
    shapes = [(6, 8), (6, 8), (6, 4), (2, 8), (2, 8), (6, 8192), (6, 8), (3, 8), (3, 8)]
    places = [*([slice(6)] * 3), slice(1, 3), slice(4, 6), *([slice(6)] * 2), slice(3), slice(3)]
    for (series, rows), at in zip(shapes, places, strict=True):
        block = torch.randn(series, rows, 2, generator=generator)
        sums.add(block, at)
        slowly[at] += tree_sum(block)
    assert torch.equal(sums.total(), slowly)
    assert torch.equal(sums.total(), slowly)


@pytest.mark.parametrize("share", [0.0, 0.03, 0.4, 1.0])
def test_moments_are_those_of_the_examples_that_count(share: float) -> None:
    values = torch.randn(5, 512, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1
    mask = torch.rand(512, 4, generator=torch.Generator().manual_seed(1)) < share
    values[:, ~mask] = math.nan
    moments = Moments()
    for start in (0, 256):
        counted = Counted.of(mask[start : start + 256])
        moments.add(counted.pack(values[:, start : start + 256]), counted.mask)
    count, mean, stderr, skew = moments.results()
    assert count[0].tolist() == mask.sum(0).tolist()
    for task in range(4):
        kept = values[:, mask[:, task], task].double().numpy()
        if kept.shape[1]:
            np.testing.assert_allclose(mean[:, task], kept.mean(1), rtol=1e-12)
            np.testing.assert_allclose(skew[:, task], stats.skew(kept, 1) / math.sqrt(kept.shape[1]), rtol=1e-6)
            np.testing.assert_allclose(stderr[:, task], kept.std(1, ddof=1) / math.sqrt(kept.shape[1]), rtol=1e-10)
        else:
            assert mean[:, task].isnan().all()
            assert stderr[:, task].isnan().all()


def test_packing_keeps_only_what_it_needs() -> None:
    mask = torch.zeros(256, 3, dtype=torch.bool)
    mask[[5, 9, 200], 1] = True
    mask[250, 2] = True
    counted = Counted.of(mask)
    values = torch.arange(2.0 * 256 * 3).view(2, 256, 3)
    packed = counted.pack(values)
    assert packed.shape == (2, 4, 3)
    assert packed[:, counted.mask[:, 1], 1].tolist() == values[:, [5, 9, 200], 1].tolist()
    assert packed[:, counted.mask[:, 2], 2].tolist() == values[:, [250], 2].tolist()
    assert counted.mask.sum(0).tolist() == [0, 3, 1]


def test_means_alone_are_the_same_numbers() -> None:
    values, mask = torch.randn(3, 64, 2, generator=torch.Generator().manual_seed(0)), torch.ones(64, 2).bool()
    alone, whole = Moments(errors=False), Moments()
    alone.add(values, mask)
    whole.add(values, mask)
    assert torch.equal(alone.results()[1], whole.results()[1])
    assert all(part.isnan().all() for part in alone.results()[2:])


def test_one_example_has_no_error_and_equal_ones_none() -> None:
    moments = Moments()
    moments.add(torch.tensor([[[0.1], [7.0]]]), torch.tensor([[True], [False]]))
    assert [part.item() for part in moments.results()[:2]] == pytest.approx([1, 0.1])
    assert moments.results()[2].isnan().all()
    moments.add(torch.tensor([[[0.1], [0.1]]]), torch.tensor([[True], [True]]))
    assert moments.results()[2].item() < 1e-9


def test_sums_are_kept_in_float64() -> None:
    moments = Moments()
    values = torch.full((1, 256, 1), 0.1)
    for _ in range(2000):
        moments.add(values, torch.ones(256, 1, dtype=torch.bool))
    assert moments.results()[1].item() == pytest.approx(float(torch.tensor(0.1)), rel=1e-12)


def test_no_block_is_no_result() -> None:
    with pytest.raises(RuntimeError, match="no block of examples was added"):
        Moments().results()


def test_mean_and_sd_over_examples() -> None:
    values = torch.randn(2500, 3, 2) * 4 + 100
    np.testing.assert_allclose(mean_over_examples(values), values.double().mean(0), rtol=1e-14)
    np.testing.assert_allclose(sd_over_examples(values), values.double().std(0, correction=0), rtol=1e-13)
    assert not sd_over_examples(values[:1]).any()
