"""A traced graph in two: what depends on the first arguments alone, and what is computed anew for the others."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._pytree import tree_flatten, tree_unflatten

from llc_lightning.runtime.graph import changes_or_draws, reusing, traced, unlisted


class SplitGraph:
    """A function of fixed and varying arguments, traced once; the same bits as the function itself.

    Args:
        function: Of two trees of tensors: the fixed and the varying arguments; returns a tuple of tensors.
        fixed: An example of the first.
        varying: An example of the second.

    Raises:
        Exception: Whatever tracing meets; many functions cannot be traced, and run as they are.
    """

    def __init__(self, function: Callable[[Any, Any], tuple[Tensor, ...]], fixed: Any, varying: Any) -> None:
        head, fixed_spec = tree_flatten(fixed)
        tail, varying_spec = tree_flatten(varying)

        def flat(*leaves: Tensor) -> tuple[Tensor, ...]:
            return function(
                tree_unflatten(leaves[: len(head)], fixed_spec), tree_unflatten(leaves[len(head) :], varying_spec)
            )

        self._first, self._second = _split(traced(flat, *head, *tail), len(head))
        self._reusing_first, self._reusing = reusing(self._first), reusing(self._second)

    def prepare(self, fixed: Any) -> tuple[Tensor, ...]:
        """Returns what the varying part needs to know of the fixed arguments."""
        graph = self._first if torch.is_grad_enabled() else self._reusing_first
        return tuple(graph.forward(*tree_flatten(fixed)[0]))

    def __call__(self, prepared: tuple[Tensor, ...], varying: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns what the function returns.

        Args:
            prepared: What ``prepare`` made of the fixed arguments.
            varying: The tensors of the other arguments, in their order.
        """
        graph = self._second if torch.is_grad_enabled() else self._reusing
        return tuple(graph.forward(*prepared, *varying))


@unlisted()
def _split(module: GraphModule, n_fixed: int) -> tuple[GraphModule, GraphModule]:
    nodes = list(module.graph.nodes)
    if any(node.op == "call_function" and changes_or_draws(node.target) for node in nodes):
        raise ValueError("the function writes to its tensors or is random, so that its parts cannot be kept apart")
    inputs = [node for node in nodes if node.op == "placeholder"]
    varying = set(inputs[n_fixed:])
    for node in nodes:
        if node.op == "output" or any(source in varying for source in node.all_input_nodes):
            varying.add(node)
    fixed = [node for node in nodes if node not in varying and node.op != "get_attr"]
    cut = [node for node in fixed if any(user in varying for user in node.users)]
    first, second = Graph(), Graph()
    made: dict[Node, Node] = {}
    for node in nodes:
        if node not in varying:
            made[node] = first.node_copy(node, lambda source: made[source])
    first.output(tuple(made[node] for node in cut))
    again: dict[Node, Node] = {node: second.placeholder(f"prepared_{i}") for i, node in enumerate(cut)}
    for node, placeholder in again.items():
        placeholder.meta = dict(node.meta)
    for node in nodes:
        if node in varying or (node.op == "get_attr" and any(user in varying for user in node.users)):
            again[node] = second.node_copy(node, lambda source: again[source])
    for graph in (first, second):
        graph.eliminate_dead_code()
    return GraphModule(module, first), GraphModule(module, second)
