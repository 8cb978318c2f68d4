"""A component with what is known about measuring it."""

from dataclasses import dataclass

from llc_lightning.components.component import Component


@dataclass(frozen=True)
class Found:
    """A component, and what is known about measuring it."""

    component: Component
    shape: tuple[int, ...] | None
    """Of one example's activation; None where it has none, or no examples were given."""
    weights: int
    """The number of its weights."""
    calls: int | None
    """How often the loss calls it; None where no examples were given, or it has no activation."""
    no_ablation: str
    """Why its activation cannot be ablated; '' where it can, as far as is known."""
    no_llc: str
    """Why it has no restricted LLC; '' where it has one."""
