"""What an ablation method is: a rule that makes values for a hook point's activations, or other weights."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.influence import Donors
from llc_lightning.ablation.engine.moments import mean_over_examples, sd_over_examples
from llc_lightning.ablation.engine.place import check_ablatable, check_some
from llc_lightning.ablation.engine.spelling import resolved, spell, unspell
from llc_lightning.ablation.engine.weights import Weight
from llc_lightning.components.component import Component
from llc_lightning.runtime.errors import AddressError, SettingError
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
    real: Bool[Tensor, "example *entry"] | None = None
    """Which entries count, to broadcast against the activation; None where all do. The others are never replaced, and
    nothing may be learnt from them."""
    partner_real: Bool[Tensor, "example *entry"] | None = None
    """The same of the partners' activations."""

    def of(self, rows: Int[Tensor, "row"]) -> "Activations":
        """Returns the activations of some examples alone, and which of their entries count."""
        at = rows.to(self.activation.device)
        return Activations(self.activation[at], self.unit_axis, real=None if self.real is None else self.real[at])

    def filled(self) -> "Activations":
        """Returns the activations with the mean in the place of what does not count."""
        if self.real is None:
            return self
        return replace(
            self, activation=torch.where(self.real, self.activation, self.mean().to(self.activation)), real=None
        )

    def mean(self) -> Float[Tensor, "*unit"]:
        """Returns the float64 mean over the examples, of what counts."""
        return mean_over_examples(self.activation, self.real)

    def sd(self) -> Float[Tensor, "*unit"]:
        """Returns the float64 standard deviation over the examples, of what counts."""
        return sd_over_examples(self.activation, self.real)

    @property
    def positions(self) -> tuple[int, ...]:
        """The axes that are positions: those between example and units, else those behind the units (pixels)."""
        unit = self.activation.ndim + self.unit_axis
        return tuple(range(1, unit)) or tuple(range(unit + 1, self.activation.ndim))


@dataclass(frozen=True)
class Method(ABC):  # noqa: B024 - its kinds say what is abstract
    """A way to ablate: ``h <- where(mask, value, h)``, with the value from here and the mask from the component.

    Its kinds are :class:`Shared` and :class:`~llc_lightning.ablation.engine.replacing.Fitted`, which make such values,
    and :class:`WeightMethod`, which edits the component's weights instead. A method enters itself in :data:`METHODS`,
    with its :class:`MethodFacts`.

    Its options are the fields of its class. In text, a method with other options than the defaults is written with
    them: ``mean``, ``mean(positions=pooled)``, ``noise(scale=0.5,draws=8)``; this is also its name in the results.
    """

    draws: int = field(default=1, init=False)
    """Number of replacement values per example; an effect is averaged over them."""

    @cached_property
    def name(self) -> str:
        """Its registered name, with the options that are not the default ones."""
        return spell(entry_of(self).name, self)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that it needs."""
        return ()

    def reasons(self, effect: Effect, seen: Sequence[Activations]) -> Sequence[str]:
        """Returns the names of the registered reasons that it has against an effect of its own; here none.

        Args:
            effect: The effect of one component on one loss.
            seen: The activations at each hook point of the component; none where weights are edited.
        """
        return ()

    def check(self, component: Component) -> None:
        """Checks that it can ablate a component, here the activation of one.

        Raises:
            AddressError: If the component has no activation.
            SettingError: If the method mixes units, and is to ablate some of them.
        """
        check_ablatable(component)
        some = any(member.units is not None or member.basis is not None for member in component.members)
        if some and entry_of(self).facts.whole:
            raise SettingError(
                f"the ablation method {self.name!r} mixes units, so it cannot ablate {component.address!r}; ablate "
                "whole hook points with it, such as 'layers'."
            )

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

    def donors(self, seen: Activations, *, seed: int) -> Donors | None:
        """Returns which examples the values come from, so that the standard error counts them; None for none.

        Args:
            seen: As for the values.
            seed: As for the values.
        """
        return None

    def moved(
        self, seen: Activations, blocks: Sequence[Int[Tensor, "row"]], *, seed: int
    ) -> Iterator[Float[Tensor, "draw row *unit"]]:
        """Yields estimated constants moved towards the donors, where :meth:`donors` tells a step; arguments as there.

        Raises:
            SettingError: If the method has donors with a step and does not say how it moves.
        """
        raise SettingError(f"{type(self).__name__} has donors with a step; give it a method moved(seen, blocks).")


@dataclass(frozen=True)
class WeightMethod(Method):
    """A method that edits the weights of a component, whose activation then is what follows from them.

    It needs weights, and no activation: it ablates a parameter, or the whole model, as well as a unit.
    """

    @abstractmethod
    def edited(self, weights: Sequence[Weight], *, seed: int, draw: int) -> Sequence[Float[Tensor, "..."]]:
        """Returns a component's edited weights, each of the shape and type of its ``values``.

        Args:
            weights: The component's weights; they must stay as they are.
            seed: The run's seed; random numbers come from ``seeding.generator(seed, kind, draw)`` alone.
            draw: Number of the draw.
        """
        ...

    def check(self, component: Component) -> None:
        """Checks that it can ablate a component.

        Raises:
            AddressError: If the component has no weights, or is at some positions or along directions alone.
        """
        if not component.weights:
            raise AddressError(
                f"{component.address!r} has no weights of its own, so {self.name!r} cannot edit them; address a Linear "
                "or Conv, or declare the weights of the hook point with weight_axes()."
            )
        if any(member.positions is not None or member.basis is not None for member in component.members):
            raise AddressError(
                f"{component.address!r} is a part of an activation that no weights of its own make, so {self.name!r} "
                "cannot edit them; leave out positions and directions."
            )


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
    """Replacement values per example, by default."""


METHODS: Registry[type[Method], MethodFacts] = Registry("ablation method", MethodFacts, revised=True)
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
    chosen = resolved(methods, METHODS, base=Method)
    if not chosen:
        raise SettingError(f"no ablation method is given; use one or more of: {', '.join(METHODS.names())}.")
    return chosen


def check_components(components: Sequence[Component], methods: Sequence[Method]) -> None:
    """Checks that there are components, and that every method can ablate each.

    Raises:
        AddressError: If there is no component, or one lacks the side that a method ablates.
        SettingError: If a method that mixes units is asked to ablate some of them.
    """
    check_some(components)
    for method in methods:
        for component in components:
            method.check(component)


def checked_positions(positions: str) -> None:
    """Checks an option ``positions``: whether every position (pixel) has a value of its own, or all have one together.

    Raises:
        SettingError: If it is neither ``own`` nor ``pooled``.
    """
    if positions not in ("own", "pooled"):
        raise SettingError(f"positions is {positions!r}; use 'own' or 'pooled'.")
