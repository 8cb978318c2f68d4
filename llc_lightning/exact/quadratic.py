"""Quadratic losses measured at their minimum: exactly, as samplers see them, and through their fluctuations."""

from collections.abc import Sequence
from fractions import Fraction
from typing import TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.exact.base import LearningCoefficient
from llc_lightning.runtime.errors import SettingError, not_negative, positive

Weights: TypeAlias = Float[Tensor, "weight"]


def quadratic_coefficient(curvature: Sequence[float]) -> LearningCoefficient:
    """Returns the coefficient of ``L = 1/2 sum_i h_i w_i^2``: half the number of ``h_i`` above 0.

    Schwarz 1978, Annals of Statistics 6; Watanabe 2009.

    Args:
        curvature: The ``h_i``; zeros are flat directions and contribute nothing.

    Raises:
        SettingError: If there is none, or one is negative or not finite.
    """
    h = _curvature(curvature)
    if bool((h < 0).any()):
        raise SettingError(f"the smallest curvature is {h.min().item():.6g}; a minimum has none below 0.")
    rank = int((h > 0).sum().item())
    return LearningCoefficient(Fraction(rank, 2), 1, len(curvature))


def quadratic_value(curvature: Sequence[float], *, n_beta: float, gamma: float) -> float:
    """Returns the value of ``L = 1/2 sum_i h_i w_i^2`` at its minimum: ``1/2 sum_i n_beta h_i / (n_beta h_i + gamma)``.

    The posterior is Gaussian, with precisions ``a_i = n_beta h_i + gamma``.

    Args:
        curvature: The ``h_i``; zeros are flat directions and contribute nothing.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation.

    Raises:
        SettingError: If a number is out of range.

    Example:
        >>> quadratic_value([1.0, 0.0], n_beta=3.0, gamma=1.0)
        0.375
    """
    scaled, precision = _scaled(curvature, n_beta, gamma)
    return (scaled / precision).sum().item() / 2


def quadratic_variance(curvature: Sequence[float], *, n_beta: float, gamma: float) -> float:
    """Returns ``Var(n_beta L) = 1/2 sum_i (n_beta h_i / (n_beta h_i + gamma))^2``: the heat capacity of the quadratic.

    It estimates the learning coefficient of a regular model without a baseline. The ``w_i sqrt(a_i)`` are standard
    normal, whose squares have the variance 2.

    Args:
        curvature: The ``h_i``.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation.

    Raises:
        SettingError: If a number is out of range.
    """
    scaled, precision = _scaled(curvature, n_beta, gamma)
    return (scaled / precision).square().sum().item() / 2


def quadratic_sgld_value(
    curvature: Sequence[float],
    *,
    n_beta: float,
    gamma: float,
    step_size: float,
    gradient_noise: float = 0.0,
    draws: range | None = None,
    preconditioner: Sequence[float] | None = None,
) -> float:
    """Returns what SGLD gives for the quadratic of :func:`quadratic_value`, with the bias of its step size.

    ``1/2 sum_i n_beta h_i v_i`` with the stationary variances ``v_i = (1 + eps s2 / 4) / (a_i (1 - eps a_i / 4))`` and
    ``a_i = n_beta h_i + gamma``. After ``t`` steps from w* the variance is ``v_i (1 - (1 - eps a_i / 2)^(2 t))``. Both
    follow from the recursion of the second moment, ``v' = (1 - eps a / 2)^2 v + eps + eps^2 s2 / 4``. A constant
    diagonal preconditioner ``p`` replaces ``eps`` by ``eps p_i``. SGLD: Welling and Teh 2011, ICML.

    Args:
        curvature: The ``h_i``.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation.
        step_size: SGLD's ``eps``.
        gradient_noise: ``s2``, the variance of ``n_beta`` times a minibatch gradient, the same along every weight.
        draws: The numbers of the steps whose losses are averaged, 0 being w* itself; None is long after the start.
        preconditioner: The ``p_i``; None is 1 everywhere.

    Raises:
        SettingError: If a number is out of range, or a direction is unstable: ``eps p_i a_i >= 4``.
    """
    scaled, a = _scaled(curvature, n_beta, gamma)
    eps = _steps(a, step_size, preconditioner, "SGLD")
    not_negative(gradient_noise=gradient_noise)
    variance = (1 + eps * gradient_noise / 4) / (a * (1 - eps * a / 4))
    if draws is not None:
        variance = variance * (1 - (1 - eps * a / 2) ** (2 * _times(draws))).mean(0)
    return (scaled * variance).sum().item() / 2


