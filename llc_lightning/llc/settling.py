"""How stiff the posterior is where the chains are when burn-in ends, and how far they can have settled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.llc.local import WHOLE
from llc_lightning.runtime.batches import Batch
from llc_lightning.sampling.base import Posterior
from llc_lightning.sampling.curvature import Krylov, Spectrum, all_of, flat, signs, taken
from llc_lightning.sampling.products import inner
from llc_lightning.sampling.stacked import Stack, StackedLoss, chain_of
from llc_lightning.sampling.step_size import Stiffness

_PROBES, _QUADRATURES, _PRODUCTS = 8, 4, 5
_LARGE, _FEW = 1024, 2
"""Of more weights than these, two quadratures tell a trace about as well as four of fewer."""
_FLAT = 3e-6
"""Share of the largest stiffness that single precision cannot tell from none."""


@dataclass(frozen=True)
class Settling:
    """The stiffness ``B = P^1/2 (n_beta H + gamma) P^1/2`` at the ends of burn-in, with P the preconditioner or 1.

    Quadratures of the trace of f(B) (``weights``, which sum to the dimension), and of that of M f(B), with M the
    weights of the virial (``weighted``), from signs at several chains. ``rigid`` is the part of the stiffness of each
    node that is the loss's and not the localisation's; where it is negative the node is the localisation's alone.
    """

    nodes: Float[Tensor, "chain lane node"]
    weights: Float[Tensor, "chain lane node"]
    weighted: Float[Tensor, "chain lane node"]
    rigid: Float[Tensor, "chain lane node"]

    @property
    def largest(self) -> Float[Tensor, "lane"]:
        """The largest stiffness met."""
        return self.nodes.amax(-1).amax(0)

    @property
    def typical(self) -> Float[Tensor, "lane"]:
        """The mean over chains of the largest that each met."""
        return self.nodes.amax(-1).mean(0)

    def unsettled(self, left: Callable[[Tensor], Tensor], step_size: Float[Tensor, "lane"]) -> Float[Tensor, "lane"]:
        """Returns the share of the value that directions would still add, which have not settled.

        ``sum_k w_k m_k left_k / sum_k w_k m_k``: m is the part of a direction in the coefficient, and left how much of
        its variance a chain begun at w* lacks, on average over the kept draws. Negative curvature counts as much as its
        opposite, and with its sign. Away from a minimum residuals curve the loss, along some directions on one draw as
        much as they take off along others, so that on average over the draws nothing of that is left.
        """
        opposite = self.nodes + self.rigid.clamp(max=0).abs()
        added = self.weights * self.rigid.sign() * _felt(self.rigid.abs(), opposite)
        lacking = (added * left(step_size[:, None] * opposite)).sum(-1).nansum(0)
        in_all = torch.maximum(added.sum(-1).nansum(0), lacking)
        return torch.where(lacking > 0, lacking / in_all, 0.0)

    def cold(self, left: Callable[[Tensor], Tensor], step_size: Float[Tensor, "lane"]) -> Float[Tensor, "chain lane"]:
        """Returns what half the virial still lacks on average over the kept draws, as each quadrature tells.

        ``1/2 tr(M mean_t (1 - eps B / 2)^2t)`` for Langevin steps from w*.

        Args:
            left: How much of its variance a direction lacks, as a function of step size times stiffness.
            step_size: That of each lane.
        """
        return (self.weighted * left(step_size[:, None] * self.nodes)).sum(-1) / 2

    def heated(self, step_size: Float[Tensor, "lane"]) -> Float[Tensor, "lane"]:
        """Returns what the step size of SGLD adds to the value; NaN beyond the limit of stability.

        ``1/2 sum_k w_k m_k (eps b_k / 4) / (1 - eps b_k / 4)``: the bias where the loss is quadratic, without the noise
        of minibatches.
        """
        of_limit = step_size[:, None] * self.nodes / 4
        felt = _felt(self.rigid.clamp(min=0), self.nodes)
        bias = (self.weights * felt * of_limit / (1 - of_limit)).sum(-1).nanmean(0) / 2
        return bias.where((~(of_limit >= 1)).all(-1).all(0), torch.nan)


def around_centre(spectrum: Spectrum, posterior: Posterior, dimension: int) -> Settling:
    """Returns the same at w*, from the spectrum of the Hessian there; without the weights of a virial."""
    pull = posterior.gamma.double()[:, None]
    rigid = posterior.n_beta.double()[:, None] * spectrum.nodes.clamp(min=0)
    weights = dimension * spectrum.weights
    return Settling(rigid + pull, weights, torch.zeros_like(weights), rigid)


def _felt(rigid: Tensor, nodes: Tensor) -> Tensor:
    """Returns the part of a direction in the coefficient; 0 where single precision cannot tell its curvature."""
    return torch.where(rigid > _FLAT * nodes.amax(-1, keepdim=True), rigid / nodes, 0.0)


StiffnessAt: TypeAlias = Callable[[Stack], tuple[Tensor, Tensor, Tensor, Tensor]]
"""Tells once of the stiffness where a chain is, by the virial's M: nodes, weights of the trace and of that with M, and
the localisation's part of each node, [1, lane, node]. It takes several copies of the weights meanwhile."""


