"""Clusters of a loss kernel against examples whose groups are known."""

import numpy as np
import pytest
import xarray as xr

from llc_lightning.analysis.kernel import adjusted_rand, clustering, clusters, correlation


def blocks(sizes: tuple[int, ...], *, noise: float = 0.05, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns a kernel of groups that move together, shuffled, and each example's group."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    draws = rng.normal(size=(4000, len(sizes)))[:, group] + noise * rng.normal(size=(4000, len(group)))
    return np.cov((draws * rng.uniform(0.5, 2, len(group))).T), group


def arrays(kernel: np.ndarray, counts: np.ndarray | None = None) -> xr.Dataset:
    found = {"kernel": (("example", "other"), kernel)}
    if counts is None:
        return xr.Dataset(found)
    found["counts"] = (("example", "task"), counts)
    return xr.Dataset(found, coords={"task": [f"task:{i}" for i in range(counts.shape[1])]})


def test_groups_that_move_together_are_found_whatever_their_scale() -> None:
    kernel, group = blocks((12, 7, 20))
    assert adjusted_rand(clusters(correlation(kernel), 3), group) == 1.0
    found = clustering(arrays(kernel, np.eye(3, dtype=bool)[group]))
    assert found.agreement == 1.0
    assert abs(found.shuffled) < 0.05
    assert found.labelled == 39
    ordered = group[found.order]
    assert int((ordered[1:] != ordered[:-1]).sum()) == 2, "neighbours move together"


def test_examples_of_several_tasks_or_none_enter_no_comparison() -> None:
    kernel, group = blocks((10, 10))
    counts = np.eye(2, dtype=bool)[group]
    counts[0], counts[1] = True, False
    found = clustering(arrays(kernel, counts))
    assert found.labelled == 18
    assert found.labels[:2].tolist() == [-1, -1]
    assert found.agreement == 1.0


@pytest.mark.parametrize("counts", [None, np.ones((20, 1), dtype=bool)])
def test_without_two_tasks_nothing_is_compared(counts: np.ndarray | None) -> None:
    found = clustering(arrays(blocks((10, 10))[0], counts))
    assert np.isnan(found.agreement)
    assert sorted(found.order) == list(range(20))


def test_an_example_whose_loss_does_not_vary_is_related_to_none() -> None:
    kernel = np.diag([1.0, 4.0, 0.0])
    np.testing.assert_array_equal(correlation(kernel), np.eye(3))


def test_the_adjusted_rand_index_by_hand() -> None:
    # Pairs: 2 together in both, of 7 and 4 together in one, of 15: expected 28 / 15.
    one, other = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 2, 2])
    assert adjusted_rand(one, other) == pytest.approx((3 - 7 * 3 / 15) / ((7 + 3) / 2 - 7 * 3 / 15))
    assert adjusted_rand(np.zeros(4, dtype=np.int64), np.zeros(4, dtype=np.int64)) == 1.0
