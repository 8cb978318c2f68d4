"""Transformers of the library ``transformers`` that are built like GPT-2 or like Llama."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from llc_lightning.circuits.side_by_side import head_at, map_from, map_to
from llc_lightning.circuits.wiring.base import FAMILIES, GraphOptions, Order, Reader, Sender, Wiring
from llc_lightning.components.attention import heads_of
from llc_lightning.components.component import Component
from llc_lightning.components.hooks import INPUT, submodules
from llc_lightning.runtime.errors import AddressError

_MOST = 64
"""Features of a head at most: more are no few units for the engine."""


@dataclass(frozen=True)
class _Names:
    """What the parts of a decoder are called."""

    embedding: str
    layers: str
    norm: str
    attention: str
    projection: str
    norms: tuple[str, str]
    joint: str = ""
    """The map that gives queries, keys and values beside each other; '' where each has its own."""


_GPT2 = _Names("drop", "h", "ln_f", "attn", "c_proj", ("ln_1", "ln_2"), "c_attn")
_LLAMA = _Names(
    "embed_tokens", "layers", "norm", "self_attn", "o_proj", ("input_layernorm", "post_attention_layernorm")
)


@FAMILIES.register(
    "library_transformer", summary="GPT-2 and models built like Llama of the library transformers, heads and MLPs"
)
def library_transformer(module: nn.Module, options: GraphOptions) -> Wiring | None:
    """Returns who writes to the residual stream, and who reads it.

    Embeddings are one sender; a head's query, key or value is the reader ``...q_proj[2]``, of GPT-2 ``...c_attn:q[2]``,
    its output the sender ``...o_proj:input[2]``; an MLP reads its input and writes its output as a whole.
    """
    parts = submodules(module)
    for names in (_GPT2, _LLAMA):
        roots = [path for path, part in parts.items() if _is_decoder(part, names)]
        if roots:
            return _wiring(module, parts, roots[0], names)
    return None


def _is_decoder(part: nn.Module, names: _Names) -> bool:
    children = dict(part.named_children())
    blocks = children.get(names.layers)
    if not {names.embedding, names.norm} <= children.keys() or not isinstance(blocks, nn.ModuleList) or not len(blocks):
        return False
    return {names.attention, "mlp", *names.norms} <= dict(blocks[0].named_children()).keys()


def _wiring(module: nn.Module, parts: dict[str, nn.Module], root: str, names: _Names) -> Wiring:
    before, order = f"{root}." if root else "", Order()
    embedding = f"{before}{names.embedding}"
    order.writes(Sender(Component(embedding, "residual", embedding), (None,)))
    added: list[tuple[str, ...]] = []
    for layer in range(len(list(module.get_submodule(f"{before}{names.layers}").children()))):
        block = f"{before}{names.layers}.{layer}"
        _attention(order, module, parts, block, names)
        mlp = f"{block}.mlp"
        norm = f"{block}.{names.norms[1]}"
        order.reads(Reader(Component(f"{mlp}{INPUT}", "layer", f"{mlp}{INPUT}"), f"{norm}{INPUT}", norm, feeds=mlp))
        order.writes(Sender(Component(mlp, "mlp", mlp), (None,)))
        added.append((f"{block}.{names.attention}.{names.projection}", mlp))
    last = f"{before}{names.norm}{INPUT}"
    order.reads(Reader(Component(last, "residual", last), last))
    return Wiring(order.senders, order.readers, tuple(order.edges), tuple(added), whole=True)


def _attention(order: Order, module: nn.Module, parts: dict[str, nn.Module], block: str, names: _Names) -> None:
    """Adds what the heads of a block read and write."""
    attn, norm = f"{block}.{names.attention}", f"{block}.{names.norms[0]}"
    heads = heads_of(parts[attn])
    if heads is None or heads.size > _MOST:
        raise AddressError(
            f"the heads of {attn!r} have {'unknown' if heads is None else heads.size} features, and edges are known of "
            f"heads of up to {_MOST}; ablate components instead."
        )
    for at, kind in enumerate("qkv"):
        path = f"{attn}.{names.joint or f'{kind}_proj'}"
        number = heads.number if names.joint else _outputs(module, path) // heads.size
        first = at * number if names.joint else 0
        reads = map_to(path, parts[path], heads.size, transposed=bool(names.joint))
        name = f"{path}:{kind}" if names.joint else path
        for head in range(number):
            unit = head_at(f"{name}[{head}]", path, first + head, heads.size)
            order.reads(Reader(unit, f"{norm}{INPUT}", norm, reads, first + head))
    path = f"{attn}.{names.projection}"
    writes, point = map_from(path, heads.size, transposed=bool(names.joint)), f"{path}{INPUT}"
    for one in range(heads.number):
        order.writes(Sender(head_at(f"{point}[{one}]", point, one, heads.size), (writes,), one))


def _outputs(module: nn.Module, path: str) -> int:
    return module.get_parameter(f"{path}.weight").shape[0]
