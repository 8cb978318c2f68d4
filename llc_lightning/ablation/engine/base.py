"""What an ablation method is: a rule that makes replacement values out of a hook point's activations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.spelling import resolved, spell, unspell
from llc_lightning.components.component import Component
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.registry import Entry, Registry


@dataclass(frozen=True)
class Activations:
    """What a method may look at: the activations at one hook point, and what belongs to their examples."""

    activation: Float[Tensor, "example *unit"]
    """On all examples; on the first one alone where no method needs them."""
    unit_axis: int = -1
    """Axis of the units, counted from the end."""
    labels: Mapping[str, Int[Tensor, "example"]] = field(default_factory=dict[str, Tensor])
    """The labels that methods asked for, by name."""
    partner: Float[Tensor, "example *unit"] | None = None
    """The activations on the examples' counterfactual partners, where they were asked for."""

    @property
    def positions(self) -> tuple[int, ...]:
        """The axes that are positions: those between example and units, else those behind the units (pixels)."""
        unit = self.activation.ndim + self.unit_axis
        return tuple(range(1, unit)) or tuple(range(unit + 1, self.activation.ndim))


@dataclass(frozen=True)
class Method(ABC):  # noqa: B024 - Shared and Fitted say what is abstract
    """A way to ablate: ``h <- where(mask, value, h)``, with the value from here and the mask from the component.

    A method enters itself in :data:`METHODS`, with its :class:`MethodFacts`.

    Its options are the fields of its class. In text, a method with other options than the defaults is written with
    them: ``mean``, ``mean(positions=pooled)``, ``noise(scale=0.5,draws=8)``; this is also its name in the results.
    """

    draws: int = field(default=1, init=False)
    """Number of replacement values per example; an effect is averaged over them."""

    @property
    def name(self) -> str:
        """Its registered name, with the options that are not the default ones."""
        return spell(entry_of(self).name, self)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that it needs."""
        return ()

    def __post_init__(self) -> None:
        """Checks the number of draws."""
        if self.draws < 1:
            raise SettingError(f"draws is {self.draws}; an ablation method needs at least 1 draw.")


@dataclass(frozen=True)
class Shared(Method):
    """A method that makes values for all units of a hook point at once, which the point's components share."""

    @abstractmethod
    def values(
        self, seen: Activations, blocks: Sequence[Int[Tensor, "row"]], *, seed: int
    ) -> Iterator[Float[Tensor, "draw row_or_1 *unit"]]:
        """Yields the replacement values of one block of examples after the other.

        Args:
            seen: The activations at the hook point, and what belongs to their examples.
            blocks: The examples of every block, by their index.
            seed: The run's seed; random numbers come from ``seeding.generator(seed, kind, draw)`` alone.
        """
        ...


@dataclass(frozen=True)
class MethodFacts:
    """What every ablation method says of itself when it is registered."""

    constant: bool
    """By default it gives one value for all examples: a point in weight space where the activation feeds a linear
    map."""
    needs_reference: bool
    """It looks at the activations."""
    needs_partner: bool
    """It needs counterfactual partners of the examples."""
    whole: bool
    """It mixes units, so that only a whole hook point can be ablated."""
    draws: int
    """ReplacementAt values per example, by default."""


METHODS: Registry[type[Method], MethodFacts] = Registry("ablation method", MethodFacts)
"""All ablation methods by name."""


def entry_of(method: Method) -> Entry[type[Method], MethodFacts]:
    """Returns a method's entry in the registry.

    Raises:
        SettingError: If its class is not registered.
    """
    for _, entry in METHODS.items():
        if entry.item is type(method):
            return entry
    kind = type(method).__name__
    raise SettingError(f"the ablation method {kind} is not registered; put @METHODS.register(...) on its class.")


def method_of(text: str) -> Method:
    """Returns the method that a text names, with the options that it gives.

    Raises:
        SettingError: If the name or an option is unknown, or a value is not allowed.

    Example:
        >>> import llc_lightning.ablation
        >>> method_of("noise(scale=0.5)").scale
        0.5
    """
    return unspell(text, METHODS)


def resolve_methods(methods: object) -> tuple[Method, ...]:
    """Returns the methods that are meant: names with their options, or objects; one or several.

    Raises:
        SettingError: If a name or option is unknown, none is given, or two would share a name in the results.
    """
    found = resolved(methods, METHODS, base=Method)
    if not found:
        raise SettingError(f"no ablation method is given; use one or more of: {', '.join(METHODS.names())}.")
    return found


def check_levels(methods: Sequence[Method], components: Sequence[Component]) -> None:
    """Checks that every method can ablate every component.

    Raises:
        SettingError: If a method that mixes units is asked to ablate some of them.
    """
    for method in methods:
        if not entry_of(method).facts.whole:
            continue
        for component in components:
            if any(member.units is not None or member.basis is not None for member in component.members):
                raise SettingError(
                    f"the ablation method {method.name!r} mixes units, so it cannot ablate {component.address!r}; "
                    "ablate whole hook points with it, such as 'layers'."
                )


def checked_positions(positions: str) -> None:
    """Checks an option ``positions``: whether every position (pixel) has a value of its own, or all have one together.

    Raises:
        SettingError: If it is neither ``own`` nor ``pooled``.
    """
    if positions not in ("own", "pooled"):
        raise SettingError(f"positions is {positions!r}; use 'own' or 'pooled'.")
