"""Exact values of ``n_beta E[L(w) - L(w*)]`` at finite ``n_beta`` and ``gamma``, for losses whose integrals are known.

They are what estimates are tested against. The learning coefficient is only the limit of large ``n_beta``: where its
multiplicity is 2, the exact value at an ``n_beta`` of 1000 is still 22 % below it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.llc.settings import check_count, check_positive
from llc_lightning.runtime.errors import SettingError

_SMALLEST, _LARGEST, _POINTS = -90.0, 8.0, 1500


def quadratic_value(curvature: Sequence[float], *, n_beta: float, gamma: float) -> float:
    """Returns the value of ``L = 1/2 sum_i h_i w_i^2`` at its minimum: ``1/2 sum_i n_beta h_i / (n_beta h_i + gamma)``.

    Args:
        curvature: The ``h_i``; zeros are flat directions and contribute nothing.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation.

    Example:
        >>> quadratic_value([1.0, 0.0], n_beta=3.0, gamma=1.0)
        0.375
    """
    h = torch.tensor(curvature, dtype=torch.float64)
    return (n_beta * h / (n_beta * h + gamma)).sum().item() / 2


def quadratic_sgld_value(
    curvature: Sequence[float],
    *,
    n_beta: float,
    gamma: float,
    step_size: float,
    gradient_noise: float = 0.0,
    draws: range | None = None,
) -> float:
    """Returns what SGLD gives for the quadratic of :func:`quadratic_value`, with the bias of its step size.

    ``1/2 sum_i n_beta h_i v_i`` with the stationary variances ``v_i = (1 + eps s2 / 4) / (a_i (1 - eps a_i / 4))`` and
    ``a_i = n_beta h_i + gamma``. After ``t`` steps from w* the variance is ``v_i (1 - (1 - eps a_i / 2)^(2 t))``. Both
    follow from the recursion of the second moment, ``v' = (1 - eps a / 2)^2 v + eps + eps^2 s2 / 4``.

    Args:
        curvature: The ``h_i``.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation.
        step_size: SGLD's ``eps``.
        gradient_noise: ``s2``, the variance of ``n_beta`` times a minibatch gradient, the same along every weight.
        draws: The numbers of the steps whose losses are averaged, 0 being w* itself; None is long after the start.

    Raises:
        SettingError: If a direction is unstable, ``eps a_i >= 4``.
    """
    h = torch.tensor(curvature, dtype=torch.float64)
    a = n_beta * h + gamma
    if not bool((step_size * a < 4).all()):
        raise SettingError(
            f"step_size is {step_size}; SGLD is stable below {4 / a.max().item():.6g} on this quadratic."
        )
    variance = (1 + step_size * gradient_noise / 4) / (a * (1 - step_size * a / 4))
    if draws is not None:
        times = torch.tensor(list(draws), dtype=torch.float64)[:, None]
        variance = variance * (1 - (1 - step_size * a / 2) ** (2 * times)).mean(0)
    return (n_beta * h * variance).sum().item() / 2


def displaced_value(
    hessian: Float[Tensor, "weight weight"], minimum: Float[Tensor, "weight"], *, n_beta: float, gamma: float
) -> tuple[float, float]:
    """Returns the value, and the correction Delta, of ``L = 1/2 (w - mu)^T H (w - mu)`` measured at ``w* = 0``.

    The posterior is Gaussian with mean ``m = (n_beta H + gamma)^-1 n_beta H mu``, so that Delta is
    ``n_beta (L(0) - L(m))``, and the value is ``1/2 tr[n_beta H (n_beta H + gamma)^-1] - Delta``.

    Args:
        hessian: ``H``, symmetric.
        minimum: ``mu``.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation.
    """
    scaled = n_beta * hessian.double()
    precision = scaled + gamma * torch.eye(len(scaled), dtype=torch.float64)
    mu = minimum.double()
    pulled = scaled @ torch.inverse(precision)
    rest = mu - mu @ pulled
    delta = ((mu @ scaled @ mu - rest @ scaled @ rest) / 2).item()
    return pulled.trace().item() / 2 - delta, delta


def normal_crossing_value(powers: Sequence[int], *, n_beta: float, gamma: float) -> float:
    """Returns the value of ``L = prod_i w_i^(2 k_i)``, in one or two weights, at ``w* = 0``.

    By the trapezoidal rule in ``log w_i``, which converges exponentially here. The learning coefficient is
    ``min_i 1 / (2 k_i)`` (Watanabe 2009, Algebraic Geometry and Statistical Learning Theory).

    Args:
        powers: The ``k_i``.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation.

    Raises:
        SettingError: If there are not one or two powers of at least 1.
    """
    _check_resolution(n_beta, gamma)
    if len(powers) not in (1, 2):
        raise SettingError(f"powers has {len(powers)} entries; give 1 or 2.")
    for power in powers:
        check_count("a power", power, 1)
    # Of w sqrt(gamma), which has unit localisation.
    scale = n_beta * gamma ** -sum(powers)
    log_w = torch.linspace(_SMALLEST, _LARGEST / 2, _POINTS, dtype=torch.float64)
    axes = torch.meshgrid(*[log_w] * len(powers), indexing="ij")
    log_loss = torch.zeros_like(axes[0])
    log_prior = torch.zeros_like(axes[0])
    for power, u in zip(powers, axes, strict=True):
        log_loss = log_loss + 2 * power * u
        log_prior = log_prior + u - (2 * u).exp() / 2
    energy = scale * log_loss.exp()
    return _mean(energy, log_prior - energy)


def reduced_rank_value(inputs: int, hidden: int, outputs: int, *, n_beta: float, gamma: float) -> float:
    """Returns the value of ``L = 1/2 |B A|^2`` at ``A = B = 0``: reduced-rank regression of a true map of rank 0.

    ``A`` is [hidden, inputs] and ``B`` is [outputs, hidden]. Given ``A``, ``B`` is Gaussian and is integrated by hand.
    What is left is an integral over the nonzero eigenvalues ``s_j`` of ``A A^T`` (a Laguerre ensemble): the mean of
    ``outputs/2 sum_j n_beta s_j / (n_beta s_j + gamma)`` under the density ``prod_j s_j^((|inputs - hidden| - 1) / 2)
    exp(-gamma s_j / 2) (n_beta s_j + gamma)^(-outputs / 2) prod_(i<j) |s_i - s_j|``. The learning coefficients are in
    Aoyagi and Watanabe 2005, Neural Networks 18.

    Args:
        inputs: Width of the input.
        hidden: Width between the two maps.
        outputs: Width of the output.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation, of all weights.

    Raises:
        SettingError: If the smaller of ``inputs`` and ``hidden`` is not 1 or 2.
    """
    _check_resolution(n_beta, gamma)
    for name, width in (("inputs", inputs), ("hidden", hidden), ("outputs", outputs)):
        check_count(name, width, 1)
    rank = min(inputs, hidden)
    if rank > 2:
        raise SettingError(f"inputs is {inputs} and hidden is {hidden}; the smaller of the two must be 1 or 2.")
    # Of A sqrt(gamma) and B sqrt(gamma), which have unit localisation.
    scale = n_beta / gamma**2
    power = (abs(inputs - hidden) - 1) / 2
    log_s = torch.linspace(_SMALLEST, _LARGEST, _POINTS, dtype=torch.float64)
    if rank == 1:
        eigenvalues, log_weight = [log_s.exp()], log_s
    else:
        # The smaller eigenvalue as a share 1 / (1 + exp(-v)) of the larger: the kink where they meet goes to infinity.
        log_larger, v = torch.meshgrid(
            log_s, torch.linspace(_SMALLEST, -_SMALLEST, _POINTS, dtype=torch.float64), indexing="ij"
        )
        log_share, log_rest = torch.nn.functional.logsigmoid(v), torch.nn.functional.logsigmoid(-v)
        eigenvalues = [log_larger.exp(), (log_larger + log_share).exp()]
        log_weight = 3 * log_larger + log_share + 2 * log_rest
    energy = torch.zeros_like(log_weight)
    for s in eigenvalues:
        log_weight = log_weight + power * s.log() - s / 2 - outputs / 2 * torch.log1p(scale * s)
        energy = energy + outputs / 2 * scale * s / (1 + scale * s)
    return _mean(energy, log_weight)


def _mean(values: Tensor, log_weights: Tensor) -> float:
    return (torch.softmax(log_weights.flatten(), 0) @ values.flatten()).item()


def _check_resolution(n_beta: float, gamma: float) -> None:
    check_positive("n_beta", n_beta)
    check_positive("gamma", gamma)
