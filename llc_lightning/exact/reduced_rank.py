"""Reduced-rank regression: a linear network of two layers, Aoyagi's and Watanabe's singular model."""

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from llc_lightning.exact.base import LearningCoefficient
from llc_lightning.exact.deep_linear import check_widths
from llc_lightning.exact.resolution import unit_localised
from llc_lightning.runtime.errors import SettingError, at_least

_LARGEST_RANK = 6
_SMALLEST, _LARGEST, _POINTS = -90.0, 8.0, 1000
_SMALLEST_SHARE, _LARGEST_SHARE, _SHARES = -90.0, 40.0, 600


def reduced_rank_coefficient(inputs: int, hidden: int, outputs: int, *, rank: int) -> LearningCoefficient:
    """Returns the coefficient of ``L = 1/2 |B A - M|^2`` on its zeros, ``M`` being of the given rank.

    Write ``m, h, n, r`` for ``inputs, hidden, outputs, rank``.

    - If ``m + h < n + r``: ``(h m - h r + n r) / 2``. If ``n + h < m + r``: ``(h n - h r + m r) / 2``.
      If ``m + n < h + r``: ``m n / 2``. The multiplicity is 1.
    - Else, with ``s = -(h + r)^2 - m^2 - n^2 + 2 (h + r) (m + n) + 2 m n``: ``s / 8`` with multiplicity 1 where
      ``m + h + n + r`` is even, and ``(s + 1) / 8`` with multiplicity 2 where it is odd.

    Aoyagi and Watanabe 2005, Stochastic complexities of reduced rank regression in Bayesian estimation, Neural
    Networks 18.

    Args:
        inputs: Width of the input.
        hidden: Width between the two maps.
        outputs: Width of the output.
        rank: Of the true map.

    Raises:
        SettingError: If a width is not positive, or the rank exceeds the smallest width.

    Example:
        >>> reduced_rank_coefficient(3, 2, 3, rank=0).value
        Fraction(5, 2)
    """
    check_widths((inputs, hidden, outputs), rank)
    m, h, n, r = inputs, hidden, outputs, rank
    dimension = h * (m + n)
    if m + h < n + r:
        return LearningCoefficient(Fraction(h * m - h * r + n * r, 2), 1, dimension)
    if n + h < m + r:
        return LearningCoefficient(Fraction(h * n - h * r + m * r, 2), 1, dimension)
    if m + n < h + r:
        return LearningCoefficient(Fraction(m * n, 2), 1, dimension)
    s = -((h + r) ** 2) - m**2 - n**2 + 2 * (h + r) * (m + n) + 2 * m * n
    odd = (m + h + n + r) % 2
    return LearningCoefficient(Fraction(s + odd, 8), 1 + odd, dimension)


def reduced_rank_value(inputs: int, hidden: int, outputs: int, *, n_beta: float, gamma: float) -> float:
    """Returns the value of ``L = 1/2 |B A|^2`` at ``A = B = 0``: reduced-rank regression of a true map of rank 0.

    ``A`` is [hidden, inputs] and ``B`` is [outputs, hidden]. Given ``A``, ``B`` is Gaussian and is integrated by hand.
    What is left is an integral over the nonzero eigenvalues ``s_j`` of ``A A^T`` (a Laguerre ensemble): the mean of
    ``outputs/2 sum_j n_beta s_j / (n_beta s_j + gamma)`` under the density ``prod_j v(s_j) prod_(i<j) |s_i - s_j|``
    with ``v(s) = s^((|inputs - hidden| - 1) / 2) exp(-gamma s / 2) (n_beta s + gamma)^(-outputs / 2)``. The integral of
    such a density is a Pfaffian of integrals over one and two eigenvalues (de Bruijn 1955, J. Indian Math. Soc. 19),
    and the value is its logarithmic derivative. The trapezoidal rule in the logarithms converges exponentially.

    Args:
        inputs: Width of the input.
        hidden: Width between the two maps.
        outputs: Width of the output.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation, of all weights.

    Raises:
        SettingError: If a number is out of range, or the smallest width exceeds 6.
    """
    scale = unit_localised(n_beta, gamma)
    for name, width in (("inputs", inputs), ("hidden", hidden), ("outputs", outputs)):
        at_least(1, **{name: width})
    rank = min(inputs, hidden, outputs)
    if rank > _LARGEST_RANK:
        raise SettingError(
            f"the smallest width is {rank}; the value at finite n_beta is known up to {_LARGEST_RANK} there."
        )
    # The transposed map has the same value, and here no more eigenvalues, which are less alike.
    inputs, outputs = sorted((inputs, outputs))
    eigenvalue = _Eigenvalue((abs(inputs - hidden) - 1) / 2, outputs, scale)
    size = rank + rank % 2
    log_pfaffian = torch.full((size, size), -torch.inf, dtype=torch.float64)
    energy = torch.zeros(size, size, dtype=torch.float64)
    for i in range(rank):
        for j in range(i + 1, rank):
            log_pfaffian[i, j], energy[i, j] = _pair(eigenvalue, i, j)
        if rank % 2:  # a Pfaffian has an even size: the eigenvalue that is left over pairs with none
            log_pfaffian[i, rank], energy[i, rank] = _single(eigenvalue, i)
    return _logarithmic_derivative(log_pfaffian, energy)


