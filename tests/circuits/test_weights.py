"""A circuit's weights and all others: together they are what is trained, and both have an LLC."""

import pytest
import torch

from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.weights import circuit_address, nodes_of
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.measure.measurements import measure
from llc_lightning.models.hand_built import hand_built_induction
from llc_lightning.runtime.errors import AddressError, SettingError
from tests.circuits.nets import net
from tests.components.nets import Declared
from tests.measure.circuit.test_rows import snapshot


def test_the_weights_of_a_circuit_and_all_others_are_what_is_trained() -> None:
    module = hand_built_induction()
    graph, params = Graph.of(module), dict(module.named_parameters())
    true = [edge for edge, role in module.ground_truth(edges=True).items() if role and " -> " in edge]
    edges = graph.select(true)
    assert nodes_of(graph, edges)[2:] == ["net.blocks.0.attn.hook_z[1]", "net.blocks.1.attn.hook_z[2]"]
    address = circuit_address(graph, edges)
    inside, outside = (one.moved(params) for one in find_components(module, [address, f"all-{address}"]))
    for name, weights in params.items():
        nothing = torch.zeros_like(weights, dtype=torch.bool)
        assert (inside.get(name, nothing) ^ outside.get(name, nothing)).all(), name


def test_both_have_an_llc() -> None:
    module, _ = net("layer")
    graph = Graph.of(module)
    address = circuit_address(graph, graph.select("*hook_z[1] -> *blocks.1*"))
    settings = ChainSettings(chains=2, draws=4, burn_in=2, batch_size=4, step_size=1e-5)
    plan = LLCPlan(components=(address, f"all-{address}"), n_beta=(10.0,), gamma=5.0, settings=settings)
    rows = [row for row in measure(plan, snapshot()).rows if row.quantity == "llc"]
    assert [(row.component, row.kind, row.params_moved) for row in rows] == [
        (address, "set", address),
        (f"all-{address}", "complement", f"all-{address}"),
    ]


def test_what_leaves_nothing_or_no_slice_is_told() -> None:
    with pytest.raises(SettingError, match="no edge has no weights"):
        circuit_address(Graph.of(net("layer")[0]), [])
    module = Declared()
    assert isinstance(find_components(module, "all-hook_two[1]")[0], Component)
    with pytest.raises(AddressError, match=r"different axes of 'W_mid\.weight'"):
        find_components(module, "all-hook_one[1]+hook_two[1]")
    with pytest.raises(AddressError, match="has all trained weights"):
        find_components(module, "all-hook_one+hook_two+hook_out")
