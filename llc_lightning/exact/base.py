"""What a known answer offers, the learning coefficient among it, and the table of all of them."""

from dataclasses import MISSING, Field, dataclass, field
from fractions import Fraction
from typing import Any, ClassVar, Protocol, runtime_checkable

from llc_lightning.runtime.errors import SettingError, at_least
from llc_lightning.runtime.registry import NoFacts, Registry


@dataclass(frozen=True)
class LearningCoefficient:
    """The two numbers of the free energy ``n_beta L(w*) + value log n_beta - (multiplicity - 1) log log n_beta``.

    Watanabe 2009, Algebraic Geometry and Statistical Learning Theory, Cambridge. The value ``n_beta E[L - L(w*)]`` at
    finite ``n_beta`` approaches ``value - (multiplicity - 1) / log n_beta``.
    """

    value: Fraction
    multiplicity: int
    dimension: int
    """The number of weights; a regular model has a ``value`` of half of it."""


@runtime_checkable
class KnownAnswer(Protocol):
    """A frozen dataclass whose fields are the parameters of a loss, each with its help, and what is known about it."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    quantity: ClassVar[str] = "n_beta E[L - L(w*)]"
    """What :meth:`value` returns, by default what an estimate of the mean does; '' where no value is known."""

    def coefficient(self) -> LearningCoefficient:
        """Returns the learning coefficient of the loss at its minimum."""
        ...

    def value(self, *, n_beta: float, gamma: float) -> float:
        """Returns the value at finite ``n_beta``, or raises a SettingError where none is known."""
        name = next(name for name, entry in KNOWN.items() if isinstance(self, entry.item))
        raise SettingError(f"no value of {name} at finite n_beta is known; ask without n_beta and gamma.")


KNOWN: Registry[type[KnownAnswer], NoFacts] = Registry("known answer", NoFacts)
"""All known answers by name."""


def asked(text: str, *, default: Any = MISSING) -> Any:
    """Returns a dataclass field with the help that the command line shows."""
    return field(default=default, metadata={"help": text})


def regular_coefficient(dimension: int) -> LearningCoefficient:
    """Returns ``dimension / 2`` with multiplicity 1: the loss has one minimum, with a Hessian of full rank.

    Schwarz 1978, Annals of Statistics 6; Watanabe 2009.

    Args:
        dimension: The number of weights.

    Raises:
        SettingError: If it is not an integer of at least 1.

    Example:
        >>> regular_coefficient(3).value
        Fraction(3, 2)
    """
    at_least(1, dimension=dimension)
    return LearningCoefficient(Fraction(dimension, 2), 1, dimension)
