"""Methods whose values are found by running the network: each component has constants of its own."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from llc_lightning.ablation.engine.base import Activations, Method
from llc_lightning.ablation.engine.group import Group


@dataclass(frozen=True)
class Fitting:
    """What a method may use to fit its values."""

    group: Group
    """The components, and how to run them."""
    seen: tuple[Activations, ...]
    """The activations at each place."""


@dataclass(frozen=True)
class Variant:
    """One set of constants."""

    constants: tuple[Float[Tensor, "component row_or_1 *few"], ...]
    """For every place the values of the units that each component replaces there."""
    losses: tuple[int, ...] | None
    """Which losses are measured with it, by their number; None for all."""
    details: tuple[Mapping[str, float | str], ...]
    """For every component what is worth knowing about its constants."""


@dataclass(frozen=True)
class FittedValues:
    """What was fitted."""

    variants: tuple[Variant, ...]
    counts: Bool[Tensor, "example"]
    """The examples that the effects are measured on."""


@dataclass(frozen=True)
class Fitted(Method):
    """A method that fits values of its own to each component."""

    @abstractmethod
    def fit(self, fitting: Fitting) -> FittedValues:
        """Returns the fitted values of all components of a group; random numbers are keyed by the group's seed."""
        ...
