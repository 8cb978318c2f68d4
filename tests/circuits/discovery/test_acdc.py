"""ACDC decides as one run after the other does, whatever its lanes are."""

import pytest
import torch

from llc_lightning.circuits.discovery.acdc import ACDC
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.errors import SettingError
from tests.circuits.nets import question


def literal(runs: MaskedRuns, order: list[Edge], threshold: float) -> dict[Edge, float]:
    """Returns the edges that stay, with what the loss rose by without them, asking about one after the other."""
    kept, stay = list(runs.edges), dict[Edge, float]()
    with torch.no_grad():
        current = runs(runs.mask(kept)[None]).mean()
        for edge in order:
            after = runs(runs.mask([one for one in kept if one != edge])[None]).mean()
            if after - current < threshold:
                kept.remove(edge)
                current = after
            else:
                stay[edge] = float(after - current)
    return stay


@pytest.mark.parametrize(
    ("name", "order", "draws", "together"),
    [
        ("rotary", "latest", 1, (1, 5)),
        ("rotary", "earliest", 1, (1, 5)),
        ("rotary", "random", 1, (1, 5)),
        ("hand_built", "latest", 2, (3,)),
    ],
)
def test_decisions_are_those_of_one_run_after_the_other(
    name: str, order: str, draws: int, together: tuple[int, ...]
) -> None:
    runs, alone = (MaskedRuns(Subject(question(name, f"resample(draws={draws})"), block=8)) for _ in range(2))
    assert runs.by_hand.holds == (name == "hand_built")
    alone.by_hand.holds = False
    threshold = 0.01
    asked = [edge for some in ACDC(order=order).ordered(runs.subject.graph, 0) for edge in some]
    assert sorted(asked) == sorted(runs.edges)
    expected = literal(alone, asked, threshold)
    assert 2 <= len(expected) < len(asked) - 3
    for lanes in together:
        found = ACDC(threshold=threshold, order=order, lanes=lanes).find(runs)
        heard = runs.subject.graph.heard(list(expected))
        assert {one.edge: one.score for one in found.scored} == pytest.approx(
            {edge: rise for edge, rise in expected.items() if edge.reader in heard}, abs=1e-5
        )
        assert found.search["order"] == ("random 0" if order == "random" else order)


def test_orders_come_from_the_output_back_and_draws_differ() -> None:
    graph = question("rotary").graph
    for order in ("latest", "earliest", "random"):
        streams = [graph.reader(edge).stream for some in ACDC(order=order).ordered(graph, 0) for edge in some]
        assert (
            list(dict.fromkeys(streams)) == list(dict.fromkeys(graph.reader(edge).stream for edge in graph.edges))[::-1]
        )
    first, again, other = (ACDC(order="random", draw=draw).ordered(graph, 0) for draw in (0, 0, 1))
    assert first == again != other


def test_an_unknown_order_is_told() -> None:
    with pytest.raises(SettingError, match=r"unknown order 'first'\. Use one of: earliest, latest, random"):
        ACDC(order="first")
