"""Attention modules: where their heads are, which weights make these, and which maps are queries, keys and values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from llc_lightning.components.units import Rows, output_axis, rows_of

_QUERIES = ("q_proj", "query", "q_lin", "to_q", "wq", "W_Q", "q")
_KEYS = ("k_proj", "key", "k_lin", "to_k", "wk", "W_K", "k")
_VALUES = ("v_proj", "value", "v_lin", "to_v", "wv", "W_V", "v")
_ONE_AFTER_THE_OTHER = "c_attn"
_JOINT = (_ONE_AFTER_THE_OTHER, "qkv", "qkv_proj", "query_key_value", "Wqkv")
_PROJECTIONS = ("c_proj", "o_proj", "out_proj", "out_lin", "dense", "proj")
_HEAD_COUNTS = ("num_heads", "num_attention_heads", "n_heads", "n_head")
_KEY_COUNTS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads")


@dataclass(frozen=True)
class Heads:
    """The heads of an attention module, side by side along the last axis of an activation."""

    module: str
    """The path of the submodule, relative to the attention module, whose input or output they are; '' for its own."""
    at_input: bool
    number: int
    size: int
    """Features of one head."""
    rows: tuple[Rows, ...] = ()
    """What makes one, by names relative to the attention module; nothing where that is not known."""


@dataclass(frozen=True)
class Reads:
    """The linear maps of an attention module that give queries, keys and values: one each, or one for all."""

    queries: str = ""
    keys: str = ""
    values: str = ""
    joint: str = ""

    @classmethod
    def of(cls, part: nn.Module) -> Reads:
        """Returns them by the names that a module's children have; none where they have others."""
        linear = [name for name, child in part.named_children() if output_axis(child) is not None]
        three = [next((name for name in names if name in linear), "") for names in (_QUERIES, _KEYS, _VALUES)]
        return cls(*three) if all(three) else cls(joint=next((name for name in _JOINT if name in linear), ""))

    @property
    def keys_values(self) -> tuple[str, str]:
        """The maps of which there may be fewer heads."""
        return self.keys, self.values

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of the units of each map, by its name."""
        by_kind = {"query": self.queries, "key": self.keys, "value": self.values, "qkv": self.joint}
        return {name: kind for kind, name in by_kind.items() if name}


def heads_of(part: nn.Module) -> Heads | None:
    """Returns the heads of an attention module; None where it is none, or nothing tells their number.

    These are torch's own, and those of the library ``transformers``: an ``...Attention`` with a number of heads, its
    own or its configuration's, whose heads stand side by side at the input of a projection or at its output.
    """
    if isinstance(part, nn.MultiheadAttention):
        known: Any = part  # its attributes have no types
        return Heads("out_proj", True, known.num_heads, known.head_dim, _rows_of_torch(known))
    number = _count(part, _HEAD_COUNTS)
    if number is None or not type(part).__name__.endswith("Attention"):
        return None
    name = next((name for name in _PROJECTIONS if output_axis(getattr(part, name, nn.Identity())) is not None), None)
    reads = Reads.of(part)
    if name is None:
        width = _outputs(getattr(part, reads.values)) if reads.values else 0
        return Heads("", False, number, width // number, _rows(part, reads, number)) if width else None
    projection: nn.Module = getattr(part, name)
    axis = 1 - (output_axis(projection) or 0)
    width = projection.get_parameter("weight").shape[axis] if "weight" in dict(projection.named_parameters()) else 0
    if not width or width % number:
        return None
    written, rows = Rows(f"{name}.weight", axis, group=width // number, reads=True), _rows(part, reads, number)
    return Heads(name, True, number, width // number, (*rows, written) if rows else ())


def roles(parts: Mapping[str, nn.Module], uncalled: Collection[str] = ()) -> dict[str, str]:
    """Returns the linear maps among submodules that are not hidden layers, by path, with the kind of their units.

    Queries, keys and values are told by the names that an attention module's children have; what else is linear in it
    projects its heads. Around it, the last linear map of a block projects its MLP, and the last of the module gives its
    outputs.

    Args:
        parts: The submodules by path, in the order of registration.
        uncalled: Those that are known not to be called, such as a critic beside the net.
    """
    named = {path: part for path, part in parts.items() if path and path not in uncalled}
    linear = [path for path, part in named.items() if output_axis(part) is not None]
    dense = [path for path in linear if _is_dense(parts[path])]
    within: dict[str, str] = {}
    for path, part in parts.items():
        kinds = Reads.of(part).kinds
        if kinds or isinstance(part, nn.MultiheadAttention):
            within |= {_join(path, name): kind for name, kind in kinds.items()}
            within |= {one: "projection" for one in _below(dense, _whole(parts, path)) if one not in within}
    attention = set(within)
    for path in attention:
        block = _block(path, dense, attention)
        around = [one for one in _below(dense, block) if one not in attention]
        within |= {one: "projection" for one in around[-1:]}
    last = linear[-1] if linear else ""
    if last in dense and last not in attention:
        within[last] = "output"
    return within


def _whole(parts: Mapping[str, nn.Module], path: str) -> str:
    """Returns the path of the attention around what holds queries, keys and values, as BERT's projection is outside."""
    above = path.rpartition(".")[0]
    around = type(parts.get(above)).__name__ if above else ""
    return above if around.endswith("Attention") else path


