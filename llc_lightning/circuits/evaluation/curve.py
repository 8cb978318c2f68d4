"""Faithfulness against size: how early in an order of edges a circuit is found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.evaluation.faithfulness import Faithfulness, of_many
from llc_lightning.circuits.masked import MaskedRuns

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of all edges at which circuits are cut (Mueller et al. 2025, MIB, arXiv:2504.13151)."""


@dataclass(frozen=True)
class Curve:
    """The faithfulness of the first edges of an order, for each share of all edges."""

    shares: tuple[float, ...]
    points: tuple[Faithfulness, ...]

    @property
    def cpr(self) -> float:
        """The circuit performance ratio: the area under the curve. It rewards doing more than the network."""
        return area(self.shares, [one.value for one in self.points])

    @property
    def cmd(self) -> float:
        """The circuit-model distance: the area between the curve and 1. The smaller the better."""
        return area(self.shares, [abs(1 - one.value) for one in self.points])


def area(shares: Sequence[float], values: Sequence[float]) -> float:
    """Returns the area under values by the trapezoid rule, on linear shares, from the first of them.

    Example:
        >>> area([0.0, 0.5, 1.0], [0.0, 1.0, 1.0])
        0.75
    """
    points = zip(shares, values, strict=True)
    return sum((right - left) * (low + high) / 2 for (left, low), (right, high) in pairwise(points))


def curve(runs: MaskedRuns, scores: Mapping[Edge, float], *, shares: Sequence[float] = SHARES) -> Curve:
    """Returns the curve of an order of edges, those with the largest absolute scores first.

    Args:
        runs: The network and its donor.
        scores: Of every edge of the graph; the order of equal ones is the graph's.
        shares: Of all edges, in rising order.
    """
    order = sorted(runs.edges, key=lambda edge: math.inf if math.isnan(scores[edge]) else -abs(scores[edge]))
    circuits = [order[: round(share * len(order))] for share in shares]
    return Curve(tuple(shares), tuple(of_many(runs, circuits)))
