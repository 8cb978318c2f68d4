"""What an estimate misses because its centre is not a minimum."""

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.curvature import Spectrum


def displaced_minimum_correction(spectrum: Spectrum, *, n_beta: float, gamma: float) -> Float[Tensor, "chain lane"]:
    """Returns Delta, to be added to the estimate; NaN where the Hessian plus ``gamma / n_beta`` is indefinite.

    ``Delta = n_beta/2 z^T (H + 2t) z`` with ``z = (H + t)^-1 grad L(w*)`` and ``t = gamma / n_beta``. For a quadratic
    loss the estimate plus Delta is exactly ``1/2 tr[n_beta H (n_beta H + gamma)^-1]``, the value at the minimum.

    Args:
        spectrum: Of the Hessian, started from the gradient at w*: its quadrature gives Delta for every n_beta at once,
            and equals conjugate gradients with as many products.
        n_beta: Inverse temperature times sample size.
        gamma: Localisation.
    """
    t = gamma / n_beta
    shifted = spectrum.nodes + t
    terms = spectrum.weights * (spectrum.nodes + 2 * t) / shifted.square()
    delta = n_beta / 2 * spectrum.norm2 * torch.where(spectrum.weights > 0, terms, 0.0).sum(-1)
    definite = (spectrum.smallest + t > 0) | (spectrum.norm2 == 0)
    return torch.where(spectrum.norm2 == 0, 0.0, delta).where(definite, torch.nan)
