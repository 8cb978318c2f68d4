"""A function of tensors traced once into a graph of tensor operations, each done once."""

import operator
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
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

    module = make_fx(plain, tracing_mode="fake", _allow_non_fake_inputs=True)(*args)
    calls = [node for node in module.graph.nodes if node.op == "call_function"]
    if any(changes_or_draws(node.target) for node in calls):
        return module
    _take_no_detours(calls)
    _do_once(calls)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


_VIEWS = (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default)  # pyright: ignore[reportPrivateUsage]


def first_result(module: GraphModule) -> GraphModule:
    """Returns the graph of the first of a graph's results alone, without what only the others need."""
    graph = Graph()
    made: dict[Node, Node] = {}
    (result, *_), *_ = next(node for node in module.graph.nodes if node.op == "output").args
    for node in module.graph.nodes:
        if node.op != "output":
            made[node] = graph.node_copy(node, lambda source: made[source])
    graph.output((made[result],))
    graph.eliminate_dead_code()
    return GraphModule(module, graph)


def _take_no_detours(calls: list[Node]) -> None:
    """Leaves out views and expansions that change nothing, and takes views of views of the first of them."""
    for node in calls:
        if node.target not in (*_VIEWS, torch.ops.aten.expand.default):
            continue
        (source, *sizes), shape = node.args, _shape(node)
        if shape and shape == _shape(source):
            node.replace_all_uses_with(cast("Node", source))
        elif node.target in _VIEWS and isinstance(source, Node) and source.target in _VIEWS:
            before = cast("Node", source.args[0])
            if _shape(before) and before.meta["val"].is_contiguous():
                node.args, node.target = (before, *sizes), torch.ops.aten.view.default


def _shape(node: Any) -> tuple[int, ...]:
    """Returns the shape of a node's result; () where it is not one tensor of a shape that no number decides."""
    value: Any = node.meta.get("val") if isinstance(node, Node) else None
    if not isinstance(value, Tensor) or any(isinstance(size, torch.SymInt) for size in value.shape):
        return ()
    return tuple(value.shape)


def _do_once(calls: list[Node]) -> None:
    """Merges equal operations: the forward pass under two losses of one module is then run once."""
    seen: dict[str, Any] = {}
    for node in calls:
        # The text of an argument tells 1 from 1.0 and True, and 0.0 from -0.0; a node prints as its unique name.
        key = f"{node.target} {node.args} {node.kwargs}"
        if key in seen:
            node.replace_all_uses_with(seen[key])
        else:
            seen[key] = node


def changes_or_draws(operation: Any) -> bool:
    """Says whether two equal calls of an operation may not be merged: it writes to its input, or is random."""
    if operation is operator.getitem:  # takes one of several results
        return False
    schema = getattr(operation, "_schema", None)
    tags = [str(tag) for tag in getattr(operation, "tags", ())]
    return schema is None or schema.is_mutable or any("nondeterministic" in tag for tag in tags)
