"""Transformers in a ``TransformerBridge`` of TransformerLens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from llc_lightning.circuits.side_by_side import head_at, map_from, map_to
from llc_lightning.circuits.wiring.base import FAMILIES, GraphOptions, Order, Reader, Sender, Wiring
from llc_lightning.components.component import Component
from llc_lightning.components.hooks import submodules
from llc_lightning.components.names import WRAPPED, size_of
from llc_lightning.runtime.errors import AddressError

_BLOCK = re.compile(r"(?P<path>(?P<net>(?:.*\.)?)blocks\.\d+)\.attn\.o\.hook_in")


@FAMILIES.register("bridge", summary="a TransformerBridge of TransformerLens, with maps of their own for q, k and v")
def bridge(module: nn.Module, options: GraphOptions) -> Wiring | None:
    """Returns who writes to the residual stream of a bridge, and who reads it, under the names of TransformerLens.

    They are those of :func:`~llc_lightning.circuits.wiring.hooked_transformer.hooked_transformer`, so that an edge has
    the same text in a bridge as in a net of the zoo. An MLP of other parts than two maps is read at ``mlp.hook_in``.

    Raises:
        AddressError: If a block has no attention, or no norm before its MLP, or an attention, or an MLP that is to be
            taken apart, is of another make.
    """
    parts = submodules(module)
    blocks = [found for path in parts if (found := _BLOCK.fullmatch(path))]
    if not blocks:
        return None
    net, order = blocks[0]["net"], Order()
    layers = [found["path"] for found in blocks if found["net"] == net]
    _check_blocks(parts, net, layers)
    order.writes(*_embeddings(parts, net, joined=options.joined))
    for path in layers:
        _attention(order, module, parts, path)
        if f"{path}.mlp" in parts:
            (_neurons if options.neurons else _mlp)(order, parts, path)
    last = f"{layers[-1]}.hook_out"
    order.reads(Reader(Component(f"{layers[-1]}.hook_resid_post", "residual", last), last))
    added = [
        tuple(f"{path}.{part}.hook_out" for part in ("attn", "mlp") if f"{path}.{part}" in parts) for path in layers
    ]
    smooth = {f"{path}.mlp.out.hook_in": f"{path}.mlp.in.hook_out" for path in layers if f"{path}.mlp.in" in parts}
    return Wiring(order.senders, order.readers, tuple(order.edges), tuple(added), smooth, whole=True)


def _check_blocks(parts: Mapping[str, nn.Module], net: str, layers: Sequence[str]) -> None:
    """Checks that all blocks are known, each with the norm that its MLP reads."""
    every = [path for path in parts if re.fullmatch(rf"{re.escape(net)}blocks\.\d+", path)]
    for path in every:
        if path not in layers:
            raise AddressError(
                f"{path!r} has no attention, so that its edges are not known; ablate components instead."
            )
        if f"{path}.mlp" in parts and f"{path}.ln2.hook_in" not in parts:
            raise AddressError(
                f"{path!r} has no 'ln2' before its MLP, so that it is not known what this reads; take the module that "
                "the bridge wraps."
            )


def _embeddings(parts: Mapping[str, nn.Module], net: str, *, joined: bool) -> list[Sender]:
    """Returns the embeddings of tokens and positions, apart or as one."""
    names = [name for name in ("embed", "pos_embed") if f"{net}{name}.hook_out" in parts]
    single = [Component(f"{net}hook_{name}", "residual", f"{net}{name}.hook_out") for name in names]
    if joined and len(single) > 1:
        address = "+".join(one.address for one in single)
        single = [Component(address, "set", single[0].point, parts=tuple(single))]
    return [Sender(one, (None,) * len(one.members)) for one in single]


def _attention(order: Order, module: nn.Module, parts: Mapping[str, nn.Module], path: str) -> None:
    """Adds what the heads of a block read and write."""
    attn = f"{path}.attn"
    size, maps = size_of("d_head", module, f"{attn}.o"), _maps(parts, attn, "qkvo")
    if size is None or maps is None or f"{attn}.qkv" in parts:
        raise AddressError(
            f"{attn!r} has no linear map each for queries, keys, values and heads, so that its edges are not known; "
            "take the module that the bridge wraps."
        )
    outputs = [f"{attn}.hook_z[{head}]" for head in range(maps["o"].in_features // size)]
    for kind in "qkv":
        reads = map_to(f"{attn}.{kind}{WRAPPED}", maps[kind], size)
        number = maps[kind].out_features // size
        for head in range(number):
            unit = head_at(f"{attn}.hook_{kind}[{head}]", f"{attn}.{kind}.hook_out", head, size)
            feeds = outputs[head] if number == len(outputs) else ""  # several heads may share a key and value
            order.reads(Reader(unit, f"{path}.hook_in", _norm(parts, f"{path}.ln1"), reads, head, feeds=feeds))
    writes = map_from(f"{attn}.o{WRAPPED}", size)
    for head, address in enumerate(outputs):
        order.writes(Sender(head_at(address, f"{attn}.o.hook_in", head, size), (writes,), head))


def _mlp(order: Order, parts: Mapping[str, nn.Module], path: str) -> None:
    """Adds what an MLP reads and writes as a whole."""
    mlp, stream, norm = f"{path}.mlp", f"{path}.ln2.hook_in", _norm(parts, f"{path}.ln2")
    said = Component(f"{path}.hook_mlp_out", "layer", f"{mlp}.hook_out")
    maps = _plain(parts, mlp)
    if maps is None:
        order.reads(Reader(Component(f"{mlp}.hook_in", "layer", f"{mlp}.hook_in"), stream, norm, feeds=said.address))
    else:
        reads = map_to(f"{mlp}.in{WRAPPED}", maps["in"], maps["in"].out_features)
        heard = Component(f"{mlp}.hook_pre", "layer", f"{mlp}.in.hook_out")
        order.reads(Reader(heard, stream, norm, reads, feeds=said.address))
    order.writes(Sender(said, (None,)))


def _neurons(order: Order, parts: Mapping[str, nn.Module], path: str) -> None:
    """Adds what the neurons of an MLP read and write."""
    mlp = f"{path}.mlp"
    maps = _plain(parts, mlp)
    if maps is None:
        raise AddressError(f"{mlp!r} is not two linear maps, so that its neurons have no edges; take MLPs as a whole.")
    reads = map_to(f"{mlp}.in{WRAPPED}", maps["in"], 1)
    writes, neurons = map_from(f"{mlp}.out{WRAPPED}", 1), range(maps["out"].in_features)
    for one in neurons:
        heard = Component(f"{mlp}.hook_pre[{one}]", "neuron", f"{mlp}.in.hook_out", (one,))
        norm = _norm(parts, f"{path}.ln2")
        order.reads(Reader(heard, f"{path}.ln2.hook_in", norm, reads, one, feeds=f"{mlp}.hook_post[{one}]"))
    said = (Component(f"{mlp}.hook_post[{one}]", "neuron", f"{mlp}.out.hook_in", (one,)) for one in neurons)
    order.writes(*(Sender(unit, (writes,), one) for one, unit in enumerate(said)))


def _plain(parts: Mapping[str, nn.Module], mlp: str) -> dict[str, nn.Linear] | None:
    """Returns the two linear maps of an MLP; None where it has others, such as a gate."""
    return None if f"{mlp}.gate" in parts else _maps(parts, mlp, ("in", "out"))


def _maps(parts: Mapping[str, nn.Module], owner: str, names: Iterable[str]) -> dict[str, nn.Linear] | None:
    """Returns the linear maps that some parts of a bridge wrap; None where one wraps something else."""
    found = {name: parts.get(f"{owner}.{name}{WRAPPED}") for name in names}
    maps = {name: part for name, part in found.items() if isinstance(part, nn.Linear)}
    return maps if len(maps) == len(found) else None


def _norm(parts: Mapping[str, nn.Module], path: str) -> str:
    return path if path in parts else ""
