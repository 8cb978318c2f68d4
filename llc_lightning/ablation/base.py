"""What an ablation method is: a rule that makes replacement values out of a hook point's activations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.registry import Entry, Registry


@dataclass(frozen=True)
class Method(ABC):
    """A way to ablate: ``h <- where(mask, value, h)``, with the value from here and the mask from the component.

    A method makes values for all units of a hook point at once, and the components of the point share them. It enters
    itself in :data:`METHODS` with the metadata ``constant`` (one value for all examples: a point in weight
    space where the activation feeds a linear map) and ``needs_reference`` (it looks at the activations).
    """

    draws: int = field(default=1, init=False)
    """Number of replacement values per example; an effect is averaged over them."""

    @abstractmethod
    def values(
        self, reference: Float[Tensor, "example *unit"], blocks: Sequence[Int[Tensor, "row"]], *, seed: int
    ) -> Iterator[Float[Tensor, "draw row_or_1 *unit"]]:
        """Yields the replacement values of one block of examples after the other.

        Args:
            reference: The activations at the hook point on all examples; on the first one alone for a method that
                does not need them.
            blocks: The examples of every block, by their index.
            seed: The run's seed; random numbers come from ``seeding.generator(seed, kind, draw)`` alone.
        """
        ...

    @property
    def name(self) -> str:
        """The name that the method is registered under."""
        return entry_of(self).name

    def __post_init__(self) -> None:
        """Checks the number of draws."""
        if self.draws < 1:
            raise SettingError(f"draws is {self.draws}; an ablation method needs at least 1 draw.")


METHODS: Registry[type[Method]] = Registry("ablation method")
"""All ablation methods by name."""


def entry_of(method: Method) -> Entry[type[Method]]:
    """Returns a method's entry in the registry.

    Raises:
        SettingError: If its class is not registered.
    """
    for _, entry in METHODS.items():
        if entry.item is type(method):
            return entry
    kind = type(method).__name__
    raise SettingError(f"the ablation method {kind} is not registered; put @METHODS.register(...) on its class.")


def resolve_methods(methods: str | Method | Sequence[str | Method]) -> tuple[Method, ...]:
    """Returns the methods that are meant, a name standing for the method with its default settings.

    Raises:
        SettingError: If a name is unknown, none is given, or two would share a name in the results.
    """
    given = (methods,) if isinstance(methods, str | Method) else tuple(methods)
    found = tuple(METHODS.get(method).item() if isinstance(method, str) else method for method in given)
    if not found:
        raise SettingError(f"no ablation method is given; use one or more of: {', '.join(METHODS.names())}.")
    names = [method.name for method in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingError(f"the ablation method {twice[0]!r} is given twice; measure its variants in separate sweeps.")
    return found