def _block(path: str, dense: list[str], attention: set[str]) -> str:
    """Returns the smallest module around a map of attention that has other linear maps; '' for the whole."""
    while path:
        path = path.rpartition(".")[0]
        if any(one not in attention for one in _below(dense, path)):
            return path
    return ""


def _below(paths: list[str], above: str) -> list[str]:
    return [path for path in paths if not above or path.startswith(f"{above}.")]


def _is_dense(part: nn.Module) -> bool:
    return isinstance(part, nn.Linear) or type(part).__name__ == "Conv1D"


def _count(part: nn.Module, names: tuple[str, ...]) -> int | None:
    owners = (part, getattr(part, "config", None))
    counts = (getattr(owner, count, None) for owner in owners for count in names)
    return next((count for count in counts if isinstance(count, int)), None)


def _outputs(part: nn.Module) -> int:
    return part.get_parameter("weight").shape[output_axis(part) or 0]


def _rows_of_torch(part: Any) -> tuple[Rows, ...]:
    size = part.head_dim
    out = rows_of(part.out_proj, ("weight", 1), group=size)
    joint = part.in_proj_weight is not None
    names = ("in_proj_weight",) if joint else ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    made = rows_of(part, *((name, 0) for name in names), blocks=3 if joint else 1, group=size)
    biases = rows_of(part, ("in_proj_bias", 0), blocks=3, group=size)
    return (*made, *biases, *(replace(_below_of("out_proj", one), reads=True) for one in out)) if made and out else ()


def _rows(part: nn.Module, reads: Reads, heads: int) -> tuple[Rows, ...]:
    """Returns a head's entries of the maps that give queries, keys and values; fewer heads of keys are shared."""
    shared = heads // (_count(part, _KEY_COUNTS) or heads)
    if reads.queries:
        found = [_of_map(part, reads.queries, heads), *(_of_map(part, one, heads, shared) for one in reads.keys_values)]
    else:  # others lay the three out in ways of their own
        found = [_of_map(part, reads.joint, heads, blocks=3)] if reads.joint == _ONE_AFTER_THE_OTHER else []
    return tuple(one for rows in found for one in rows) if all(found) else ()


def _of_map(part: nn.Module, name: str, heads: int, shared: int = 1, blocks: int = 1) -> tuple[Rows, ...]:
    """Returns a head's entries of one map; none where its weight is computed."""
    child: nn.Module = getattr(part, name)
    if "weight" not in dict(child.named_parameters(recurse=False)):
        return ()
    size = _outputs(child) * shared // (heads * blocks)
    own = rows_of(child, ("weight", output_axis(child) or 0), ("bias", 0))
    return tuple(Rows(f"{name}.{one.parameter}", one.axis, blocks, size, shared) for one in own)


def _below_of(name: str, rows: Rows) -> Rows:
    return replace(rows, parameter=f"{name}.{rows.parameter}")


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
