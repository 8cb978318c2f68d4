"""A function of tensors traced once into a graph of tensor operations, each done once, in memory that is used again."""

import linecache
import logging
import math
import operator
import struct
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node, graph_module
from torch.fx.experimental import proxy_tensor
from torch.fx.node import map_arg


@contextmanager
def _unlogged(name: str) -> Generator[None]:
    """Keeps a library's logger silent."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def unlisted() -> Generator[None]:
    """Takes the sources of graphs that are made meanwhile out of torch's list, which keeps those of gone graphs too.

    A training whose buffers change traces anew at every measurement. Tracebacks lack the lines of such a graph.
    """
    listed: dict[str, str] = getattr(getattr(graph_module, "_loader", None), "eval_cache", {})
    before = set(listed)
    try:
        yield
    finally:
        for name in listed.keys() - before:
            del listed[name]
            linecache.cache.pop(name, None)


@unlisted()
def traced(function: Callable[..., Any], *args: Any) -> GraphModule:
    """Returns the graph of ``function`` for arguments of these shapes: the same bits, without Python and vmap.

    A zero may have the other sign.

    It is traced on fake tensors: numbers and sizes that depend on the input are computed again in every call, and a
    function that branches on them cannot be traced, rather than keep the branch of the first call. Tensors that it
    holds itself become constants of the graph.

    Raises:
        Exception: Whatever tracing meets; many functions cannot be traced, and run as they are.
    """
    make_fx = cast("Callable[..., Callable[..., GraphModule]]", proxy_tensor.make_fx)  # pyright: ignore[reportUnknownMemberType]

    def plain(*args: Any) -> Any:  # fx counts the arguments of what it unwraps, and miscounts bound methods
        return function(*args)

    with _unlogged("torch._subclasses.fake_tensor"):  # what cannot be traced is no error here
        module = make_fx(plain, tracing_mode="fake", _allow_non_fake_inputs=True)(*args)
    calls = [node for node in module.graph.nodes if node.op == "call_function"]
    if any(changes_or_draws(node.target) for node in calls):
        return module
    _expand_late(calls)
    calls = [node for node in module.graph.nodes if node.op == "call_function"]
    _take_no_detours(calls)
    _do_once(calls)
    _take_thin_products(calls)
    module.graph.eliminate_dead_code()
    calls = [node for node in module.graph.nodes if node.op == "call_function"]
    _double_early(calls)
    _negate_late(calls)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


_VIEWS = (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default)  # pyright: ignore[reportPrivateUsage]


@unlisted()
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


def _expand_late(calls: list[Node]) -> None:
    """Takes functions of one expanded tensor of the tensor itself, and expands what they give."""
    moved: set[Node] = set()
    for node in calls:
        if moved.intersection(node.all_input_nodes):  # they lie otherwise in memory, and so may what is made of them
            if node.target in _VIEWS:
                node.target = torch.ops.aten.reshape.default
            before, node.meta["val"] = node.meta["val"], _value(node)
            if not isinstance(before, Tensor) or before.stride() != node.meta["val"].stride():
                moved.add(node)
        source, *others = node.args or (None,)
        if not isinstance(source, Node) or source.target is not torch.ops.aten.expand.default or not _shape(node):
            continue
        if torch.Tag.pointwise not in _tags(node.target) or any(isinstance(other, Node) for other in others):
            continue
        with node.graph.inserting_before(node):
            made = _made(node.graph, node.target, source.args[0], *others, **node.kwargs)
        node.target, node.args, node.kwargs = source.target, (made, list(_shape(node))), {}
        node.meta["val"] = _value(node)
        moved.add(node)


def _value(node: Node) -> Any:
    """Returns what a node makes of the fake tensors of its arguments."""
    args, kwargs = map_arg((node.args, node.kwargs), lambda source: source.meta["val"])
    return cast("Callable[..., Any]", node.target)(*args, **kwargs)


def _take_no_detours(calls: list[Node]) -> None:
    """Leaves out views, expansions and powers that change nothing, and takes views of views of the first of them."""
    for node in calls:
        if node.target is torch.ops.aten.pow.Tensor_Scalar and node.args[1] == 1 and _same_form(node, node.args[0]):
            node.replace_all_uses_with(cast("Node", node.args[0]))
        if node.target not in (*_VIEWS, torch.ops.aten.expand.default):
            continue
        (source, *sizes), shape = node.args, _shape(node)
        if shape and shape == _shape(source):
            node.replace_all_uses_with(cast("Node", source))
        elif node.target in _VIEWS and isinstance(source, Node) and source.target in _VIEWS:
            before = cast("Node", source.args[0])
            if _shape(before) and before.meta["val"].is_contiguous():
                node.args, node.target = (before, *sizes), torch.ops.aten.view.default


_PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.bmm.default)
_THIN = 2
"""Columns up to which a matrix product is taken of the transposed matrices: several times faster on a CPU."""


def _take_thin_products(calls: list[Node]) -> None:
    """Takes products with few columns by rows, and those over an axis of one number by that number."""
    for node in calls:
        if node.target not in _PRODUCTS:
            continue
        left, right = cast("tuple[Node, Node]", node.args)
        if not _shape(left) or not _shape(right):
            continue
        rows, summed, columns = (*_shape(left)[-2:], *_shape(right)[-1:])
        if summed == 1:
            node.target = torch.ops.aten.mul.Tensor
        elif columns <= _THIN < rows:
            with node.graph.inserting_before(node):
                turned = [_made(node.graph, torch.ops.aten.transpose.int, one, -2, -1) for one in (right, left)]
                product = _made(node.graph, node.target, *turned)
            node.target, node.args = torch.ops.aten.transpose.int, (product, -2, -1)
            for user in node.users:  # it lies otherwise in memory
                if user.target in _VIEWS:
                    user.target = torch.ops.aten.reshape.default
        node.meta["val"] = _value(node)


def _double_early(calls: list[Node]) -> None:
    """Doubles the smallest factor of a product in place of the product: the same bits, since it rounds nothing."""
    for node in calls:
        if node.target is not torch.ops.aten.add.Tensor or node.kwargs or node.args[0] is not node.args[1]:
            continue
        product = cast("Node", node.args[0])
        if len(product.users) == 1 and _doubling(product) < math.prod(_shape(product)):
            with node.graph.inserting_before(node):
                node.replace_all_uses_with(_doubled(product))


def _doubling(node: Any) -> float:
    """Returns the numbers that must be doubled to double a node's result."""
    if not _shape(node):
        return math.inf
    if node.target is torch.ops.aten.expand.default:
        return float(math.prod(_shape(node.args[0])))
    if node.target is torch.ops.aten.mul.Tensor and len(node.users) == 1:
        return min(_doubling(factor) for factor in node.args)
    return float(math.prod(_shape(node)))


