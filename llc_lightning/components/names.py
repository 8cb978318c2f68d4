"""What the names of hook points and attention modules say where nobody declares it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from torch import nn


@dataclass(frozen=True)
class Known:
    """What is known about a hook point by its name."""

    unit: str = "unit"
    """The word for one unit."""
    unit_axis: int = -1
    whole: str = "layer"
    """The word for all units together."""
    size: str = ""
    """The name in ``cfg`` of the number of units; '' where there is none."""
    grouped: bool = False
    """Whether a unit is a group of neighbouring features, as a head is where heads stand side by side."""
    output: bool = False
    """Whether this is what the units say to the rest of the network: what words such as ``heads`` mean."""


_HEADS = Known("head", -2, "attention", "n_heads")
_SIDE_BY_SIDE = Known("head", -1, "attention", "n_heads", grouped=True)
_NEURONS = Known("neuron", -1, "layer", "d_mlp")
_NAMES: tuple[tuple[str, Known], ...] = (
    (r"hook_z", replace(_HEADS, output=True)),
    (r"o\.hook_in", replace(_SIDE_BY_SIDE, output=True)),
    (r"hook_post|(fc_out|mlp\.out)\.hook_in", replace(_NEURONS, output=True)),
    (r"hook_(rot_)?[qkv]|hook_result", _HEADS),
    (r"hook_(pattern|attn_scores)", replace(_HEADS, unit_axis=-3)),
    (r"[qkv]\.hook_out", _SIDE_BY_SIDE),
    (r"hook_pre|(fc_in|mlp\.in)\.hook_out", _NEURONS),
    (r"hook_mlp_out|mlp\.hook_out", Known(whole="mlp")),
    (r"hook_attn_out|attn\.hook_out", Known(whole="attention")),
    (r"hook_resid_(pre|mid|post)|blocks\.\d+\.hook_(in|out)", Known(whole="residual")),
    (r"hook_(pos_)?embed|(pos_)?embed\.hook_out", Known(whole="embedding")),
)
"""The names of TransformerLens, in its hooked models and in its bridges."""

WRAPPED = "._original_component"
"""What a bridge of TransformerLens puts into a second name of each of its parts."""

_PROJECTIONS = ("c_proj", "o_proj", "out_proj", "dense")
_HEAD_COUNTS = ("num_heads", "num_attention_heads", "n_heads", "n_head")


def known_point(path: str) -> Known:
    """Returns what the name of a TransformerLens hook point says.

    Example:
        >>> known_point("blocks.0.attn.hook_z").unit_axis, known_point("blocks.0.hook_resid_post").whole
        (-2, 'residual')
    """
    return next((known for name, known in _NAMES if re.search(rf"(^|\.)({name})$", path)), Known())


def size_of(known: Known, module: nn.Module, path: str) -> int | None:
    """Returns the number of units that the nearest ``cfg`` around a hook point tells; None where none tells it."""
    owners = [module]
    for name in path.split(".")[:-1]:
        owners.append(getattr(owners[-1], name))
    sizes = (getattr(getattr(owner, "cfg", None), known.size or "-", None) for owner in reversed(owners))
    return next((size for size in sizes if isinstance(size, int)), None)


def output_axis(part: nn.Module) -> int | None:
    """Returns the axis of a linear map's weight along which its outputs lie; None for any other module.

    A ``Conv1D`` of the library ``transformers`` is a Linear whose weight is [input, output].
    """
    if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return 0
    kind = type(part)
    return 1 if (kind.__module__, kind.__name__) == ("transformers.pytorch_utils", "Conv1D") else None


def projection_of_heads(part: nn.Module) -> tuple[str, int] | None:
    """Returns the child that projects the heads of an attention module and their number; None where it is none.

    This is how the attention modules of the library ``transformers`` look: an ``...Attention`` with a number of
    heads, its own or its configuration's, whose heads stand side by side at the input of a projection.
    """
    if not type(part).__name__.endswith("Attention"):
        return None
    name = next((name for name in _PROJECTIONS if isinstance(getattr(part, name, None), nn.Module)), None)
    owners = (part, getattr(part, "config", None))
    counts = (getattr(owner, count, None) for owner in owners for count in _HEAD_COUNTS)
    number = next((count for count in counts if isinstance(count, int)), None)
    return None if name is None or number is None else (name, number)
