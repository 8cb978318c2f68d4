"""Several estimators of the local learning coefficient from the same chains."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from llc_lightning.llc.draws import Draws, error_of, ess_of
from llc_lightning.runtime.registry import Registry


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error, which is NaN for a single chain."""

    value: float
    stderr: float


@dataclass(frozen=True)
class KeptDraws:
    """The kept draws of healthy chains.

    ``scaled`` is ``n_beta`` times the excess loss of the minibatch; ``first_order`` is ``n_beta`` times its part of
    first order at w*, or None. ``virial`` is ``(w - w*) . M grad U`` at every ``len(draws) / len(virials)``-th draw,
    and ``trace`` that of ``M``, one or [chain, 1]; None where there is no M. ``blind`` says that M is 1 for want of a
    curvature. ``plain`` is the virial with ``M = 1``. ``cold`` is what half the virial is predicted to lack, because
    the chains are on their way to equilibrium. ``watched`` are excess losses of single
    examples at some draws, [chain, draw, example]. ``pair`` are scaled excess losses at the same draws on two
    minibatches. ``before`` is what ``scaled`` was in the last three quarters of burn-in, of chains from w*.
    """

    scaled: Draws
    n_beta: float
    minibatch: bool
    first_order: Draws | None = None
    virial: Draws | None = None
    trace: Draws | float = math.nan
    blind: bool = False
    plain: Draws | None = None
    dimension: int = 0
    cold: Estimate = Estimate(0.0, 0.0)
    watched: Draws | None = None
    pair: tuple[Draws, Draws] | None = None
    before: Draws | None = None


_FEW = 8
MODEL_ERROR = 0.2
"""Standard error of what is predicted from the curvature at a few places, as a share of it."""

Estimator: TypeAlias = Callable[[KeptDraws], Estimate | None]


@dataclass(frozen=True)
class EstimatorFacts:
    """What is told of an estimator."""

    may_be_value: bool = False
    """It may stand for the value, since it never lacks what it needs; the others are reported beside the value."""


ESTIMATORS: Registry[Estimator, EstimatorFacts] = Registry("estimator", EstimatorFacts, revised=True)
"""All estimators by name; each returns None where the chains did not record what it needs."""


@ESTIMATORS.register(
    "mean",
    summary="n_beta times the mean excess loss, paired with w* minibatch by minibatch",
    source="Lau et al. 2023, arXiv:2308.12108",
    may_be_value=True,
)
def mean(kept: KeptDraws) -> Estimate:
    """Returns the mean of the scaled excess loss."""
    return _of(kept.scaled)


@ESTIMATORS.register(
    "first_order",
    summary="the mean without the minibatch's first-order term at w*, whose expectation is 0",
    source="Baker et al. 2019, arXiv:1706.05439, for gradients",
    may_be_value=True,
)
def first_order(kept: KeptDraws) -> Estimate | None:
    """Returns the mean of the scaled excess loss minus ``n_beta (w - w*) . (grad L_b(w*) - grad L(w*))``."""
    return None if kept.first_order is None else _of(kept.scaled - kept.first_order)