def _doubled(node: Node) -> Node:
    first, *others = cast("tuple[Any, ...]", node.args)
    if node.target is torch.ops.aten.expand.default:
        return _made(node.graph, node.target, _made(node.graph, torch.ops.aten.add.Tensor, first, first), *others)
    if node.target is torch.ops.aten.mul.Tensor and len(node.users) == 1:
        smaller, other = sorted((first, *others), key=_doubling)
        return _made(node.graph, node.target, _doubled(smaller), other)
    return _made(node.graph, torch.ops.aten.add.Tensor, node, node)


def _negate_late(calls: list[Node]) -> None:
    """Takes the sign of a sum in place of that of what is summed: the same numbers, but for the sign of a zero."""
    for node in calls:
        negation = _negation(node.args[0]) if node.target is torch.ops.aten.sum.dim_IntList else None
        if negation is None:
            continue
        negation.replace_all_uses_with(cast("Node", negation.args[0]))
        with node.graph.inserting_after(node):
            negative = node.graph.call_function(torch.ops.aten.neg.default, (node,))
        negative.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(negative, delete_user_cb=lambda user, own=negative: user is not own)


def _negation(node: Any) -> Node | None:
    """Returns what alone negates a node's result, of which nothing else is made, and that once."""
    value: Any = node.meta.get("val") if isinstance(node, Node) else None
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return None
    if [one for user in node.users for one in user.args].count(node) != 1:  # the square of it has no sign to take
        return None
    if node.target is torch.ops.aten.neg.default:
        return node
    factors = node.args if node.target is torch.ops.aten.mul.Tensor else ()
    return next((found for factor in factors if (found := _negation(factor)) is not None), None)


def _same_form(node: Node, other: Any) -> bool:
    before, after = (one.meta.get("val") if isinstance(one, Node) else None for one in (other, node))
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return False
    return before.dtype == after.dtype and before.stride() == after.stride()


def _made(graph: Graph, target: Any, *args: Any, **kwargs: Any) -> Node:
    node = graph.call_function(target, args, kwargs)
    node.meta["val"] = _value(node)
    return node


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
    return schema is None or schema.is_mutable or any("nondeterministic" in str(tag) for tag in _tags(operation))


def _tags(operation: Any) -> Sequence[Any]:
    return getattr(operation, "tags", ())


_COMMUTATIVE = (torch.ops.aten.add.Tensor, torch.ops.aten.mul.Tensor)
_ALIASING = (torch.ops.aten._unsafe_view.default,)  # pyright: ignore[reportPrivateUsage] - its schema does not say so


