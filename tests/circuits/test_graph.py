"""Edges are addresses; graphs know which there are, and models which are true."""

import pytest

from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.graph import Graph
from llc_lightning.models.hand_built import EDGES, hand_built_induction
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.runtime.errors import AddressError

STRICT = {"0.1": "previous-token", "1.2": "induction"}


def test_edges_print_what_they_were_read_from() -> None:
    for joined in (False, True):
        for edge in Graph.of(hand_built_induction(), joined=joined).edges:
            assert Edge.parse(str(edge)) == edge


@pytest.mark.parametrize("text", ["", "a", "a -> b -> c", "a[x] -> b", "a->b"])
def test_what_is_no_edge_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match="cannot read the"):
        Edge.parse(text)


def test_a_graph_has_every_reader_behind_every_sender() -> None:
    model = hand_built_induction()
    # Of 12 readers a layer the first hear 2 embeddings, the second 4 heads more, and the output all.
    assert len(Graph.of(model).edges) == 12 * 2 + 12 * 6 + 10
    assert len(Graph.of(model, joined=True).edges) == 81
    with_mlp = TransformerModel(7, 5, n_heads=2, d_model=8, d_mlp=3)
    assert len(Graph.of(with_mlp).edges) == 6 * 2 + 4 + 6 * 5 + 7 + 8
    assert len(Graph.of(with_mlp, neurons=True).edges) == 6 * 2 + 3 * 4 + 6 * 7 + 3 * 9 + 12


def test_globs_select_and_keep_positions() -> None:
    graph = Graph.of(hand_built_induction())
    assert len(graph.select("net.hook_embed -> *")) == 25
    assert len(graph.select("*hook_z[1] -> *hook_?[2]")) == 3
    assert graph.select("*hook_z[1]@-1 -> *hook_k[2]") == [
        Edge("net.blocks.0.attn.hook_z[1]@-1", "net.blocks.1.attn.hook_k[2]")
    ]
    assert graph.select(["*", "net.hook_embed -> *"]) == list(graph.edges)


def test_the_hand_built_net_knows_all_its_edges() -> None:
    model = hand_built_induction()
    truth = model.ground_truth(edges=True)
    edges = {str(edge) for edge in Graph.of(model).edges}
    assert {one for one in truth if " -> " in one} == edges
    assert {one: role for one, role in truth.items() if role and " -> " in one} == EDGES


def test_a_strict_net_knows_its_chain_and_what_lies_outside() -> None:
    model = TransformerModel(32, 32, n_heads=4, d_model=64, circuit=STRICT)
    truth = {edge: role for edge, role in model.ground_truth(edges=True).items() if " -> " in edge}
    assert [edge for edge, role in truth.items() if role] == [
        "net.blocks.0.attn.hook_z[1] -> net.blocks.1.attn.hook_?[2]",
        "net.blocks.1.attn.hook_z[2] -> net.blocks.1.hook_resid_post",
    ]
    graph = Graph.of(model)
    assert all(graph.select(edge) for edge in truth)
    outside = [edge for edge, role in truth.items() if not role]
    # Open are the embeddings' edges into the two heads and the output, 0.1's into 1.2 and the output, and 1.2's.
    assert len(outside) == len(graph.edges) - (6 + 6 + 2 + 3 + 1 + 1)
    assert TransformerModel(7, 5, n_heads=2, d_model=8).ground_truth(edges=True) == {}
