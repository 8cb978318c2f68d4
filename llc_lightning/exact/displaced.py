"""Quadratic losses measured beside their minimum: how each estimator answers, and the correction Delta."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.errors import SettingError, not_negative, positive


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

    Raises:
        SettingError: If a number is out of range, or ``n_beta H + gamma`` is not positive definite.
    """
    scaled, _, pulled, rest = _posterior(hessian, minimum, n_beta, gamma)
    mu = minimum.double()
    delta = ((mu @ scaled @ mu - rest @ scaled @ rest) / 2).item()
    return pulled.trace().item() / 2 - delta, delta


def displaced_variance(
    hessian: Float[Tensor, "weight weight"], minimum: Float[Tensor, "weight"], *, n_beta: float, gamma: float
) -> float:
    """Returns ``Var(n_beta L)`` of the loss of :func:`displaced_value`: what the variance estimator answers.

    With ``S = n_beta H`` and the covariance ``C = (S + gamma)^-1`` it is ``1/2 tr(S C S C) + (m - mu)^T S C S (m -
    mu)``. It needs no baseline, but the second term, of the pull of the localisation, remains.

    Args:
        hessian: ``H``, symmetric.
        minimum: ``mu``.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation.

    Raises:
        SettingError: If a number is out of range, or ``n_beta H + gamma`` is not positive definite.
    """
    scaled, covariance, pulled, rest = _posterior(hessian, minimum, n_beta, gamma)
    slope = scaled @ rest
    return ((pulled @ pulled).trace() / 2 + slope @ covariance @ slope).item()


def displaced_slope(
    hessian: Float[Tensor, "weight weight"],
    minimum: Float[Tensor, "weight"],
    *,
    n_betas: tuple[float, float],
    gamma: float,
) -> float:
    """Returns ``(E_1[L] - E_2[L]) / (1 / n_beta_1 - 1 / n_beta_2)``: what chains at two temperatures answer.

    For the loss of :func:`displaced_value`, whose constants, the baseline among them, cancel. To first order ``E[L] =
    L(mu) + lambda / n_beta``: Watanabe 2013, A widely applicable Bayesian information criterion, JMLR 14.

    Args:
        hessian: ``H``, symmetric.
        minimum: ``mu``.
        n_betas: The two inverse temperatures times sample size.
        gamma: Localisation, the same at both.

    Raises:
        SettingError: If a number is out of range, the two are equal, or ``n_beta H + gamma`` is not positive definite.
    """
    lower, upper = n_betas
    if lower == upper:
        raise SettingError(f"n_betas are both {lower}; give two that differ.")
    values = [displaced_value(hessian, minimum, n_beta=n_beta, gamma=gamma)[0] / n_beta for n_beta in n_betas]
    return (values[0] - values[1]) / (1 / lower - 1 / upper)


def _posterior(
    hessian: Float[Tensor, "weight weight"], minimum: Float[Tensor, "weight"], n_beta: float, gamma: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns ``S = n_beta H``, the covariance ``C = (S + gamma)^-1``, ``S C``, and the minimum less the mean."""
    positive(n_beta=n_beta)
    not_negative(gamma=gamma)
    for name, given in (("hessian", hessian), ("minimum", minimum)):
        if not bool(given.isfinite().all()):
            raise SettingError(f"{name} has an entry that is not finite; give finite numbers.")
    square = hessian.ndim == 2 and hessian.shape == (len(minimum), len(minimum))
    if not square or not torch.allclose(hessian, hessian.mT):
        raise SettingError(
            f"hessian has shape {tuple(hessian.shape)} for {len(minimum)} weights; give a symmetric matrix of theirs."
        )
    scaled = n_beta * hessian.double()
    lowest = float(np.linalg.eigvalsh(scaled.numpy())[0])
    if lowest + gamma <= 0:
        raise SettingError(
            f"the smallest curvature is {lowest / n_beta:.6g}; with n_beta {n_beta} and gamma {gamma} there is a "
            f"posterior above {-gamma / n_beta:.6g}."
        )
    covariance = torch.inverse(scaled + gamma * torch.eye(len(scaled), dtype=torch.float64))
    pulled = scaled @ covariance
    mu = minimum.double()
    return scaled, covariance, pulled, mu - mu @ pulled
