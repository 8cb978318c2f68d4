"""Cases on which an earlier version was wrong with status ok."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch

from benchmarks.truth.case import Case, of_weights, quadratic_sum
from benchmarks.truth.integrals import of_powers
from benchmarks.truth.minibatches import additive, curved
from benchmarks.truth.quadratics import SUM, at_angles

GROUP = "known failures"


def cases() -> Iterator[Case]:
    """Yields one of each kind, as they were found."""
    yield at_angles("slow in 2: 1, 1e-4", GROUP, (1.0, 1e-4), n_beta=1e4, gamma=1.0, seed=1)
    yield Case(
        name="|w1 w2|, n_beta 100", group=GROUP, loss=of_weights(lambda w: (w[0] * w[1]).abs()),
        params={"w": torch.zeros(2)}, n_beta=100.0, gamma=1.0, known="quadrature",
        value=partial(of_powers, (1, 1), n_beta=100.0, gamma=1.0),
    )  # fmt: skip
    slopes = torch.zeros(4096, 5)
    slopes[0], slopes[1] = 30.0, -30.0
    yield replace(additive("noise: 2 of 4096 of 30", slopes, batch_size=16), group=GROUP)
    spread = (1 - torch.rand(4096, generator=torch.Generator().manual_seed(7))) ** (-1 / 1.3)
    yield replace(curved("curvature: Pareto 1.3", spread / spread.mean(), batch_size=8), group=GROUP)
    yield _sum(2)
    yield _sum(10)


def _sum(dimension: int) -> Case:
    at = {"n_beta": 100.0, "gamma": 1.0}
    return Case(
        name=f"(w1 + .. + w{dimension})^2 / 2, n_beta 100", group=GROUP, known=SUM,
        loss=of_weights(lambda w: w.sum() ** 2 / 2), params={"w": torch.zeros(dimension)},
        value=partial(quadratic_sum, [float(dimension)], **at), **at,
    )  # fmt: skip
