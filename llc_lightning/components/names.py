"""What the names of hook points say where nobody declares it."""

import re
from dataclasses import dataclass
from functools import cache, lru_cache

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
    located: bool = True
    """Whether it is known which axis the units lie along; else it is the last one, of sequences at most."""


WRAPPED = "._original_component"
"""What a bridge of TransformerLens puts into a second name of each of its parts."""


def known_point(path: str) -> Known:
    """Returns what the name of a TransformerLens hook point says.

    Example:
        >>> known_point("blocks.0.attn.hook_z").unit_axis, known_point("blocks.0.hook_resid_post").whole
        (-2, 'residual')
    """
    return _known_point(path, len(KINDS))


@lru_cache(4096)
def _known_point(path: str, kinds: int) -> Known:
    """Returns what a name says, as long as there are no more kinds than this."""
    for kind, entry in KINDS.items():
        for hook in entry.facts.hooks:
            if _pattern(hook.pattern).search(path):
                facts = entry.facts
                if facts.level != "units":
                    return Known(whole=kind)
                return Known(kind, hook.unit_axis, facts.whole, facts.size, hook.grouped, hook.output, hook.size)
    return Known(located=False)


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(^|\.)({name})$")


def size_of(size: str, module: nn.Module, path: str) -> int | None:
    """Returns the number of that name in the nearest ``cfg`` around a hook point that has it; None where none has."""
    if not size:
        return None
    owners = [module]
    for name in path.split(".")[:-1]:
        owners.append(getattr(owners[-1], name))
    numbers = (getattr(getattr(owner, "cfg", None), size, None) for owner in reversed(owners))
    return next((number for number in numbers if isinstance(number, int)), None)
