"""Transformers whose hook points and weights have the names of TransformerLens."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import Tensor, nn

from llc_lightning.circuits.wiring.base import FAMILIES, GraphOptions, Head, Order, Reader, Sender, UnitMap, Wiring
from llc_lightning.components.component import Component
from llc_lightning.components.hooks import submodules

_BLOCK = re.compile(r"(?P<net>(?:.*\.)?)blocks\.(?P<layer>\d+)\.attn\.hook_q")


@FAMILIES.register("hooked_transformer", summary="decoder-only transformers with the names of TransformerLens")
def hooked_transformer(module: nn.Module, options: GraphOptions) -> Wiring | None:
    """Returns who writes to the residual stream of a transformer, and who reads it, in the order of the forward pass.

    Senders are the embeddings of tokens and positions, heads and MLPs (or their neurons); readers the queries, keys
    and values of heads, MLPs (or their neurons), and the output: the residual stream behind the last block.
    """
    parts = submodules(module)
    blocks = [found for path in parts if (found := _BLOCK.fullmatch(path)) and f"{path[:-6]}W_O" in _names(module)]
    if not blocks:
        return None
    net = blocks[0]["net"]
    layers = [f"{net}blocks.{i}" for i in range(len(blocks))]
    order = Order()
    _embeddings(order, parts, net, joined=options.joined)
    for path in layers:
        _block(order, module, parts, path, neurons=options.neurons)
    order.reads(Reader(Component(f"{layers[-1]}.hook_resid_post", "residual", f"{layers[-1]}.hook_resid_post"),
                       f"{layers[-1]}.hook_resid_post"))  # fmt: skip
    added = [
        tuple(point for point in (f"{path}.hook_attn_out", f"{path}.hook_mlp_out") if point in parts) for path in layers
    ]
    smooth = {f"{path}.mlp.hook_post": f"{path}.mlp.hook_pre" for path in layers if f"{path}.mlp.hook_pre" in parts}
    return Wiring(order.senders, order.readers, tuple(order.edges), tuple(added), smooth, whole=True)


def _names(module: nn.Module) -> set[str]:
    return {name for name, _ in module.named_parameters(remove_duplicate=False)}


def _embeddings(order: Order, parts: dict[str, nn.Module], net: str, *, joined: bool) -> None:
    """Adds the embeddings of tokens and positions, apart or as one."""
    points = [point for point in (f"{net}hook_embed", f"{net}hook_pos_embed") if point in parts]
    single = [Component(point, "residual", point) for point in points]
    if joined and len(single) > 1:
        single = [Component("+".join(points), "set", points[0], parts=tuple(single))]
    order.writes(*(Sender(one, (None,) * len(one.members)) for one in single))


def _block(order: Order, module: nn.Module, parts: dict[str, nn.Module], path: str, *, neurons: bool) -> None:
    """Adds what a block reads and writes."""
    attn = f"{path}.attn"
    heads = range(len(module.get_parameter(f"{attn}.W_O")))
    outputs = [unit for _, unit in _each(f"{attn}.hook_z", "head", heads, axis=-2)]
    points = (f"{attn}.hook_q", f"{attn}.hook_k", f"{attn}.hook_v")
    for kind in "QKV":
        reads = UnitMap(f"{attn}.W_{kind}", _same, f"{attn}.b_{kind}", _same)
        for at, unit in _each(f"{attn}.hook_{kind.lower()}", "head", heads, axis=-2):
            decides = attn if kind in "QK" else ""
            head = None if f"{attn}.hook_rot_q" in parts else Head(outputs[at], points, at, "QKV".index(kind))
            norm, feeds = _norm(parts, f"{path}.ln1"), outputs[at].address
            order.reads(Reader(unit, f"{path}.hook_resid_pre", norm, reads, at, decides, feeds, head))
    writes = UnitMap(f"{attn}.W_O", _same)
    order.writes(*(Sender(unit, (writes,), at) for at, unit in _each(f"{attn}.hook_z", "head", heads, axis=-2)))
    if f"{path}.mlp.hook_pre" in parts:
        _mlp(order, module, parts, path, neurons=neurons)


def _mlp(order: Order, module: nn.Module, parts: dict[str, nn.Module], path: str, *, neurons: bool) -> None:
    """Adds what an MLP reads and writes, as a whole or neuron by neuron."""
    mlp, stream, norm = f"{path}.mlp", f"{path}.hook_resid_mid", _norm(parts, f"{path}.ln2")
    if not neurons:
        reads = UnitMap(f"{mlp}.W_in", _whole, f"{mlp}.b_in", _whole)
        point = f"{path}.hook_mlp_out"
        pre = Component(f"{mlp}.hook_pre", "layer", f"{mlp}.hook_pre")
        order.reads(Reader(pre, stream, norm, reads, feeds=point))
        order.writes(Sender(Component(point, "layer", point), (None,)))
        return
    count = range(len(module.get_parameter(f"{mlp}.W_out")))
    reads = UnitMap(f"{mlp}.W_in", _columns, f"{mlp}.b_in", _numbers)
    for at, unit in _each(f"{mlp}.hook_pre", "neuron", count, axis=-1):
        order.reads(Reader(unit, stream, norm, reads, at, feeds=f"{mlp}.hook_post[{at}]"))
    writes = UnitMap(f"{mlp}.W_out", _rows)
    order.writes(*(Sender(unit, (writes,), at) for at, unit in _each(f"{mlp}.hook_post", "neuron", count, axis=-1)))


def _each(point: str, kind: str, units: range, *, axis: int) -> Iterator[tuple[int, Component]]:
    """Yields every unit of a hook point, with its number."""
    for unit in units:
        yield unit, Component(f"{point}[{unit}]", kind, point, (unit,), axis)


def _norm(parts: dict[str, nn.Module], path: str) -> str:
    return "" if isinstance(parts.get(path, nn.Identity()), nn.Identity) else path


def _same(weight: Tensor) -> Tensor:
    return weight


def _whole(weight: Tensor) -> Tensor:
    return weight[None]


def _columns(weight: Tensor) -> Tensor:
    return weight.T[:, :, None]


def _rows(weight: Tensor) -> Tensor:
    return weight[:, None]


def _numbers(bias: Tensor) -> Tensor:
    return bias[:, None]