def quadratic_lm_value(
    curvature: Sequence[float],
    *,
    n_beta: float,
    gamma: float,
    step_size: float,
    gradient_noise: float = 0.0,
    draws: range | None = None,
    preconditioner: Sequence[float] | None = None,
) -> float:
    """Returns what the Leimkuhler-Matthews method gives for the quadratic of :func:`quadratic_value`.

    The method is SGLD whose step adds the mean of this step's and the next step's noise. The stationary variances are
    ``v_i = 1 / a_i + eps s2 / (4 a_i (1 - eps a_i / 4))``: without gradient noise no step size has a bias. After ``t``
    steps from w* the first term is ``(1 - (1 - eps a_i / 2)^(2 t - 1)) / a_i`` for ``t >= 1``, and the second has the
    factor ``1 - (1 - eps a_i / 2)^(2 t)``. With ``rho = 1 - eps a / 2`` and the noise ``xi_t``, this follows from ``u_t
    = w_t - sqrt(eps) xi_t / 2``, which is independent of ``xi_t`` and obeys ``u' = rho u + sqrt(eps) (1 + rho) xi / 2``
    from ``u_1 = sqrt(eps) xi_0 / 2``. Leimkuhler and Matthews 2013, Applied Mathematics Research eXpress.

    Args:
        curvature: The ``h_i``.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation.
        step_size: ``eps``.
        gradient_noise: ``s2``, the variance of ``n_beta`` times a minibatch gradient, the same along every weight.
        draws: The numbers of the steps whose losses are averaged, 0 being w* itself; None is long after the start.
        preconditioner: The ``p_i`` of a constant diagonal, which replaces ``eps`` by ``eps p_i``; None is 1.

    Raises:
        SettingError: If a number is out of range, or a direction is unstable: ``eps p_i a_i >= 4``.
    """
    scaled, a = _scaled(curvature, n_beta, gamma)
    eps = _steps(a, step_size, preconditioner, "the Leimkuhler-Matthews method")
    not_negative(gradient_noise=gradient_noise)
    thermal, noise = 1 / a, eps * gradient_noise / (4 * a * (1 - eps * a / 4))
    if draws is not None:
        times = _times(draws)
        rho = 1 - eps * a / 2
        thermal = thermal * torch.where(times == 0, 0, 1 - rho ** (2 * times - 1)).mean(0)
        noise = noise * (1 - rho ** (2 * times)).mean(0)
    return (scaled * (thermal + noise)).sum().item() / 2


def _curvature(curvature: Sequence[float]) -> Weights:
    h = torch.as_tensor(curvature, dtype=torch.float64)
    if h.ndim != 1:
        raise SettingError(f"curvature has shape {tuple(h.shape)}; give one number for each weight.")
    if not len(h):
        raise SettingError("curvature has no entry; give one for each weight.")
    if not bool(h.isfinite().all()):
        raise SettingError(f"curvature is {list(curvature)}; give finite numbers.")
    return h


def _scaled(curvature: Sequence[float], n_beta: float, gamma: float) -> tuple[Weights, Weights]:
    """Returns ``n_beta h`` and ``n_beta h + gamma``."""
    positive(n_beta=n_beta)
    not_negative(gamma=gamma)
    h = _curvature(curvature)
    scaled = n_beta * h
    if not bool((scaled + gamma > 0).all()):
        raise SettingError(
            f"the smallest curvature is {h.min().item():.6g}; with n_beta {n_beta} and gamma {gamma} there is a "
            f"posterior above {-gamma / n_beta:.6g}."
        )
    return scaled, scaled + gamma


def _steps(precision: Weights, step_size: float, preconditioner: Sequence[float] | None, sampler: str) -> Weights:
    """Returns ``eps p_i``, of which every one must be stable."""
    positive(step_size=step_size)
    scale = torch.ones_like(precision) if preconditioner is None else _preconditioner(preconditioner, len(precision))
    steps = step_size * scale
    if not bool((steps * precision < 4).all()):
        limit = 4 / (scale * precision).max().item()
        raise SettingError(f"step_size is {step_size}; {sampler} is stable below {limit:.6g} on this quadratic.")
    return steps


def _preconditioner(entries: Sequence[float], count: int) -> Weights:
    if len(entries) != count:
        raise SettingError(f"preconditioner has {len(entries)} entries; give one for each of the {count} weights.")
    for one in entries:
        positive(**{"an entry of preconditioner": one})
    return torch.tensor(entries, dtype=torch.float64)


def _times(draws: range) -> Float[Tensor, "draw 1"]:
    if not isinstance(cast("object", draws), range) or not draws:
        raise SettingError(f"draws is {draws!r}; give the numbers of the steps, such as range(100, 200).")
    return torch.tensor(list(draws), dtype=torch.float64)[:, None]
