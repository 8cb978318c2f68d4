"""The quadratic losses among the known answers."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.exact.base import KNOWN, KnownAnswer, LearningCoefficient, asked
from llc_lightning.exact.displaced import displaced_slope, displaced_value, displaced_variance
from llc_lightning.exact.quadratic import (
    quadratic_coefficient,
    quadratic_lm_value,
    quadratic_sgld_value,
    quadratic_value,
    quadratic_variance,
)
from llc_lightning.runtime.errors import SettingError, at_least


@dataclass(frozen=True)
class _Curved(KnownAnswer):
    """``1/2 sum_i h_i w_i^2``."""

    curvature: tuple[float, ...] = asked("curvature h of each weight, 0 for a flat direction")

    def coefficient(self) -> LearningCoefficient:
        """Returns half the number of curved directions."""
        return quadratic_coefficient(self.curvature)


@KNOWN.register(
    "quadratic",
    summary="1/2 sum h w^2 at its minimum",
    source="a Gaussian integral; Watanabe 2009, Algebraic Geometry and Statistical Learning Theory",
)
@dataclass(frozen=True)
class Quadratic(_Curved):
    """See :func:`quadratic_value`."""

    def value(self, *, n_beta: float, gamma: float) -> float:
        """Returns the mean."""
        return quadratic_value(self.curvature, n_beta=n_beta, gamma=gamma)


@KNOWN.register(
    "quadratic-variance",
    summary="the fluctuations of 1/2 sum h w^2, which the variance estimator measures",
    source="a Gaussian integral; Watanabe 2009, Algebraic Geometry and Statistical Learning Theory",
)
@dataclass(frozen=True)
class QuadraticVariance(_Curved):
    """See :func:`quadratic_variance`."""

    quantity: ClassVar[str] = "Var(n_beta L)"

    def value(self, *, n_beta: float, gamma: float) -> float:
        """Returns the variance."""
        return quadratic_variance(self.curvature, n_beta=n_beta, gamma=gamma)


@dataclass(frozen=True)
class _Chained(_Curved):
    """A quadratic as a sampler sees it."""

    step_size: float = asked("step size of the sampler")
    gradient_noise: float = asked("variance of n_beta times a minibatch gradient, per weight (default: 0)", default=0.0)
    preconditioner: tuple[float, ...] = asked("constant diagonal, one entry per weight (default: none)", default=())
    burn_in: int = asked("steps from the minimum before the first draw (default: 0)", default=0)
    draws: int = asked("draws averaged; 0 is long after the start (default: 0)", default=0)

    def _chain(self) -> dict[str, Any]:
        at_least(0, burn_in=self.burn_in, draws=self.draws)
        return {
            "step_size": self.step_size,
            "gradient_noise": self.gradient_noise,
            "preconditioner": self.preconditioner or None,
            "draws": range(self.burn_in, self.burn_in + self.draws) if self.draws else None,
        }


@KNOWN.register(
    "quadratic-sgld",
    summary="1/2 sum h w^2 as SGLD sees it: with the bias of its step size, minibatch noise, and its way from w*",
    source="recursion of the second moment; SGLD: Welling and Teh 2011, ICML",
)
@dataclass(frozen=True)
class QuadraticSGLD(_Chained):
    """See :func:`quadratic_sgld_value`."""

    def value(self, *, n_beta: float, gamma: float) -> float:
        """Returns SGLD's mean."""
        return quadratic_sgld_value(self.curvature, n_beta=n_beta, gamma=gamma, **self._chain())


@KNOWN.register(
    "quadratic-lm",
    summary="1/2 sum h w^2 as the Leimkuhler-Matthews method sees it, whose only bias is that of minibatch noise",
    source="recursion of the second moment; Leimkuhler and Matthews 2013, Applied Mathematics Research eXpress",
)
@dataclass(frozen=True)
class QuadraticLM(_Chained):
    """See :func:`quadratic_lm_value`."""

    def value(self, *, n_beta: float, gamma: float) -> float:
        """Returns the method's mean."""
        return quadratic_lm_value(self.curvature, n_beta=n_beta, gamma=gamma, **self._chain())


@dataclass(frozen=True)
class _Displaced(_Curved):
    """``1/2 sum_i h_i (w_i - mu_i)^2``, measured at ``w* = 0``."""

    minimum: tuple[float, ...] = asked("where the minimum is, one entry per weight, seen from w*")

    def _quadratic(self) -> tuple[Float[Tensor, "weight weight"], Float[Tensor, "weight"]]:
        if len(self.minimum) != len(self.curvature):
            raise SettingError(
                f"minimum has {len(self.minimum)} entries and curvature {len(self.curvature)}; give one per weight."
            )
        curvature, minimum = (torch.tensor(one, dtype=torch.float64) for one in (self.curvature, self.minimum))
        return curvature.diag(), minimum


@KNOWN.register(
    "displaced",
    summary="1/2 sum h (w - mu)^2 measured at 0, beside its minimum, from the loss at 0",
    source="a Gaussian integral",
)
@dataclass(frozen=True)
class Displaced(_Displaced):
    """See :func:`displaced_value`."""

    def value(self, *, n_beta: float, gamma: float) -> float:
        """Returns the mean."""
        return displaced_value(*self._quadratic(), n_beta=n_beta, gamma=gamma)[0]


@KNOWN.register(
    "displaced-delta",
    summary="the correction that makes the mean of the displaced quadratic that of its minimum",
    source="a Gaussian integral",
)
@dataclass(frozen=True)
class DisplacedDelta(_Displaced):
    """See :func:`displaced_value`."""

    quantity: ClassVar[str] = "Delta"

    def value(self, *, n_beta: float, gamma: float) -> float:
        """Returns Delta."""
        return displaced_value(*self._quadratic(), n_beta=n_beta, gamma=gamma)[1]


@KNOWN.register(
    "displaced-variance",
    summary="the fluctuations of the displaced quadratic, which the variance estimator measures",
    source="a Gaussian integral",
)
@dataclass(frozen=True)
class DisplacedVariance(_Displaced):
    """See :func:`displaced_variance`."""

    quantity: ClassVar[str] = "Var(n_beta L)"

    def value(self, *, n_beta: float, gamma: float) -> float:
        """Returns the variance."""
        return displaced_variance(*self._quadratic(), n_beta=n_beta, gamma=gamma)


@KNOWN.register(
    "displaced-slope",
    summary="the slope of the displaced quadratic's mean loss between two temperatures",
    source="a Gaussian integral; Watanabe 2013, A widely applicable Bayesian information criterion, JMLR 14",
)
@dataclass(frozen=True)
class DisplacedSlope(_Displaced):
    """See :func:`displaced_slope`."""

    quantity: ClassVar[str] = "dE[L] / d(1 / n_beta)"
    other_n_beta: float = asked("n_beta of the second temperature")

    def value(self, *, n_beta: float, gamma: float) -> float:
        """Returns the slope."""
        return displaced_slope(*self._quadratic(), n_betas=(n_beta, self.other_n_beta), gamma=gamma)