@unlisted()
def reusing(module: GraphModule) -> GraphModule:
    """Returns a graph that gives the same bits with less memory and less time; not for gradients.

    The result of an elementwise operation takes the place of an argument where it is the last to need it: fewer
    tensors then go through a CPU's cache. Arguments of the graph are never written to. A graph whose own operations
    write or draw keeps its order of doing so, and every result its place. What a small mask hides is hidden by bits.

    Args:
        module: A graph from :func:`~llc_lightning.runtime.graph.traced`.
    """
    if any(node.op == "call_function" and changes_or_draws(node.target) for node in module.graph.nodes):
        return module
    graph = Graph()
    made: dict[Node, Node] = {}
    for node in module.graph.nodes:
        made[node] = graph.node_copy(node, lambda source: made[source])
    _hide_by_bits(graph)
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
    as_methods(graph)
    return GraphModule(module, graph)


_BITS = {torch.float32: (torch.int32, "f", "i"), torch.float64: (torch.int64, "d", "q")}
"""The integers of the same size, and how :mod:`struct` writes both."""
_BROADCAST = 8
"""Times that a mask is used at least, for which its bits are worth making."""


def _hide_by_bits(graph: Graph) -> None:
    """Fills by bitwise operations where a mask is broadcast: the same bits, several times faster on a CPU."""
    aten, known = torch.ops.aten, dict[object, tuple[Node, Node]]()
    for node in list(graph.nodes):
        if node.target is not aten.masked_fill.Scalar or not _is_hidden_by_bits(node):
            continue
        whole, mask, value = cast("tuple[Node, Node, float]", node.args)
        integer, real, written = _BITS[node.meta["val"].dtype]
        (bits,) = struct.unpack(written, struct.pack(real, value))
        with graph.inserting_before(node):
            if (mask, integer) not in known:  # 0 where it hides, else all bits; and 1 where it hides
                kept = _made(graph, aten.sub.Tensor, _made(graph, aten._to_copy.default, mask, dtype=integer), 1)
                known[mask, integer] = kept, _made(graph, aten._to_copy.default, mask, dtype=integer)
            kept, hidden = known[mask, integer]
            shown = _made(graph, aten.bitwise_and.Tensor, _made(graph, aten.view.dtype, whole, integer), kept)
            if bits:
                shown = _made(graph, aten.bitwise_or.Tensor, shown, _made(graph, aten.mul.Tensor, hidden, bits))
            result = _made(graph, aten.view.dtype, shown, node.meta["val"].dtype)
        node.replace_all_uses_with(result)
        graph.erase_node(node)
    graph.eliminate_dead_code()


def _is_hidden_by_bits(node: Node) -> bool:
    whole, mask, value = node.args
    shape, filled = _shape(whole), node.meta["val"]
    dense = isinstance(whole, Node) and bool(shape) and whole.meta["val"].is_contiguous() and shape == _shape(node)
    small = bool(_shape(mask)) and math.prod(_shape(mask)) * _BROADCAST <= math.prod(shape)
    return dense and small and filled.device.type == "cpu" and filled.dtype in _BITS and isinstance(value, int | float)


_METHODS = frozenset(
    {
        *("view", "_unsafe_view", "reshape", "expand", "transpose", "t", "unsqueeze", "squeeze", "select", "clone"),
        *("add", "sub", "mul", "div", "add_", "sub_", "mul_", "div_", "neg", "exp", "tanh", "sigmoid", "pow", "relu"),
        *("relu_", "tanh_", "sigmoid_", "exp_", "neg_", "pow_", "mm", "bmm", "mean", "sum", "gather", "scatter"),
        "addcmul",
    }
)
"""Operations that are methods of tensors by the same name, with the same arguments."""


def as_methods(graph: Graph) -> None:
    """Takes methods of tensors where there are any: less of Python around each operation."""
    for node in graph.nodes:
        target: Any = node.target
        name = target.overloadpacket.__name__ if isinstance(node.target, OpOverload) else ""
        if name in _METHODS and isinstance(node.args[0], Node):
            node.op, node.target = "call_method", "view" if name == "_unsafe_view" else name


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
    return in_place(cast("OpOverload", node.target)) if node.op == "call_function" else None


@cache
def in_place(operation: Any) -> Any:
    """Returns what does an elementwise operation in the place of its first argument; None where there is none."""
    if torch.Tag.pointwise not in _tags(operation):
        return None
    packet = getattr(torch.ops.aten, f"{operation.overloadpacket.__name__}_", None)
    name: str = operation._overloadname
    return getattr(packet, name, None) or getattr(packet, name.removeprefix("Tensor_"), None)  # as powers are named


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
