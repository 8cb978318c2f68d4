"""A bridge of TransformerLens has the edges of the net of its weights, under the same names, and the same scores."""

from typing import Any

import pytest
import torch

from llc_lightning.circuits.base import Question, edge_scores
from llc_lightning.circuits.discovery.base import find_circuit
from llc_lightning.circuits.graph import Graph
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.models.bridge import from_transformer_lens
from llc_lightning.runtime.errors import AddressError
from tests.circuits.nets import Bridged, net


def both(**options: Any) -> tuple[Question, Question]:
    """Returns what is asked of a bridge, and of the net of its weights."""
    bridge, batch = net("bridge")
    own = Bridged()
    own.net = from_transformer_lens(bridge.net)
    first, second = (
        Question.of(loss_fn(one), snapshot_params(one), batch, Graph.of(one, **options), "resample(draws=1)", seed=0)
        for one in (bridge, own)
    )
    return first, second


@pytest.mark.parametrize("neurons", [False, True])
def test_edges_have_the_names_and_effects_of_the_net_of_its_weights(neurons: bool) -> None:
    bridge, own = both(neurons=neurons)
    assert bridge.graph.edges == own.graph.edges
    for score in ("exact", "weight_norm", "relp"):
        found, expected = ([effect.value for effect in edge_scores(one, score)] for one in (bridge, own))
        assert found == pytest.approx(expected, abs=1e-6), score


def test_searches_find_the_same_circuit() -> None:
    bridge, own = both(joined=True)
    found, expected = (find_circuit(one, "acdc(threshold=0.01)").edges for one in (bridge, own))
    assert found == expected
    assert 0 < len(found) < len(bridge.graph.edges)


@pytest.mark.parametrize(("part", "message"), [("ln2", "has no 'ln2' before its MLP"), ("attn", "has no attention")])
def test_blocks_of_another_make_are_refused_in_a_sentence(part: str, message: str) -> None:
    bridge = Bridged()
    delattr(bridge.net.blocks[0], part)
    with pytest.raises(AddressError, match=rf"'net.blocks.0' {message}"):
        Graph.of(bridge)


@pytest.mark.parametrize(
    ("config", "message"), [({"gated_mlp": True}, r"'net.blocks.0.mlp' is not two linear maps"), ({}, "no linear map")]
)
def test_parts_of_another_make_are_refused_in_a_sentence(config: dict[str, Any], message: str) -> None:
    bridge = Bridged(**config)
    if not config:
        bridge.net.blocks[0].attn.o._original_component = torch.nn.Identity()
    with pytest.raises(AddressError, match=message):
        Graph.of(bridge, neurons=True)