@ESTIMATORS.register(
    "stein",
    summary="the mean plus half of what the virial misses of its value in equilibrium: independent of the step size's "
    "bias where the loss is quadratic",
    source="Assaraf and Caffarel 1999, Phys. Rev. Lett. 83; Mira et al. 2013, arXiv:1012.2983",
)
def stein(kept: KeptDraws) -> Estimate | None:
    """Returns the mean plus ``1/2 (tr M - E[(w - w*) . M grad U])``, which is 0 for any loss and constant M.

    The identity is Stein's, by partial integration under ``p ~ exp(-U)``. With ``M = n_beta H (n_beta H + gamma)^-1``
    and a quadratic loss the estimate has no error at all, also on the way to equilibrium and at a finite step size.
    """
    if kept.virial is None or kept.blind or stein_gap(kept) is None:
        return None
    # The same draws in both terms: what they have in common cancels.
    every = -(-kept.scaled.shape[1] // kept.virial.shape[1])
    return _of(kept.scaled[:, ::every] + (kept.trace - kept.virial) / 2)


@ESTIMATORS.register(
    "variance",
    summary="the variance of the scaled loss (heat capacity), which needs no baseline",
    source="Watanabe 2009; shift-invariant: arXiv:2606.22389",
)
def variance(kept: KeptDraws) -> Estimate | None:
    """Returns ``Var(n_beta L)``, pooled over chains; the noise of minibatches is taken off.

    It is what the mean gains less of when n_beta grows, ``Var = E - dE / d ln n_beta`` for the mean E: the two agree
    where the mean depends on n_beta no more. With minibatches it is the covariance of the losses on two of them,
    neither of which has moved the chain yet. Deviation from the source, which takes off an estimate of their variance.

    What the mean of all draws takes up of their variance is added again, as far as chains show it. The error is at
    least that of as many independent normal draws as the effective sample size tells, ``Var sqrt(2 / ESS)``: squares
    have long tails, so that few of them look alike by chance.
    """
    pair = kept.pair if kept.minibatch else (kept.scaled, kept.scaled)
    if pair is None or pair[0].size < _FEW:
        return None
    first, second = pair
    products = (first - first.mean()) * (second - second.mean())
    # The mean of all draws follows them: what chain means vary by over the number of chains, it hides of the variance.
    means = np.stack([first.mean(1), second.mean(1)])
    taken_up = float(np.cov(means)[0, 1]) / len(first) if len(first) > 1 else 0.0
    value = float(products.mean()) + taken_up
    return Estimate(value, max(error_of(products), abs(value) * math.sqrt(2 / ess_of(first))))


@ESTIMATORS.register(
    "functional_variance",
    summary="n_beta / 2 times the posterior variance of an example's loss, averaged over watched examples: the "
    "singular fluctuation, where the loss is a negative log-likelihood; the quantity of this name is 2 n_beta times it",
    source="Watanabe 2010, arXiv:1004.2316 (WAIC)",
)
def functional_variance(kept: KeptDraws) -> Estimate | None:
    """Returns ``n_beta / 2 mean_i Var_w(l_i(w))``; for a regular model at its truth half the number of weights."""
    watched = kept.watched
    if watched is None or watched.shape[1] < 2:
        return None
    per_chain = watched.var(axis=1, ddof=1).mean(-1) * kept.n_beta / 2
    # Within a chain an example varies less than over all of them, by what the chain means differ.
    means = watched.mean(1)
    between = float(means.var(axis=0, ddof=1).mean()) * kept.n_beta / 2 if len(means) > 1 else 0.0
    spread = float(per_chain.std(ddof=1)) / math.sqrt(len(per_chain)) if len(per_chain) > 1 else math.nan
    return Estimate(float(per_chain.mean()) + between, spread)


def slope(lower: tuple[float, Draws], upper: tuple[float, Draws]) -> Estimate:
    """Returns ``(E_1 - E_2) / (1 / n_beta_1 - 1 / n_beta_2)``, E the mean loss at two inverse temperatures.

    It needs no baseline, and is the coefficient between the two (Watanabe 2013, arXiv:1208.6338). The error is that of
    the chains' own slopes, since the same chain has the same random numbers at both.

    Args:
        lower: n_beta and the scaled excess loss of every chain, [chain], at the one.
        upper: The same at the other.
    """
    (n_beta_1, scaled_1), (n_beta_2, scaled_2) = lower, upper
    per_chain = (scaled_1 / n_beta_1 - scaled_2 / n_beta_2) / (1 / n_beta_1 - 1 / n_beta_2)
    per_chain = per_chain[np.isfinite(per_chain)]
    spread = float(per_chain.std(ddof=1)) / math.sqrt(len(per_chain)) if len(per_chain) > 1 else math.nan
    return Estimate(float(per_chain.mean()) if len(per_chain) else math.nan, spread)


def stein_gap(kept: KeptDraws) -> Estimate | None:
    """Returns ``1/2 (tr M - E[(w - w*) . M grad U])``: 0 in equilibrium, negative where the chains are too hot.

    With M = 1 for want of a curvature, flat directions that have not settled would look too cold; only heat is told.
    """
    if kept.virial is None or kept.virial.size == 0 or not np.mean(kept.trace) > 0:
        return None
    gap = _of((kept.trace - kept.virial) / 2)
    return None if kept.blind and gap.value > 0 else gap


def unexplained(kept: KeptDraws) -> Estimate | None:
    """Returns the Stein gap without what is predicted of the way to equilibrium: 0 but for errors of the steps.

    Negative where the steps heat the chains, positive where they are colder than the curvature tells.
    """
    gap = None if kept.blind else stein_gap(kept)
    return None if gap is None else _beyond(gap, kept.cold)


def plain_gap(kept: KeptDraws) -> Estimate | None:
    """Returns the gap of the virial with M = 1, which every weight enters, also where the curvature is 0 or a kink."""
    return None if kept.plain is None or kept.plain.size == 0 else _of((kept.dimension - kept.plain) / 2)


def _beyond(gap: Estimate, predicted: Estimate) -> Estimate:
    doubt = MODEL_ERROR * abs(predicted.value)
    return Estimate(gap.value - predicted.value, math.hypot(gap.stderr, predicted.stderr, doubt))


def _of(draws: Draws) -> Estimate:
    return Estimate(float(draws.mean()), error_of(draws))
