"""Deep linear networks: products of weight matrices, trained to a map of known rank."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, pairwise

from llc_lightning.exact.base import LearningCoefficient
from llc_lightning.runtime.errors import SettingError, at_least


def deep_linear_coefficient(widths: Sequence[int], *, rank: int) -> LearningCoefficient:
    """Returns the coefficient of ``L = 1/2 |W_L ... W_1 - M|^2`` on its zeros, ``M`` being of the given rank.

    Of the excess widths ``D_s = H_s - r``, the set ``S`` of the ``l + 1`` smallest is the one with ``l max_S D <= sum_S
    D < l min_(not S) D``. With ``a = sum_S D - (ceil(sum_S D / l) - 1) l`` the coefficient is ``(r (H_1 + H_(L+1)) -
    r^2) / 2 + a (l - a) / (4 l) - l (l - 1) / 4 (sum_S D / l)^2 + 1/2 sum_(i < j in S) D_i D_j``, the multiplicity
    ``a (l - a) + 1``. Aoyagi 2024, Consideration on the learning efficiency of multiple-layered neural networks with
    linear units, Neural Networks 172.

    Args:
        widths: ``H_1`` (input) to ``H_(L+1)`` (output), at least two.
        rank: ``r``, of the true map.

    Raises:
        SettingError: If a width is not positive, or the rank exceeds the smallest width.

    Example:
        >>> deep_linear_coefficient([6, 4, 5], rank=2).value
        Fraction(12, 1)
    """
    check_widths(widths, rank)
    excess = sorted(width - rank for width in widths)
    chosen = next(excess[:size] for size in range(2, len(excess) + 1) if _is_bottleneck(excess, size))
    total, order = sum(chosen), len(chosen) - 1
    rest = total - (math.ceil(Fraction(total, order)) - 1) * order
    value = (
        Fraction(rank * (widths[0] + widths[-1]) - rank**2, 2)
        + Fraction(rest * (order - rest), 4 * order)
        - Fraction(order * (order - 1), 4) * Fraction(total, order) ** 2
        + Fraction(sum(one * other for one, other in combinations(chosen, 2)), 2)
    )
    dimension = sum(below * above for below, above in pairwise(widths))
    return LearningCoefficient(value, rest * (order - rest) + 1, dimension)


def check_widths(widths: Sequence[int], rank: int) -> None:
    """Raises a SettingError unless a linear network of these widths can have this rank."""
    if len(widths) < 2:
        raise SettingError(f"there are {len(widths)} widths; give at least 2, of the input and of the output.")
    for width in widths:
        at_least(1, **{"a width": width})
    at_least(0, rank=rank)
    if rank > min(widths):
        raise SettingError(f"rank is {rank}; it can be at most the smallest width, {min(widths)}.")


def _is_bottleneck(excess: Sequence[int], size: int) -> bool:
    """Says whether the ``size`` smallest of the sorted excess widths are Aoyagi's set, where no fewer are.

    The other inequality then holds by itself: the set without its largest width would have been chosen before.
    """
    return size == len(excess) or sum(excess[:size]) < (size - 1) * excess[size]
