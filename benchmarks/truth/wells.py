"""Losses with another well, behind a barrier that no chain crosses: the exact value counts what no chain can see."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.truth.case import Case, of_weights
from benchmarks.truth.integrals import mean

N_BETA, GAMMA = 1000.0, 0.01
Numbers = TypeVar("Numbers", Tensor, np.ndarray)


def flatter(w: Numbers) -> Numbers:
    """A quadratic at 0, and a quartic at 4 whose volume is larger."""
    return w**2 * (w - 4) ** 4 / 512


def deeper(w: Numbers) -> Numbers:
    """A quadratic at 0, and another at 4 that is lower by 0.1."""
    return w**2 * (w - 4) ** 2 / 32 - 0.1 * math.e ** (-((w - 4) ** 2))


def cases() -> Iterator[Case]:
    """Yields one with a flatter and one with a deeper second well."""
    for name, loss in (("flatter", flatter), ("deeper", deeper)):
        yield _case(f"a {name} well at 4", loss)


def _case(name: str, loss: Callable[[Tensor], Tensor]) -> Case:
    return Case(
        name=name, group="out of reach", loss=of_weights(lambda w: loss(w).sum()), params={"w": torch.zeros(1)},
        n_beta=N_BETA, gamma=GAMMA, known="1-d quadrature", value=partial(_value, loss), out_of_reach=True,
    )  # fmt: skip


def _value(loss: Callable[[np.ndarray], np.ndarray]) -> float:
    w = np.linspace(-20, 20, 400_001)
    energy = N_BETA * loss(w)
    return mean(-energy - GAMMA / 2 * w**2, energy)
