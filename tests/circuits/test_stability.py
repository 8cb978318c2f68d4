"""Shares of edges over circuits, and circuits of other trainings with their heads matched."""

from dataclasses import replace
from math import comb

import pytest
import torch

from llc_lightning.circuits.base import Question
from llc_lightning.circuits.circuit import Circuit, ScoredEdge
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.stability import Stability, consensus, matched, over_examples, over_orders
from llc_lightning.runtime.errors import SettingError
from tests.circuits.nets import question


def circuit(*edges: str) -> Circuit:
    """Returns a circuit of some edges."""
    scored = tuple(ScoredEdge(Edge.parse(f"{one[0]} -> {one[1]}"), 1.0) for one in edges)
    return Circuit(scored, "acdc", "zero", "train", 16, 0)


def test_shares_count_the_circuits_that_hold_an_edge() -> None:
    found = Stability("order", (circuit("ab", "bc"), circuit("ab"), circuit("ab", "ac"), circuit("ab", "bc")))
    assert {str(edge): share for edge, share in found.shares.items()} == {"a -> b": 1, "b -> c": 0.5, "a -> c": 0.25}
    assert [str(edge) for edge in found.in_all] == ["a -> b"]
    assert found.jaccard == pytest.approx((1 / 2 + 1 / 3 + 1 + 1 / 2 + 1 / 2 + 1 / 3) / 6)
    assert found.told() == (
        "Over 4 circuits that differ by order, of 1 to 2 edges, 1 edges are in all and 3 in any; two share 0.53 of "
        "theirs."
    )
    agreed = consensus(found)
    assert [(str(one.edge), one.score) for one in agreed.scored] == [("a -> b", 1.0), ("b -> c", 0.5)]
    assert agreed.search["least share"] == 0.5
    with pytest.raises(SettingError, match="1 circuits are given; a share needs two or more"):
        Stability("order", (circuit("ab"),))


def test_resamples_and_orders_are_found_on_the_network() -> None:
    asked = question("rotary")
    found = over_examples(asked, "acdc(threshold=0.01)", count=3)
    assert found.by == "examples"
    assert {one.n_examples for one in found.circuits} == {12}
    assert len({one.scored for one in found.circuits}) == 3  # other examples, other effects
    orders = over_orders(asked, threshold=0.01, count=2)
    assert [one.search["order"] for one in orders.circuits] == ["random 0", "random 1"]


def test_few_of_many_examples_tell_how_often_an_edge_is_found_on_fresh_ones() -> None:
    pool = replace(question("layer"), counterfactual=None)
    ones = torch.arange(400).remainder(4) == 0  # a quarter of the examples

    def found(asked: Question) -> Circuit:
        # Edge k is kept by more than k of 16 examples, which on fresh ones is a binomial's tail.
        kept = range(int(asked.data[0].sum()))
        return Circuit(
            tuple(ScoredEdge(Edge("a", f"b[{k}]"), 1.0) for k in kept), "acdc", "zero", "train", len(asked.data[0]), 0
        )

    few = over_examples(replace(pool, data=(ones,)), found, count=400, size=16)
    assert {one.n_examples for one in few.circuits} == {16}
    for k in range(9):
        often = sum(comb(16, one) * 0.25**one * 0.75 ** (16 - one) for one in range(k + 1, 17))
        share = few.shares.get(Edge("a", f"b[{k}]"), 0.0)
        assert abs(share - often) <= 4 * (often * (1 - often) / 400) ** 0.5 + 1e-3, k
    with pytest.raises(SettingError, match="size is 1; give an integer of at least 2"):
        over_examples(pool, found, size=1)
    with pytest.raises(SettingError, match="size is 401; there are 400 examples to draw from"):
        over_examples(replace(pool, data=(ones,)), found, size=401)


def test_heads_that_do_the_same_get_the_same_numbers() -> None:
    def induction(previous: int, other: int) -> Circuit:
        first, second = f"net.0.attn.hook_{{}}[{previous}]", f"net.1.attn.hook_{{}}[{other}]"
        edges = [
            ("net.hook_embed", first.format("v")),
            (first.format("z"), second.format("k")),
            (second.format("z"), "net.out"),
        ]
        return Circuit(tuple(ScoredEdge(Edge(*one), 1.0) for one in edges), "acdc", "zero", "train", 16, 0)

    assert matched(induction(0, 3), induction(1, 2)).edges == induction(1, 2).edges
    assert matched(induction(1, 2), induction(1, 2)).edges == induction(1, 2).edges
    many = [Edge("net.hook_embed", f"net.0.attn.hook_q[{head}]") for head in range(7)]
    large = Circuit(tuple(ScoredEdge(edge, 1.0) for edge in many), "acdc", "zero", "train", 16, 0)
    with pytest.raises(SettingError, match=r"'net\.0\.attn' has 7 units in the circuits, and roles are matched of up"):
        matched(large, induction(1, 2))


def test_circuits_of_no_edge_are_the_same() -> None:
    assert Stability("examples", (circuit(), circuit())).jaccard == 1
    assert Stability("examples", (circuit(), circuit("ab"))).jaccard == 0


def test_a_consensus_tells_what_its_circuits_do_not_have_in_common() -> None:
    found = Stability("donor", (circuit("ab"), replace(circuit("ab"), donor="mean", seed=1)))
    agreed = consensus(found)
    assert (agreed.donor, agreed.method, agreed.seed) == ("zero, mean", "consensus of acdc", 0)
    assert agreed.search["seeds"] == "0, 1"
    assert agreed.n_examples == 16
    graph = question("layer").graph
    dead, live = graph.select("net.hook_embed -> net.blocks.0.attn.hook_q[0]") + graph.select("net.hook_embed -> *post")
    both = Circuit((ScoredEdge(dead, 1.0), ScoredEdge(live, 1.0)), "acdc", "zero", "train", 16, 0)
    assert consensus(Stability("order", (both, both)), graph=graph).edges == (live,)


def test_one_resample_is_refused_before_anything_is_searched_for() -> None:
    with pytest.raises(SettingError, match="count is 1; give an integer of at least 2"):
        over_examples(question("layer"), pytest.fail, count=1)
