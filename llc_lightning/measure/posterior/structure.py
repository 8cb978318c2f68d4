"""What the draws of one set of chains know: loss gains, the loss kernel, susceptibilities, each with its error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from llc_lightning.llc.covariance import Array, Jackknifed, jackknife
from llc_lightning.llc.record import LLCRecord
from llc_lightning.runtime.status import is_failed

OBSERVED = "watched"
"""The name that the losses of watched examples are observed by."""


@dataclass(frozen=True)
class Structure:
    """Means over the draws of each chain of the excess losses of watched examples, and of their products.

    ``L`` is the mean loss: of the full batch where chains take it, else of the watched examples, since the noise of a
    minibatch would count as variance. All losses are in excess of those at w*, draw by draw, so that products of
    float64 round nothing away.
    """

    e: Array
    """Of ``e_i = l_i(w) - l_i(w*)``, [chain, example]."""
    ee: Array
    """Of ``e_i^2``, [chain, example]."""
    loss: Array
    """Of L in excess of w*, [chain]."""
    loss2: Array
    """Of its square, [chain]."""
    product: Array
    """Of L times ``e_i``, [chain, example]."""
    pairs: Array | None
    """Of ``e_i e_j``, [chain, example, example]; None where examples are not compared."""

    @classmethod
    def of(cls, record: LLCRecord, *, kernel: bool) -> Structure | None:
        """Returns what the healthy chains of an estimate know; None where there is none.

        Args:
            record: An estimate along whose chains the losses of examples were observed.
            kernel: Whether examples are compared with each other.
        """
        alive = alive_chains(record)
        if not alive:
            return None
        seen = record.observed[OBSERVED][alive].double().numpy()
        every = -(-record.settings.draws // seen.shape[1])
        full = record.settings.batch_size is None
        at_looks = record.excess[alive, record.settings.burn_in :: every].double().numpy()
        loss = at_looks if full else seen.mean(2)
        pairs = np.einsum("cdi,cdj->cij", seen, seen, optimize=True) / seen.shape[1] if kernel else None
        product = np.einsum("cd,cdi->ci", loss, seen) / seen.shape[1]
        return cls(seen.mean(1), np.square(seen).mean(1), loss.mean(1), np.square(loss).mean(1), product, pairs)

    def for_published(self, *, whole: bool) -> Structure:
        """Returns it without what the published susceptibility does not need; of the whole model that takes more."""
        return replace(self, e=self.e if whole else self.e[:, :0], ee=self.ee[:, :0], pairs=None)

    def gain(self, groups: Array | None = None) -> Jackknifed:
        """Returns the loss gains ``E[l_i(w) - l_i(w*)]``, [example]; of groups as in :meth:`susceptibility`."""

        def of(kept: npt.NDArray[np.bool_]) -> Array:
            each = self.e[kept].mean(0)
            return each if groups is None else groups @ each

        return self._told(of)

    def variance(self) -> Jackknifed:
        """Returns the mean over examples of the variance of their loss (Watanabe 2010, arXiv:1004.2316), one number."""
        return self._told(lambda kept: (self.ee[kept].mean(0) - np.square(self.e[kept].mean(0))).mean())

    def kernel(self) -> Jackknifed:
        """Returns the loss kernel ``Cov(l_i, l_j)``, [example, example]; NaN where examples are not compared.

        Adam et al. 2025, arXiv:2509.26537.
        """
        pairs = np.full((len(self.e), 1, 1), np.nan) if self.pairs is None else self.pairs
        return self._told(lambda kept: pairs[kept].mean(0) - np.outer(self.e[kept].mean(0), self.e[kept].mean(0)))

    def susceptibility(self, groups: Array | None = None) -> Jackknifed:
        """Returns the plain susceptibility ``-Cov(L, l_j - L)``, [example]: it needs no baseline.

        Args:
            groups: Weights of the examples, [group, example], for the mean loss of each group in place of ``l_j``.
        """

        def of(kept: npt.NDArray[np.bool_]) -> Array:
            each = self._apart(kept)
            return each if groups is None else groups @ each

        return self._told(of)

    def response(self) -> Jackknifed:
        """Returns the mean square of :meth:`susceptibility` over the examples, one number.

        It is a mean of products of two chains, so that the noise of a chain is not squared: without a bias from it, and
        below 0 by noise alone. NaN of a single chain, and without an error of two.
        """
        alone = np.stack([self._apart(np.arange(len(self.e)) == chain) for chain in range(len(self.e))])

        def of(kept: npt.NDArray[np.bool_]) -> Array:
            some = alone[kept]
            pairs = len(some) * (len(some) - 1)
            products = np.square(some.sum(0)) - np.square(some).sum(0)
            return np.asarray(products.mean() / pairs if pairs else np.nan)

        return Jackknifed(of(np.ones(len(self.e), dtype=bool)), self._told(of).stderr)

    def _apart(self, kept: npt.NDArray[np.bool_]) -> Array:
        """Returns the plain susceptibility to each example over some chains, [example]."""
        loss = self.loss[kept].mean()
        own = self.loss2[kept].mean() - loss**2
        return own - (self.product[kept].mean(0) - loss * self.e[kept].mean(0))

    def published(self, whole: Structure) -> Jackknifed:
        """Returns ``E_C[phi (L - l_j)] - E_C[phi] (E[L] - E[l_j])``, [example], with ``phi = L(w) - L(w*)``.

        E_C is over this posterior, E over that of the whole model (Baker et al. 2025, arXiv:2504.18274, appendix C.4).
        Losses in excess of those at w* leave it as it is, so that no estimated baseline enters.
        """

        def of(kept: npt.NDArray[np.bool_]) -> Array:
            mine, theirs = kept[: len(self.e)], kept[: len(whole.e)]
            apart = whole.loss[theirs].mean() - whole.e[theirs].mean(0)
            return self.loss2[mine].mean() - self.product[mine].mean(0) - self.loss[mine].mean() * apart

        return jackknife(of, min(len(self.e), len(whole.e)))

    def responses(self, tasks: Array | None) -> Responses:
        """Returns all that these draws say by themselves.

        Args:
            tasks: Weights of the examples in the mean of each task, [task, example]; None for a module without tasks.
        """
        return Responses(
            self.variance(),
            self.response(),
            _as_kept(self.gain()),
            _as_kept(self.susceptibility()),
            None if self.pairs is None else _as_kept(self.kernel()),
            None if tasks is None else (self.susceptibility(tasks), self.gain(tasks)),
        )

    def _told(self, estimate: Callable[[npt.NDArray[np.bool_]], Array]) -> Jackknifed:
        return jackknife(estimate, len(self.e))


@dataclass(frozen=True)
class Responses:
    """What the draws of one set of chains say by themselves, each with its error; by example as it is kept."""

    variance: Jackknifed
    """The functional variance."""
    response: Jackknifed
    """The mean square of the susceptibilities to the examples."""
    gain: Jackknifed
    """By example, as float32."""
    susceptibility: Jackknifed
    """Likewise."""
    kernel: Jackknifed | None
    """By pair of examples, likewise; None where they are not compared."""
    by_task: tuple[Jackknifed, Jackknifed] | None
    """Susceptibility and gain of every task; None for a module without tasks."""


def _as_kept(told: Jackknifed) -> Jackknifed:
    return Jackknifed(*(each.astype(np.float32) for each in (told.value, told.stderr)))


def alive_chains(record: LLCRecord) -> list[int]:
    """Returns the numbers of the chains that an estimate is of; none where it failed."""
    return [] if is_failed(record.status) else [i for i, mean in enumerate(record.per_chain) if np.isfinite(mean)]


def correlation(kernel: Array) -> Array:
    """Returns a kernel as correlations; NaN for an example whose loss does not vary."""
    size = np.sqrt(np.diagonal(kernel).clip(min=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return kernel / np.outer(size, size)