@dataclass(frozen=True)
class _Eigenvalue:
    """The density of one eigenvalue, without the repulsion of the others."""

    power: float
    outputs: int
    scale: float

    def log_density(self, log_s: Tensor) -> Tensor:
        s = log_s.exp()
        return (self.power + 1) * log_s - s / 2 - self.outputs / 2 * torch.log1p(self.scale * s)

    def energy(self, log_s: Tensor) -> Tensor:
        scaled = self.scale * log_s.exp()
        return self.outputs / 2 * scaled / (1 + scaled)


def _single(eigenvalue: _Eigenvalue, power: int) -> tuple[Tensor, Tensor]:
    """Returns the logarithm of the integral of ``s^power``, up to a constant, and the mean energy under it."""
    log_s = torch.linspace(_SMALLEST, _LARGEST, _POINTS, dtype=torch.float64)
    step = math.log((_LARGEST - _SMALLEST) / (_POINTS - 1))
    return _integral(eigenvalue.log_density(log_s) + power * log_s + step, eigenvalue.energy(log_s))


def _pair(eigenvalue: _Eigenvalue, low: int, high: int) -> tuple[Tensor, Tensor]:
    """Returns the same for ``x^low y^high - y^low x^high`` over ``x < y``.

    The smaller eigenvalue is a share ``1 / (1 + exp(-v))`` of the larger, which puts the kink where they meet at
    infinity.
    """
    log_y = torch.linspace(_SMALLEST, _LARGEST, _POINTS, dtype=torch.float64)[:, None]
    v = torch.linspace(_SMALLEST_SHARE, _LARGEST_SHARE, _SHARES, dtype=torch.float64)
    log_share, log_rest = logsigmoid(v), logsigmoid(-v)
    log_x = log_y + log_share
    repulsion = (low + high) * log_y + low * log_share + (-torch.expm1((high - low) * log_share)).log()
    steps = math.log((_LARGEST - _SMALLEST) / (_POINTS - 1) * (_LARGEST_SHARE - _SMALLEST_SHARE) / (_SHARES - 1))
    log_weight = eigenvalue.log_density(log_x) + eigenvalue.log_density(log_y) + repulsion + log_rest + steps
    return _integral(log_weight, eigenvalue.energy(log_x) + eigenvalue.energy(log_y))


def _integral(log_weight: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
    flat = log_weight.flatten()
    return flat.logsumexp(0), torch.softmax(flat, 0) @ energy.flatten()


def _logarithmic_derivative(logs: Float[Tensor, "size size"], energy: Float[Tensor, "size size"]) -> float:
    """Returns ``1/2 tr(P^-1 Q)``, ``P`` and ``Q`` antisymmetric, with ``exp(logs)`` and ``energy exp(logs)`` above.

    Rows and columns are scaled alike, which changes nothing, so that no entry overflows.
    """
    size = len(logs)
    scale = logs[torch.arange(size), torch.arange(size).flip(0)]
    scale = torch.maximum(scale, scale.flip(0)) / 2
    upper = (logs - scale[:, None] - scale).exp()
    # d log Pf(P) = 1/2 tr(P^-1 dP), and dP has the mean energies as factors.
    first, second = upper - upper.T, energy * upper - (energy * upper).T
    return (torch.inverse(first) @ second).trace().item() / 2
