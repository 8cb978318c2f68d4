"""The learning coefficient of a loss at its minimum, with its multiplicity."""

from dataclasses import dataclass
from fractions import Fraction

from llc_lightning.runtime.errors import at_least


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
