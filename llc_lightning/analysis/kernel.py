"""Order in a loss kernel: which examples move together under the posterior, and whether that is what they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from llc_lightning.analysis.correlation import Correlation, spearman

if TYPE_CHECKING:
    import xarray as xr

Array: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int64]

_SHUFFLES = 100
_COPY = 0.9999
"""Correlated more than this are losses of one input: that they move together says nothing of the network."""


@dataclass(frozen=True)
class Clustering:
    """Clusters of examples by their kernel, beside what the module says of them."""

    order: Labels
    """The examples in an order in which those that move together are neighbours, by their place."""
    labels: Labels
    """The task of each example; -1 where several or none count."""
    names: tuple[str, ...]
    """The tasks that have examples of their own."""
    agreement: float
    """Adjusted Rand index of the clusters and the tasks, over those compared; NaN without two tasks."""
    shuffled: float
    """The same with the tasks shuffled among the examples, the mean of 100 times: what chance gives."""
    neighbours: float
    """Share of those compared whose nearest neighbour, the most correlated of them, has the same task. A task may be
    several blocks of a kernel, which clusters then part and neighbours do not. NaN without two tasks."""
    neighbours_shuffled: float
    """The same with the tasks shuffled, exactly: the share of pairs of examples with the same task."""

    compared: int
    """How many examples are: those with one task, and of copies, whose losses are one, the first."""


def clustering(arrays: xr.Dataset, *, seed: int = 0) -> Clustering:
    """Returns the clusters of the watched examples: as many as there are tasks, by average linkage of correlations.

    Args:
        arrays: With ``kernel``, and ``counts`` where the module has tasks.
        seed: Keys the shuffled control.
    """
    related = correlation(np.asarray(arrays["kernel"].values, dtype=np.float64))
    order = _order(related)
    if "counts" not in arrays:
        return Clustering(order, np.full(len(order), -1), (), np.nan, np.nan, np.nan, np.nan, 0)
    counts = np.asarray(arrays["counts"].values, dtype=bool)
    labels = np.where(counts.sum(1) == 1, counts.argmax(1), -1)
    known = (labels >= 0) & ~np.triu(related > _COPY, 1).any(0)
    tasks = np.unique(labels[known])
    names = tuple(str(arrays["task"].values[task]) for task in tasks)
    if len(tasks) < 2:
        return Clustering(order, labels, names, np.nan, np.nan, np.nan, np.nan, int(known.sum()))
    among, own = related[np.ix_(known, known)], labels[known]
    found = clusters(among, len(tasks))
    rng = np.random.default_rng(seed)
    chance = [adjusted_rand(found, rng.permutation(own)) for _ in range(_SHUFFLES)]
    alike = own[:, None] == own
    others = ~np.eye(len(own), dtype=bool)
    nearest = np.where(others, among, -np.inf).argmax(1)
    return Clustering(
        order,
        labels,
        names,
        adjusted_rand(found, own),
        float(np.mean(chance)),
        float((own[nearest] == own).mean()),
        float(alike[others].mean()),
        int(known.sum()),
    )


def self_influence(arrays: xr.Dataset) -> tuple[Array, Array]:
    """Returns the variance of each watched example's loss over the posterior, and its standard error, [example].

    The diagonal of the loss kernel, minus the Bayesian influence of an example on itself (Kreer et al. 2025,
    arXiv:2509.26544). It is large for examples that few others pin down: hard, mislabelled, memorised.

    Args:
        arrays: With ``kernel``.
    """
    value, stderr = (
        np.asarray(np.diagonal(arrays[name].values), dtype=np.float64) for name in ("kernel", "kernel_stderr")
    )
    return value, stderr


def response_to_ablation(arrays: xr.Dataset, component: int, ablation: int) -> Correlation | None:
    """Returns the rank correlation over examples of a component's susceptibility and its ablation effect.

    What the posterior over its weights does to an example beside what its removal does; None where either is unknown.

    Args:
        arrays: With ``susceptibility`` and ``ablation_effect``.
        component: Its number.
        ablation: The number of the method.
    """
    response = np.asarray(arrays["susceptibility"].values[component], dtype=np.float64)
    effect = np.asarray(arrays["ablation_effect"].values[component, ablation], dtype=np.float64)
    both = bool(np.isfinite(response).all() and np.isfinite(effect).all())
    return spearman(response, effect, permutations=0) if both else None


def correlation(kernel: Array) -> Array:
    """Returns a kernel as correlations; 0 with an example whose loss does not vary."""
    size = np.sqrt(np.diagonal(kernel).clip(min=0))
    scale = np.outer(size, size)
    related = np.divide(kernel, scale, out=np.zeros_like(kernel), where=scale > 0)
    np.fill_diagonal(related, 1.0)
    return related.clip(-1, 1)


def clusters(related: Array, k: int) -> Labels:
    """Returns the cluster of each example, from 1: ``k`` by average linkage of ``1 - correlation``."""
    from scipy.cluster.hierarchy import fcluster

    return np.asarray(fcluster(_tree(related), k, criterion="maxclust"), dtype=np.int64)


def adjusted_rand(one: Labels, other: Labels) -> float:
    """Returns the adjusted Rand index of two partitions: 1 for the same, 0 on average for unrelated ones.

    Hubert and Arabie 1985, J. Classification 2.

    Example:
        >>> adjusted_rand(np.array([0, 0, 1, 1]), np.array([5, 5, 3, 3]))
        1.0
    """
    _, table = np.unique(np.stack([one, other]), axis=1, return_counts=True)
    rows, columns = (np.unique(part, return_counts=True)[1] for part in (one, other))
    pairs, in_rows, in_columns = (float((n * (n - 1) / 2).sum()) for n in (table, rows, columns))
    expected = in_rows * in_columns / (len(one) * (len(one) - 1) / 2)
    most = (in_rows + in_columns) / 2
    return 1.0 if most == expected else (pairs - expected) / (most - expected)


def _tree(related: Array) -> Array:
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    apart = 1 - (related + related.T) / 2
    np.fill_diagonal(apart, 0.0)
    return cast("Array", linkage(squareform(apart, checks=False), method="average"))


def _order(related: Array) -> Labels:
    from scipy.cluster.hierarchy import leaves_list

    return np.asarray(leaves_list(_tree(related)), dtype=np.int64)
