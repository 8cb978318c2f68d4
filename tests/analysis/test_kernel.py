"""Clusters of a loss kernel against examples whose groups are known."""

import numpy as np
import pytest
import xarray as xr

from llc_lightning.analysis.kernel import (
    adjusted_rand,
    clustering,
    clusters,
    correlation,
    response_to_ablation,
    self_influence,
)


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
    assert found.compared == 39
    assert found.neighbours == 1.0
    assert found.neighbours_shuffled == pytest.approx((12 * 11 + 7 * 6 + 20 * 19) / (39 * 38))
    ordered = group[found.order]
    assert int((ordered[1:] != ordered[:-1]).sum()) == 2, "neighbours move together"


def test_responses_and_effects_are_compared_example_by_example() -> None:
    response = np.array([[1.0, 2.0, 3.0, 4.0, 5.0], [np.nan] * 5])
    effect = np.stack([response[:1].repeat(2, 0) ** 3, -response[:1].repeat(2, 0)], 1)
    both = xr.Dataset(
        {
            "susceptibility": (("component", "example"), response),
            "ablation_effect": (("component", "ablation", "example"), effect),
        }
    )
    found = [response_to_ablation(both, 0, at) for at in (0, 1)]
    assert [one and round(one.rho, 9) for one in found] == [1.0, -1.0]
    assert response_to_ablation(both, 1, 0) is None


def test_self_influence_is_the_diagonal() -> None:
    kernel = np.diag([1.0, 4.0])
    value, stderr = self_influence(xr.Dataset({name: (("a", "b"), kernel) for name in ("kernel", "kernel_stderr")}))
    assert (value.tolist(), stderr.tolist()) == ([1.0, 4.0], [1.0, 4.0])


def test_copies_are_no_neighbours() -> None:
    """Every input comes three times: that copies move together says nothing of tasks."""
    inputs = np.repeat(np.arange(12), 3)
    found = clustering(arrays(np.eye(12)[np.ix_(inputs, inputs)], np.eye(2, dtype=bool)[inputs % 2]))
    assert found.compared == 12
    assert found.neighbours < 0.8
    assert found.agreement < 0.3


def test_a_task_of_two_blocks_is_parted_by_clusters_and_not_by_neighbours() -> None:
    """The second block goes with the third, of another task, rather than with the first of its own."""
    group = np.repeat([0, 1, 2], 10)
    kernel = np.array([[0.9, 0.0, 0.0], [0.0, 0.9, 0.3], [0.0, 0.3, 0.9]])[np.ix_(group, group)] + 0.1 * np.eye(30)
    found = clustering(arrays(kernel, np.array([[1, 0], [1, 0], [0, 1]], dtype=bool)[group]))
    assert found.neighbours == 1.0
    assert found.agreement < 0.5


def test_examples_of_several_tasks_or_none_enter_no_comparison() -> None:
    kernel, group = blocks((10, 10))
    counts = np.eye(2, dtype=bool)[group]
    counts[0], counts[1] = True, False
    found = clustering(arrays(kernel, counts))
    assert found.compared == 18
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
