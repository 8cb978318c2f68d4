"""Reduced-rank regression and deep linear networks, the textbook singular models, at several points of their fibre."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from itertools import pairwise
from math import nan
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.truth.case import Case
from benchmarks.truth.gibbs import sampled
from llc_lightning.exact import reduced_rank_value

if TYPE_CHECKING:
    from llc_lightning.runtime.batches import LossFn, Params

GROUP = "linear networks"
STRENGTHS = (2.0, 1.5, 1.0)
STEPS = {"burn_in": 500, "draws": 2000}
"""20,000 steps of 8 chains."""


@dataclass(frozen=True)
class Network:
    """A linear network around a map of some rank, and its value by Gibbs sampling, with its standard error.

    The layers are balanced. Units in excess are 0 on both sides, where the zeros of the loss cross; or, at a smooth
    point, they listen to what no other unit does, and say nothing.
    """

    widths: tuple[int, ...]
    rank: int
    n_beta: float
    gamma: float
    value: float
    error: float
    smooth: bool = False

    def weights(self) -> list[Tensor]:
        """Returns ``W_1`` to ``W_L`` in double precision, the same at each call."""
        draws, depth = torch.Generator().manual_seed(0), len(self.widths) - 1
        bases = [
            torch.linalg.qr(torch.randn(width, width, generator=draws, dtype=torch.float64)).Q for width in self.widths
        ]
        singular = torch.tensor(STRENGTHS[: self.rank], dtype=torch.float64) ** (1 / depth)
        weights = [above[:, : self.rank] * singular @ below[:, : self.rank].T for below, above in pairwise(bases)]
        if self.smooth:
            spare = slice(self.rank, min(self.widths[:2]))
            weights[0] = weights[0] + bases[1][:, spare] @ bases[0][:, spare].T
        return weights

    def loss(self) -> LossFn:
        """Returns ``1/2 |W_L .. W_1 - M|^2``."""
        target = reduce(lambda below, above: above @ below, self.weights())

        def loss(params: Params, batch: Tensor) -> Tensor:
            layers = [params[str(i + 1)] for i in range(len(params))]
            found = reduce(lambda below, above: above @ below, layers)
            return (found - target.to(found)).square().sum() / 2 + 0 * batch

        return loss

    def formula(self) -> float:
        """Returns the value to first order in 1 / (gamma strength), of two layers where the zeros cross; else NaN.

        ``1/2 sum n_beta h / (n_beta h + gamma)`` over the ``r (M + N - r)`` curved directions, whose ``h`` are the
        strengths ``s_i`` and their sums ``s_i + s_j``; and the exact value of the excess widths at rank 0, which the
        curved directions leave as it is.
        """
        if len(self.widths) > 3 or self.smooth:
            return nan
        inputs, hidden, outputs = (width - self.rank for width in self.widths)
        alone = [s for s in STRENGTHS[: self.rank] for _ in range(inputs + outputs)]
        paired = [s + other for s in STRENGTHS[: self.rank] for other in STRENGTHS[: self.rank]]
        regular = sum(self.n_beta * h / (self.n_beta * h + self.gamma) for h in alone + paired) / 2
        excess = min(inputs, hidden, outputs) > 0
        at = {"n_beta": self.n_beta, "gamma": self.gamma}
        return regular + (reduced_rank_value(inputs, hidden, outputs, **at) if excess else 0.0)


NETWORKS: dict[str, Network] = {
    "4 3 4 of 2": Network((4, 3, 4), 2, 1000.0, 30.0, 6.3383, 0.0025),
    "4 2 4 of 2": Network((4, 2, 4), 2, 1000.0, 30.0, 5.9131, 0.0026),
    "4 4 4 of 2": Network((4, 4, 4), 2, 1000.0, 30.0, 6.6708, 0.0021),
    "5 3 5 of 1": Network((5, 3, 5), 1, 1e4, 100.0, 6.5460, 0.0030),
    "5 2 5 of 1": Network((5, 2, 5), 1, 1e4, 100.0, 5.5810, 0.0030),
    "6 4 5 of 2": Network((6, 4, 5), 2, 1000.0, 100.0, 9.2168, 0.0034),
    "6 3 5 of 2": Network((6, 3, 5), 2, 1000.0, 100.0, 8.8950, 0.0039),
    "2 2 2 of 1": Network((2, 2, 2), 1, 1000.0, 10.0, 1.7525, 0.0010),
    "2 1 2 of 1": Network((2, 1, 2), 1, 1000.0, 10.0, 1.4946, 0.0013),
    "8 4 3 of 1": Network((8, 4, 3), 1, 1000.0, 100.0, 5.7812, 0.0032),
    "8 3 3 of 1": Network((8, 3, 3), 1, 1000.0, 100.0, 5.4632, 0.0032),
    "5 3 4 of 3": Network((5, 3, 4), 3, 1000.0, 10.0, 8.9542, 0.0035),
    "12 6 10 of 3": Network((12, 6, 10), 3, 1e4, 100.0, 35.5889, 0.0070),
    "4 3 4 of 2, smooth": Network((4, 3, 4), 2, 1000.0, 30.0, 6.8801, 0.0020, smooth=True),
    "5 4 5 of 1, smooth": Network((5, 4, 5), 1, 1e4, 100.0, 10.4124, 0.0013, smooth=True),
    "3 2 3 of 0, smooth": Network((3, 2, 3), 0, 1000.0, 100.0, 2.7057, 0.0001, smooth=True),
    "4 4 4 4 of 2": Network((4, 4, 4, 4), 2, 1000.0, 30.0, 6.0879, 0.0025),
    "3 3 3 3 of 1": Network((3, 3, 3, 3), 1, 1e4, 100.0, 2.5560, 0.0018),
    "4 2 2 4 of 2": Network((4, 2, 2, 4), 2, 1000.0, 10.0, 5.9827, 0.0029),
    "6 3 3 5 of 1": Network((6, 3, 3, 5), 1, 1000.0, 100.0, 4.8591, 0.0030),
    "5 4 3 4 5 of 2": Network((5, 4, 3, 4, 5), 2, 1000.0, 30.0, 7.9395, 0.0033),
    "4 3 4 of 2, gamma 10": Network((4, 3, 4), 2, 1000.0, 10.0, 6.6239, 0.0017),
    "5 3 5 of 1, gamma 20": Network((5, 3, 5), 1, 1000.0, 20.0, 6.9072, 0.0019),
    "6 4 5 of 2, gamma 20": Network((6, 4, 5), 2, 1e4, 20.0, 11.5061, 0.0023),
    "4 3 8 of 2, gamma 20": Network((4, 3, 8), 2, 1e4, 20.0, 10.9745, 0.0023),
    "3 3 3 3 of 2, gamma 20": Network((3, 3, 3, 3), 2, 1e4, 20.0, 4.0925, 0.0013),
}
"""By widths and rank; the values are what ``python -m benchmarks.truth.network_values`` prints."""

REMOVED = (
    ("4 4 4 of 2", "4 3 4 of 2"),
    ("4 3 4 of 2", "4 2 4 of 2"),
    ("5 3 5 of 1", "5 2 5 of 1"),
    ("6 4 5 of 2", "6 3 5 of 2"),
    ("2 2 2 of 1", "2 1 2 of 1"),
    ("8 4 3 of 1", "8 3 3 of 1"),
)
"""Networks with and without one unit, at the same resolution."""


SHORT = ("4 3 4 of 2", "6 4 5 of 2", "5 3 4 of 3", "8 4 3 of 1", "4 4 4 4 of 2", "4 3 4 of 2, gamma 10")
"""Also estimated in the number of steps that is the default."""


def cases() -> Iterator[Case]:
    """Yields the networks."""
    for name, network in NETWORKS.items():
        yield _case(name, network, STEPS)
    for name in SHORT:
        yield _case(f"{name}, few steps", NETWORKS[name], {})


def _case(name: str, network: Network, steps: Mapping[str, int]) -> Case:
    at = {"n_beta": network.n_beta, "gamma": network.gamma}
    return Case(
        name=name, group=GROUP, loss=network.loss(), known="Gibbs sampling", value=partial(_stored, network),
        error=network.error, again=partial(_sampled, network), settings=steps, **at,
        params={str(i + 1): weight.float() for i, weight in enumerate(network.weights())},
    )  # fmt: skip


def _stored(network: Network) -> float:
    return network.value


def _sampled(network: Network) -> float:
    at = {"n_beta": network.n_beta, "gamma": network.gamma}
    return sampled(network.weights(), **at, chains=64, sweeps=150, burn_in=300).value
