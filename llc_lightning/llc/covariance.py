"""Errors of what is estimated from the draws of several chains, from how the chains differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from llc_lightning.runtime.errors import SettingError

Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Jackknifed:
    """Values with their standard errors, of one shape; NaN errors for a single chain."""

    value: npt.NDArray[np.floating[Any]]
    stderr: npt.NDArray[np.floating[Any]]


def jackknife(estimate: Callable[[npt.NDArray[np.bool_]], Array], chains: int) -> Jackknifed:
    """Returns what is estimated from chains, without its bias of first order in ``1 / chains``, and its error.

    Quenouille 1956, Biometrika 43; Miller 1974, Biometrika 61.

    Args:
        estimate: Gives the estimate from some of the chains, bool [chain].
        chains: How many there are; of one there is no error.
    """
    every = np.ones(chains, dtype=bool)
    whole = np.asarray(estimate(every), dtype=np.float64)
    if chains < 2:
        return Jackknifed(whole, np.full_like(whole, np.nan))
    without = np.stack([np.asarray(estimate(every & (np.arange(chains) != chain))) for chain in range(chains)])
    spread = (chains - 1) / chains * np.square(without - without.mean(0)).sum(0)
    # As arrays also where they are single numbers.
    return Jackknifed(np.asarray(chains * whole - (chains - 1) * without.mean(0)), np.asarray(np.sqrt(spread)))


def covariance(first: Array, second: Array) -> Jackknifed:
    """Returns the covariance of two sets of variables over draws [chain, draw, variable], as [i, j], with errors.

    Raises:
        SettingError: If they are not of the same draws, or there is none.

    Example:
        >>> draws = np.array([[[0.0], [2.0]], [[1.0], [1.0]], [[0.0], [2.0]]])
        >>> round(float(covariance(draws, draws).value[0, 0]), 4)
        0.6667
    """
    if first.ndim != 3 or second.ndim != 3 or first.shape[:2] != second.shape[:2] or not first.size:
        raise SettingError(
            f"draws of shape {first.shape} and {second.shape} have no covariance; give [chain, draw, variable] of the "
            "same chains and draws."
        )
    one, other = first.astype(np.float64), second.astype(np.float64)
    # Around the mean of all draws, so that products of large means round nothing away.
    one, other = one - one.mean((0, 1)), other - other.mean((0, 1))
    product = np.einsum("cdi,cdj->cij", one, other, optimize=True) / one.shape[1]
    means = one.mean(1), other.mean(1)
    return jackknife(lambda kept: product[kept].mean(0) - np.outer(*(mean[kept].mean(0) for mean in means)), len(one))
