"""Five tests of what is claimed of a circuit (Shi et al. 2024, arXiv:2410.13032), on scores that are given.

A score is a number for an example, the larger the better, such as minus the loss. Each test returns the probability
under its null hypothesis, of what was seen or more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.errors import DataError, SettingError
from llc_lightning.runtime.seeding import generator

EPSILON = 0.1
"""How far from one half the share of examples may be on which the circuit beats the network."""
QUANTILE = 0.9
"""The share of random circuits that a claim must beat."""
PERMUTATIONS = 1000


@dataclass(frozen=True)
class Verdict:
    """The outcome of a test."""

    test: str
    null: str
    """What is rejected where ``p`` is small."""
    p: float
    statistic: float
    attainable: float
    """The type-I error at level .05 that is possible: of a count only some values are."""

    @property
    def is_rejected(self) -> bool:
        """Whether the null hypothesis is rejected at level .05."""
        return self.p <= 0.05


def equivalence(
    circuit: Float[Tensor, "example"], network: Float[Tensor, "example"], *, epsilon: float = EPSILON
) -> Verdict:
    """Tests whether a circuit does better than the network on one half of the examples, to ``epsilon``.

    The null hypothesis is ``|P(circuit > network) - 1/2| < epsilon``; the tails are those of the binomial at its edge,
    ``1/2 + epsilon``, on both sides of the larger of the two counts. Ties count one half, rounded down.
    """
    _checked(circuit, network)
    if not 0 <= epsilon < 0.5:
        raise SettingError(f"epsilon is {epsilon}; give a number from 0 to below 0.5.")
    n = len(circuit)
    wins = float((circuit > network).sum()) + float((circuit == network).sum()) / 2
    many = math.floor(max(wins, n - wins))
    share = 0.5 + epsilon
    tails = [binomial_tail(k, n, share) + binomial_tail(k, n, 1 - share) for k in range(n + 1)]
    return _counted("equivalence", "the circuit does as the network", many, tails)


def independence(
    complement: Float[Tensor, "example"],
    network: Float[Tensor, "example"],
    *,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> Verdict:
    """Tests whether what is left out of a circuit tells something of what the network does.

    The null hypothesis is independence; the statistic is HSIC (Gretton et al. 2007) with Gaussian kernels of the median
    distance, its distribution that over permutations of the examples.
    """
    _checked(complement, network)
    first, second = (_centred(_kernel(one)) for one in (complement, network))
    stream = generator(seed, "permutations")
    statistic = float((first * second).mean())
    others = [
        float((first * second[order][:, order]).mean())
        for order in (torch.randperm(len(first), generator=stream) for _ in range(permutations))
    ]
    p = (1 + sum(one >= statistic for one in others)) / (1 + permutations)
    return Verdict("independence", "what is left out knows nothing", p, statistic, 0.05)


def minimality(
    effect: float, random_effects: Float[Tensor, "circuit"], *, quantile: float = QUANTILE, edges: int = 1
) -> Verdict:
    """Tests whether an edge does more than edges that were added at random.

    The null hypothesis is that the edge is no better than the quantile: that removing it changes a circuit less than
    removing a random edge does from the circuit inflated by it, in a share ``quantile`` of cases or fewer. With
    ``edges`` tests it is corrected for all of them (Bonferroni).
    """
    wins = int((abs(effect) > random_effects.abs()).sum())
    tails = [min(1.0, edges * float(tail)) for tail in _tails(random_effects, quantile)]
    return _counted("minimality", "the edge does no more than random ones", wins, tails)


def sufficiency(faithful: float, random_faithful: Float[Tensor, "circuit"], *, quantile: float = QUANTILE) -> Verdict:
    """Tests whether a circuit is more faithful than a share ``quantile`` of random ones of its size."""
    wins = int((faithful > random_faithful).sum())
    return _counted("sufficiency", "no better than random circuits", wins, _tails(random_faithful, quantile))


def partial_necessity(
    faithful: float, random_faithful: Float[Tensor, "circuit"], *, quantile: float = QUANTILE
) -> Verdict:
    """Tests whether the network without a circuit does worse than without a share ``quantile`` of random ones.

    Args:
        faithful: The faithfulness of all that the circuit leaves out.
        random_faithful: The same of random circuits of its size.
        quantile: The share to beat.
    """
    wins = int((faithful < random_faithful).sum())
    return _counted("partial_necessity", "no more needed than random circuits", wins, _tails(random_faithful, quantile))


def binomial_tail(wins: int, n: int, share: float) -> float:
    """Returns the probability of so many successes, or more.

    Example:
        >>> round(binomial_tail(2, 2, 0.5), 3)
        0.25
    """
    if wins <= 0:
        return 1.0
    logs = (
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        + (k * math.log(share) if share else (0.0 if k == 0 else -math.inf))
        + ((n - k) * math.log1p(-share) if share < 1 else (0.0 if k == n else -math.inf))
        for k in range(wins, n + 1)
    )  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, logs)))


def _tails(others: Float[Tensor, "circuit"], share: float) -> list[float]:
    """Returns the probability of every count of others that are beaten, or more."""
    if not len(others):
        raise DataError("there is no random circuit to compare with; give at least one.")
    return [binomial_tail(k, len(others), share) for k in range(len(others) + 1)]


def _counted(test: str, null: str, wins: int, tails: Sequence[float]) -> Verdict:
    """Returns the verdict of a count, given the probability of each count or more."""
    attainable = max([tail for tail in tails if tail <= 0.05], default=0.0)
    return Verdict(test, null, min(1.0, tails[wins]), float(wins), attainable)


def _checked(one: Tensor, other: Tensor) -> None:
    if one.shape != other.shape or one.ndim != 1 or len(one) < 2:
        raise DataError(
            f"the scores have shapes {tuple(one.shape)} and {tuple(other.shape)}; give one number for each of the same "
            "examples, at least 2."
        )


def _kernel(values: Float[Tensor, "example"]) -> Float[Tensor, "example example"]:
    """Returns the Gaussian kernel of the median distance."""
    distance = (values[:, None] - values[None]).double().abs()
    positive = distance[distance > 0]
    width = float(positive.median()) if len(positive) else 1.0
    return (-distance.square() / (2 * width**2)).exp()


def _centred(kernel: Float[Tensor, "example example"]) -> Float[Tensor, "example example"]:
    return kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
