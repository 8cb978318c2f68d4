"""What the names of hook points and attention modules say where nobody declares it."""

import re
from dataclasses import dataclass
from functools import cache

from torch import nn

from llc_lightning.runtime.kinds import KINDS


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
    own_size: str = ""
    """The name in ``cfg`` of their number here, where a net has another number of them than of the kind."""


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
    for kind, entry in KINDS.items():
        for hook in entry.facts.hooks:
            if _pattern(hook.pattern).search(path):
                facts = entry.facts
                if facts.level != "units":
                    return Known(whole=kind)
                return Known(kind, hook.unit_axis, facts.whole, facts.size, hook.grouped, hook.output, hook.size)
    return Known()


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(^|\.)({name})$")


def size_of(size: str, module: nn.Module, path: str) -> int | None:
    """Returns the number of that name in the nearest ``cfg`` around a hook point that has it; None where none has."""
    owners = [module]
    for name in path.split(".")[:-1]:
        owners.append(getattr(owners[-1], name))
    numbers = (getattr(getattr(owner, "cfg", None), size or "-", None) for owner in reversed(owners))
    return next((number for number in numbers if isinstance(number, int)), None)


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
