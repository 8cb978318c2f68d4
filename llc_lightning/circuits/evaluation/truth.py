"""Scores against edges that are known to matter or not."""

from __future__ import annotations

import math
from collections.abc import Mapping

from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.graph import Graph
from llc_lightning.runtime.errors import DataError


def scored(graph: Graph, truth: Mapping[str, str], scores: Mapping[Edge, float]) -> tuple[list[float], list[bool]]:
    """Returns the absolute scores of the edges of which the truth is known, and whether each is true.

    Of the edges that one text with ``?`` names, one of which is true, the best counts alone.

    Args:
        graph: The edges that there are.
        truth: The role of an edge by its text, '' of a false one, as ``ground_truth(edges=True)`` gives it; addresses
            of parts among them are passed over.
        scores: Of some edges; those without a score are not counted, such as those that a donor cannot reach.

    Raises:
        DataError: If there is no true or no false edge with a score.
    """
    values: list[float] = []
    labels: list[bool] = []
    for text, role in truth.items():
        if " -> " not in text:
            continue
        found = [abs(scores[edge]) for edge in graph.select(text) if edge in scores]
        if found:
            values.append(max(found))
            labels.append(role != "")
    if all(labels) or not any(labels):
        raise DataError(
            f"{sum(labels)} of the {len(labels)} edges with a score are known to be true; a comparison with the truth "
            "needs true and false ones."
        )
    return values, labels


def overlap_p(found: int, circuit: int, true: int, edges: int) -> float:
    """Returns the probability that as many edges drawn at random hold as many true ones, or more (hypergeometric).

    Args:
        found: True edges in the circuit.
        circuit: Its size.
        true: True edges that there are.
        edges: All edges.

    Example:
        >>> f"{overlap_p(5, 5, 5, 81):.1e}"
        '3.9e-08'
    """
    ways = [
        math.comb(true, k) * math.comb(edges - true, circuit - k)
        for k in range(found, min(circuit, true) + 1)
        if circuit - k <= edges - true
    ]
    return sum(ways) / math.comb(edges, circuit)
