"""A traced graph whose elementwise operations write over arguments that nothing needs any more."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from llc_lightning.runtime.graph import changes_or_draws

_COMMUTATIVE = (torch.ops.aten.add.Tensor, torch.ops.aten.mul.Tensor)
_ALIASING = (torch.ops.aten._unsafe_view.default,)  # pyright: ignore[reportPrivateUsage] - its schema does not say so


def reusing(module: GraphModule) -> GraphModule:
    """Returns a graph that gives the same bits with less memory and less time; not for gradients.

    The result of an elementwise operation takes the place of an argument where it is the last to need it: fewer
    tensors then go through a CPU's cache. Arguments of the graph are never written to. A graph whose own operations
    write or draw keeps its order of doing so, and every result its place.

    Args:
        module: A graph from :func:`~llc_lightning.runtime.graph.traced`.
    """
    if any(node.op == "call_function" and changes_or_draws(node.target) for node in module.graph.nodes):
        return module
    graph = Graph()
    made: dict[Node, Node] = {}
    for node in module.graph.nodes:
        made[node] = graph.node_copy(node, lambda source: made[source])
    memory = _Memory(list(graph.nodes))
    for node in graph.nodes:
        written = _written(node)
        over = next((one for one in _arguments(node) if written and memory.is_free(one, node)), None)
        if over is None:
            continue
        if over is not node.args[0]:
            node.args = (over, node.args[0], *node.args[2:])
        node.target = written
        memory.merge(node, over)
    return GraphModule(module, graph)


class _Memory:
    """Which nodes hold the same memory, and who is the last to need it."""

    def __init__(self, nodes: list[Node]) -> None:
        self._place = {node: at for at, node in enumerate(nodes)}
        self._root: dict[Node, Node | None] = {}
        self._last: dict[Node, int] = {}
        for node in nodes:
            root = self._root[node] = _root(node, self._root)
            if root is not None:
                uses = [self._place[user] for user in (node, *node.users)]
                self._last[root] = max(self._last.get(root, 0), *uses)

    def is_free(self, argument: Node, node: Node) -> bool:
        """Says whether a node may write its result over one of its arguments."""
        root = self._root[argument]
        if root is None or self._last[root] != self._place[node] or not _of_one_form(argument, node):
            return False
        return all(one is argument or self._root[one] is not root for one in node.all_input_nodes)

    def merge(self, node: Node, argument: Node) -> None:
        """Notes that a node's result is where the argument was."""
        root = self._root[argument]
        if root is None:
            return
        self._last[root] = self._last[node]
        self._root |= {one: root for one, known in self._root.items() if known is node}


def _root(node: Node, roots: dict[Node, Node | None]) -> Node | None:
    """Returns the node that made the memory of a node's result; None for arguments of the graph and what is unknown."""
    if node.op != "call_function":
        return None
    schema = getattr(node.target, "_schema", None)
    if schema is None:  # one of several results
        return node
    views = node.target in _ALIASING or any(result.alias_info is not None for result in schema.returns)
    first = node.args[0] if node.args else None
    return (roots[first] if isinstance(first, Node) else None) if views else node


def _written(node: Node) -> Any:
    """Returns the operation that does the same in place; None where there is none."""
    target: Any = node.target
    if node.op != "call_function" or torch.Tag.pointwise not in getattr(target, "tags", ()):
        return None
    packet = getattr(torch.ops.aten, f"{target.overloadpacket.__name__}_", None)
    return getattr(packet, target._overloadname, None)


def _arguments(node: Node) -> list[Node]:
    """Returns the arguments that the result may take the place of."""
    count = 2 if node.target in _COMMUTATIVE and not node.kwargs else 1
    return [one for one in node.args[:count] if isinstance(one, Node)]


def _of_one_form(argument: Node, node: Node) -> bool:
    """Says whether an argument has the form of the result, and each of its numbers a place of its own."""
    before, after = argument.meta.get("val"), node.meta.get("val")
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return False
    same = (before.shape, before.dtype, before.stride()) == (after.shape, after.dtype, after.stride())
    return same and before.is_contiguous()
