"""The weights of a circuit, as a component whose LLC can be measured."""

from __future__ import annotations

from collections.abc import Iterable

from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.graph import Graph
from llc_lightning.runtime.errors import SettingError


def nodes_of(graph: Graph, edges: Iterable[Edge]) -> list[str]:
    """Returns the parts whose weights make a circuit: who writes its edges, and who is computed from what they tell.

    A head that reads by its query alone is here with all of its weights. What reads and has none, as the output, is
    not.

    Args:
        graph: The network's.
        edges: The circuit.
    """
    ends = [name for edge in edges for name in (edge.sender.partition("@")[0], graph.reader(edge).feeds)]
    used = {name for name in ends if name}
    return [name for name in graph.senders if name in used]


def circuit_address(graph: Graph, edges: Iterable[Edge]) -> str:
    """Returns what ``components=`` of the LLC takes for the weights of a circuit; behind ``all-`` it is all others.

    Args:
        graph: The network's.
        edges: The circuit.

    Raises:
        SettingError: If the circuit has no edge.

    Example:
        >>> from llc_lightning.models.hand_built import hand_built_induction
        >>> graph = Graph.of(hand_built_induction())
        >>> circuit_address(graph, graph.select("net.hook_embed -> net.blocks.1.attn.hook_q[2]"))
        'net.hook_embed+net.blocks.1.attn.hook_z[2]'
    """
    nodes = nodes_of(graph, edges)
    if not nodes:
        raise SettingError("a circuit of no edge has no weights; find one with a lower threshold.")
    return "+".join(nodes)
