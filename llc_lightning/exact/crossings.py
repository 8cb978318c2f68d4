"""Normal crossings, the local form of every analytic loss after a resolution of its singularities."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from llc_lightning.exact.base import LearningCoefficient
from llc_lightning.runtime.errors import SettingError, at_least, positive

_LINE, _PER_DISTANCE, _DECAY = 2000, 8, 32.0


def normal_crossing_coefficient(powers: Sequence[int]) -> LearningCoefficient:
    """Returns the coefficient of ``L = prod_i w_i^(2 k_i)`` at 0: ``min_i 1 / (2 k_i)``, as often as it is attained.

    Watanabe 2009, Algebraic Geometry and Statistical Learning Theory, Cambridge.

    Args:
        powers: The ``k_i``.

    Raises:
        SettingError: If there is none, or one is not an integer of at least 1.

    Example:
        >>> normal_crossing_coefficient([1, 1]).multiplicity
        2
    """
    _check(powers)
    largest = max(powers)
    return LearningCoefficient(Fraction(1, 2 * largest), list(powers).count(largest), len(powers))


def normal_crossing_value(powers: Sequence[int], *, n_beta: float, gamma: float) -> float:
    """Returns the value of ``L = prod_i w_i^(2 k_i)`` at ``w* = 0``, in any number of weights.

    The Mellin transform of the partition function ``Z(n_beta) = E[exp(-n_beta L)]`` over the Gaussian localisation is
    ``Gamma(z) E[L^-z]``, with ``E[L^-z] = prod_i (2 / gamma)^(-k_i z) Gamma(1/2 - k_i z) / sqrt(pi)``: the zeta
    function of Watanabe 2009, whose first pole is the learning coefficient. The value ``-d log Z / d log n_beta`` is
    therefore the mean of ``z`` under ``n_beta^-z Gamma(z) E[L^-z]`` along a vertical line between 0 and that pole. The
    line goes through the saddle point, where nothing cancels; the trapezoidal rule converges exponentially on it.

    Args:
        powers: The ``k_i``.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation.

    Raises:
        SettingError: If there is no power, or one is not an integer of at least 1.

    Example:
        >>> round(normal_crossing_value([1, 1, 1], n_beta=100.0, gamma=1.0), 6)
        0.259502
    """
    from scipy.special import loggamma

    positive(n_beta=n_beta, gamma=gamma)
    _check(powers)
    log_scale = math.log(n_beta) + sum(powers) * math.log(2 / gamma)
    pole = 1 / (2 * max(powers))

    def log_integrand(z: np.ndarray) -> np.ndarray:
        return loggamma(z) - z * log_scale + sum(loggamma(0.5 - power * z) for power in powers)

    line = pole * np.linspace(0, 1, _LINE + 1)[1:-1]
    saddle = line[np.argmin(log_integrand(line))]
    spacing = min(saddle, pole - saddle) / _PER_DISTANCE
    # The integrand falls as exp(-pi/2 (1 + sum k) |Im z|), and is real after adding its mirror image.
    z = saddle + 1j * np.arange(0, _DECAY / (1 + sum(powers)), spacing)
    logs = log_integrand(z)
    weights = np.exp(logs - logs[0].real)
    weights[0] /= 2
    return float((z * weights).sum().real / weights.sum().real)


def _check(powers: Sequence[int]) -> None:
    if not powers:
        raise SettingError("powers has no entry; give one for each weight.")
    for power in powers:
        at_least(1, **{"a power": power})
