"""Which circuits searches are compared by."""

import pytest

from benchmarks.found import nearest, of_size, sized
from llc_lightning.circuits.circuit import Circuit, ScoredEdge
from llc_lightning.circuits.edge import Edge


def circuit(size: int) -> Circuit:
    edges = tuple(ScoredEdge(Edge("a", f"b{at}"), 1.0) for at in range(size))
    return Circuit(edges, "acdc", "mean", "train", 12, 0)


def test_the_circuit_of_a_size_is_the_smallest_that_has_it_and_else_the_largest() -> None:
    circuits = [circuit(size) for size in (2, 9, 5, 0)]
    assert [len(nearest(circuits, size).scored) for size in (1, 2, 3, 6, 20)] == [2, 2, 5, 9, 9]


def test_a_circuit_of_another_size_is_told() -> None:
    assert [sized(circuit(size), 5) for size in (5, 3, 9)] == ["", " (3 edges)", " (9 edges, cut to 5 by |score|)"]


def test_a_cost_is_looked_for_that_gives_as_many_edges_as_the_true_circuit() -> None:
    asked: list[float] = []

    def search(cost: float) -> Circuit:
        asked.append(cost)
        return circuit(int(10 / cost))

    found = of_size(search, (0.5, 1.0, 2.0), 7)
    assert asked == [0.5, 1.0, 2.0, pytest.approx(2**0.5)]
    assert 7 in [len(one.scored) for one in found]
    for size in (10, 25, 1):  # there already, or beyond all costs
        asked.clear()
        of_size(search, (0.5, 1.0, 2.0), size)
        assert asked == [0.5, 1.0, 2.0]
