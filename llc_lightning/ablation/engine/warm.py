"""Constants that were fitted at an earlier snapshot, to start from at the next."""

from collections.abc import Sequence

from torch import Tensor

from llc_lightning.ablation.engine.effect import Effect


def warm_start(effects: Sequence[Effect]) -> dict[str, tuple[Tensor, ...]]:
    """Returns the constants of fitted methods among effects, for ``sweep(warm=...)`` at the next snapshot."""
    return {warm_key(one.component, one.method, one.loss): one.constants for one in effects if one.constants}


def warm_key(component: str, method: str, loss: str) -> str:
    """Returns the name of a constant in ``sweep(warm=...)``."""
    return f"{component} {method} {loss}"
