"""A function of tensors traced once into a graph of tensor operations, each done once."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, cast

from torch.fx import GraphModule
from torch.fx.experimental import proxy_tensor


def traced(function: Callable[..., Any], *args: Any) -> GraphModule:
    """Returns the graph of ``function`` for arguments of these shapes: the same bits, without Python and vmap.

    It is traced on fake tensors: numbers and sizes that depend on the input are computed again in every call, and a
    function that branches on them cannot be traced, rather than keep the branch of the first call. Tensors that it
    holds itself become constants of the graph.

    Raises:
        Exception: Whatever tracing meets; many functions cannot be traced, and run as they are.
    """
    make_fx = cast("Callable[..., Callable[..., GraphModule]]", proxy_tensor.make_fx)  # pyright: ignore[reportUnknownMemberType]

    def plain(*args: Any) -> Any:  # fx counts the arguments of what it unwraps, and miscounts bound methods
        return function(*args)

    return _each_once(make_fx(plain, tracing_mode="fake", _allow_non_fake_inputs=True)(*args))


def _each_once(module: GraphModule) -> GraphModule:
    """Merges equal operations: the forward pass under two losses of one module is then run once."""
    calls = [node for node in module.graph.nodes if node.op == "call_function"]
    if any(changes_or_draws(node.target) for node in calls):
        return module
    seen: dict[str, Any] = {}
    for node in calls:
        # The text of an argument tells 1 from 1.0 and True, and 0.0 from -0.0; a node prints as its unique name.
        key = f"{node.target} {node.args} {node.kwargs}"
        if key in seen:
            node.replace_all_uses_with(seen[key])
            module.graph.erase_node(node)
        else:
            seen[key] = node
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def changes_or_draws(operation: Any) -> bool:
    """Says whether two equal calls of an operation may not be merged: it writes to its input, or is random."""
    if operation is operator.getitem:  # takes one of several results
        return False
    schema = getattr(operation, "_schema", None)
    tags = [str(tag) for tag in getattr(operation, "tags", ())]
    return schema is None or schema.is_mutable or any("nondeterministic" in tag for tag in tags)
