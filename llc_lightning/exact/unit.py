"""One hidden unit of a linear network alone: the weight-refined value of a unit, used or dead."""

import math
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from llc_lightning.exact.base import LearningCoefficient
from llc_lightning.exact.reduced_rank import reduced_rank_coefficient
from llc_lightning.exact.resolution import unit_localised
from llc_lightning.runtime.errors import SettingError, at_least, not_negative

_SPACING, _SMALLEST, _BEYOND = 0.1, -40.0, 12.0
_STRONGEST = 1e5


def unit_coefficient(inputs: int, outputs: int, *, strength: float) -> LearningCoefficient:
    """Returns the coefficient of ``L = 1/2 |b a^T - b* a*^T|^2``, with ``|b* a*^T| = strength``.

    A used unit is regular but for the scale that ``a`` and ``b`` share, with ``(inputs + outputs - 1) / 2``. A dead
    one, of strength 0, is reduced-rank regression through one unit: Aoyagi and Watanabe 2005, Neural Networks 18.

    Args:
        inputs: The length of ``a``.
        outputs: The length of ``b``.
        strength: The Frobenius norm of the unit's map: ablating the unit costs ``strength^2 / 2``.

    Raises:
        SettingError: If a number is out of range.

    Example:
        >>> unit_coefficient(4, 4, strength=1.0).value
        Fraction(7, 2)
    """
    _check(inputs, outputs, strength)
    if strength == 0:
        return reduced_rank_coefficient(inputs, 1, outputs, rank=0)
    return LearningCoefficient(Fraction(inputs + outputs - 1, 2), 1, inputs + outputs)


def unit_value(inputs: int, outputs: int, *, strength: float, n_beta: float, gamma: float) -> float:
    """Returns the value of ``L = 1/2 |b a^T - b* a*^T|^2`` at ``(a*, b*)``, which are of equal length.

    It is the weight-refined value of one unit of a linear network, the other units being frozen. At a fixed
    ``n_beta`` it rises with the unit's strength from the dead to the used unit, where ``n_beta strength^2 / 2`` passes
    1, and does not rise further.

    Given ``a``, ``b`` is Gaussian and is integrated by hand. With ``r = |a|``, the angle ``t`` between ``a`` and
    ``a*``, unit localisation, the precision ``p = n_beta r^2 + 1``, and the mean ``q = sqrt(s) (n_beta sqrt(s) r cos t
    + 1) / p`` of ``b`` along ``b*``, what is left is the mean of the energy ``outputs n_beta r^2 / (2 p) + n_beta / 2
    ((r q - s cos t)^2 + (s sin t)^2)`` over ``r`` and ``t`` under ``r^(inputs - 1) sin(t)^(inputs - 2) p^(-outputs / 2)
    exp(-e)``, with ``e`` the second part of the energy and ``(q - sqrt(s))^2 / 2 + |a - a*|^2 / 2``. The trapezoidal
    rule converges exponentially in ``log(e^r - 1)`` and ``log(t / (pi - t))``.

    Args:
        inputs: The length of ``a``.
        outputs: The length of ``b``.
        strength: ``s``, the Frobenius norm of ``b* a*^T``: ablating the unit costs ``strength^2 / 2``.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation.

    Raises:
        SettingError: If a number is out of range.
    """
    _check(inputs, outputs, strength)
    scale = unit_localised(n_beta, gamma)
    if strength * gamma > _STRONGEST:
        raise SettingError(
            f"strength is {strength} and gamma {gamma}; the value is known where their product is at most "
            f"{_STRONGEST:g}."
        )
    # The transposed unit has the same value, and here the integral over angles is in the larger space.
    outputs, inputs = sorted((inputs, outputs))
    s = strength * gamma  # lengths in units of 1 / sqrt(gamma) from here on
    root = math.sqrt(s)
    u = _grid(_SMALLEST, root + _BEYOND)[:, None]
    r = softplus(u)
    sine, less_than_one, log_angles = _angles(inputs)
    cosine = 1 - less_than_one
    precision = scale * r.square() + 1
    q = root * (scale * root * r * cosine + 1) / precision
    misfit = scale / 2 * ((r * q - s * cosine).square() + (s * sine).square())
    pull = ((q - root).square() + (r - root).square()) / 2 + r * root * less_than_one
    # As logarithms, since powers of the widths would overflow; logsigmoid(u) is that of dr / du.
    log_weight = logsigmoid(u) + (inputs - 1) * r.log() + log_angles - outputs / 2 * precision.log() - misfit - pull
    energy = outputs / 2 * scale * r.square() / precision + misfit
    return (torch.softmax(log_weight.flatten(), 0) @ energy.flatten()).item()


def _angles(dimension: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the sine of angles in that many dimensions, 1 less the cosine, and the logarithms of their weights."""
    if dimension == 1:  # a number has two angles, 0 and pi
        return torch.zeros(2).double(), torch.tensor([0.0, 2.0]).double(), torch.zeros(2).double()
    v = _grid(_SMALLEST, -_SMALLEST)
    # Near 0 and pi, where most of the weight can be, pi - t and 1 - cos t would lose their digits.
    sine = (math.pi * torch.sigmoid(-v.abs())).sin()
    less_than_one = 2 * (math.pi / 2 * torch.sigmoid(v)).sin().square()
    return sine, less_than_one, (dimension - 2) * sine.log() + logsigmoid(v) + logsigmoid(-v)


def _grid(first: float, last: float) -> Tensor:
    return torch.arange(first, last, _SPACING, dtype=torch.float64)


def _check(inputs: int, outputs: int, strength: float) -> None:
    at_least(1, inputs=inputs, outputs=outputs)
    not_negative(strength=strength)