def settling(places: Sequence[StiffnessAt], virial: Stack) -> Settling:
    """Returns the stiffness where the first chains are.

    Args:
        places: What tells of it there.
        virial: M, [chain, lane, *slice].
    """
    nodes, weights, weighted, pull = (
        torch.cat(parts) for parts in zip(*(stiffness(virial) for stiffness in places), strict=True)
    )
    return Settling(torch.maximum(nodes, pull), weights, weighted, nodes - pull)  # NaN where a chain is dead


def places_of(
    stacked: StackedLoss, posterior: Posterior, metric: Stack | None, batch: Batch, position: Stack, *, seed: int
) -> tuple[list[Stack], list[StiffnessAt]]:
    """Returns the curvature where the first chains are, up to 8.

    Of each a probe of the Hessian's diagonal: what random signs, in the metric of the preconditioner, tell of it; and
    of the first few what tells of the stiffness, by a virial that depends on all of the probes.

    Args:
        stacked: The loss.
        posterior: What is sampled.
        metric: The diagonal P, [1 or chain, lane, *slice], or None for 1.
        batch: The examples that the Hessian is measured on.
        position: Where the chains are when burn-in ends.
        seed: The run seed.
    """
    chains = min(len(next(iter(position.values()))), _PROBES)
    quadratures = _FEW if stacked.layout.dimension > _LARGE else _QUADRATURES
    diagonals: list[Stack] = []
    known: list[StiffnessAt] = []
    for chain in range(chains):
        here, stiffness = chain_of(position, chain), Stiffness(stacked, posterior, _own(metric, chain))
        probe = stiffness.rooted(signs(here, seed, chain))
        image = stacked.hessian(here, batch)(probe)
        diagonals.append(
            {name: (value / probe[name]).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0) for name, value in image.items()}
        )
        if chain < quadratures:
            known.append(partial(_stiffness_at, stiffness, batch, here, image, seed, chain))
    return diagonals, known


def _own(of: Stack | None, chain: int) -> Stack | None:
    """Returns what is of one chain, or of all of them."""
    return None if of is None else {name: value[chain % len(value)][None] for name, value in of.items()}


def _stiffness_at(
    stiffness: Stiffness, batch: Batch, here: Stack, image: Stack, seed: int, chain: int, virial: Stack
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns nodes, weights, the weights with the virial's M, and the localisation's part, where a chain is.

    Args:
        stiffness: The operator.
        batch: The examples that the Hessian is measured on.
        here: Where that is.
        image: The Hessian's product with random signs, in the metric; used up.
        seed: The run seed.
        chain: The number of the signs.
        virial: M, [chain, lane, *slice]; the gap is the mean over chains as well.
    """
    product = stiffness.over(stiffness.stacked.hessian(here, batch))
    if stiffness.stacked.layout.dimension <= WHOLE:
        nodes, vectors = all_of(product, here)
        squares = vectors.square()
        pull, weighted = (
            (flat(diagonal)[..., None, :] @ squares)[..., 0, :]
            for diagonal in (stiffness.pull(here), {name: _mean(value) for name, value in virial.items()})
        )
        return nodes, torch.ones_like(nodes), weighted, pull
    vector = signs(here, seed, chain)
    pulled = inner({name: value * vector[name] for name, value in stiffness.pull(here).items()}, vector)
    krylov = Krylov(
        product, vector, image=stiffness.over(lambda _: dict(taken(image)))(vector),
        other={name: _mean(virial[name]) * value for name, value in vector.items()},
    )  # fmt: skip
    del vector
    spectrum = krylov.spectrum(_PRODUCTS)
    pull = (pulled / spectrum.norm2)[..., None].expand_as(spectrum.nodes)
    return spectrum.nodes, spectrum.weights * spectrum.norm2[..., None], krylov.bilinear(_PRODUCTS), pull


def _mean(over_chains: Tensor) -> Tensor:
    return over_chains.mean(0, keepdim=True)
