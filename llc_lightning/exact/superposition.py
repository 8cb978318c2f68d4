"""The toy model of superposition, at the regular polygons that it learns."""

from fractions import Fraction
from typing import Literal

from llc_lightning.exact.base import LearningCoefficient
from llc_lightning.runtime.errors import SettingError, at_least

_FEWEST, _MOST = 5, 8


def superposition_coefficient(
    columns: int, sides: int, *, dead: Literal["negative", "positive"] = "negative"
) -> LearningCoefficient:
    """Returns the coefficient of the toy model of superposition at a regular polygon.

    The loss is ``E |x - ReLU(W^T W x + b)|^2`` with two rows in ``W``, and ``x = u e_i`` with ``i`` uniform among the
    columns and ``u`` uniform in [0, 1]. ``sides`` columns of ``W`` are a regular polygon, the others are 0. At dead
    biases below 0, ``W`` and ``b`` of the dead columns do not matter, and the coefficient is ``(3 sides - 1) / 2``; at
    dead biases of ``1 / (2 columns)`` they do, and it is ``(3 columns - 1) / 2``. The Hessian has full rank but for
    these, and for the common rotation of the columns. Chen, Lau, Mendel, Wei and Murfet 2023, arXiv 2310.06301.

    Args:
        columns: Of ``W``: the number of features.
        sides: Of the polygon, 5 to 8; a square is degenerate, and its coefficient is not half a rank.
        dead: The sign of the biases of the dead columns.

    Raises:
        SettingError: If there is no such polygon.

    Example:
        >>> superposition_coefficient(6, 5).value
        Fraction(7, 1)
    """
    at_least(_FEWEST, columns=columns)
    at_least(1, sides=sides)
    if not _FEWEST <= sides <= min(_MOST, columns):
        raise SettingError(
            f"sides is {sides}; with {columns} columns the coefficient is known from {_FEWEST} to "
            f"{min(_MOST, columns)} sides."
        )
    if dead not in ("negative", "positive"):
        raise SettingError(f"dead is {dead!r}; use negative or positive.")
    counted = sides if dead == "negative" else columns
    return LearningCoefficient(Fraction(3 * counted - 1, 2), 1, 3 * columns)
