"""What is known of the loss around w* before any chain runs: its curvature along the moved weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.llc.correction import displaced_minimum_correction
from llc_lightning.llc.settings import ChainSettings, Resolution
from llc_lightning.runtime.batches import Batch, Params, n_examples, take
from llc_lightning.runtime.seeding import generator
from llc_lightning.sampling.curvature import (
    Krylov,
    Spectrum,
    all_of,
    flat,
    hessian_diagonal,
    lanczos,
    mean_of,
    probe,
    signs,
)
from llc_lightning.sampling.slices import Moved
from llc_lightning.sampling.stacked import Stack, StackedLoss, joined

_PRODUCTS = 12
_PROBE_PRODUCTS, _PRECONDITIONED_PRODUCTS = 8, 5
_PROBES = 16
_TINY, _SERVED = 1e-30, 0.01
_ENOUGH = 256
WHOLE = 12
"""Weights up to which the whole Hessian costs no more than the quadratures."""


@dataclass(frozen=True)
class Local:
    """The curvature at w*, per lane.

    ``from_probe`` is the quadrature of the Hessian from a few random vectors; ``diagonal`` is Hutchinson's estimate
    where the settings ask for a preconditioner. ``batch`` is what step sizes are chosen on.
    """

    from_probe: Spectrum
    diagonal: Stack | None
    batch: Batch

    def expected_distance2(self, at: Resolution, dimension: int) -> Float[Tensor, "lane"]:
        """Returns the mean squared distance from w* in the quadratic approximation, ``sum_i 1 / (n_beta h_i + gamma)``.

        The sum is estimated by the quadrature of one random probe; without localisation flat directions are infinite.
        """
        nodes = self.from_probe.nodes[0].clamp(min=0)
        return dimension * (self.from_probe.weights[0] / (at.n_beta * nodes + at.gamma)).sum(-1)

    def preconditioner(self, at: Resolution) -> Stack | None:
        """Returns the constant diagonal ``1 / (n_beta max(diag H, 0) + gamma)``, or None."""
        if self.diagonal is None:
            return None
        return {name: 1 / (at.n_beta * value.clamp(min=0) + at.gamma) for name, value in self.diagonal.items()}


def local_curvature(stacked: StackedLoss, data: Batch, settings: ChainSettings, *, seed: int) -> Local:
    """Returns the curvature of the moved weights of every lane.

    The diagonal is of ``settings.curvature_examples`` examples, since its noise matters less, and step sizes,
    which need a largest eigenvalue alone, take a part of those.
    """
    size = settings.curvature_size(n_examples(data))
    few = some_examples(data, min(size, settings.step_examples(n_examples(data))), seed)
    diagonal = None
    if settings.preconditioner == "hutchinson":
        diagonal = hessian_diagonal(stacked, some_examples(data, size, seed), seed=seed, probes=_PROBES)
    products = _PROBE_PRODUCTS if diagonal is None else _PRECONDITIONED_PRODUCTS
    return Local(spectrum_around(stacked, few, stacked.centre, seed, products), diagonal, few)


def spectrum_around(
    stacked: StackedLoss, batch: Batch, start: Stack, seed: int, products: int = _PROBE_PRODUCTS
) -> Spectrum:
    """Returns the whole spectrum of few weights, or its quadrature from a few vectors, of which one is of signs."""
    hessian, dimension = stacked.hessian(start, batch), stacked.layout.dimension
    if dimension <= WHOLE:
        nodes, _ = all_of(hessian, start)
        even = torch.full_like(nodes, 1 / dimension)
        return Spectrum(nodes, even, even.sum(-1) * dimension)
    vectors = [signs(start, seed), *(probe(start, seed, 1 + number) for number in range(_few(dimension)))]
    return mean_of([lanczos(hessian, vector, products) for vector in vectors])


def _few(dimension: int) -> int:
    """Returns of how many random vectors the mean tells a trace about as well as one of many weights does."""
    return min(max(1, _ENOUGH // dimension), 4)


def along_gradient(stacked: StackedLoss, lanes: Sequence[Moved], gradient: Params, batch: Batch) -> Spectrum | Krylov:
    """Returns the quadrature of the Hessian on some examples from the gradient of every lane: all of it, or to grow.

    The gradient is that of all examples.
    """
    along = stack_lanes([lane.read(gradient) for lane in lanes], stacked.width)
    hessian = stacked.hessian(stacked.centre, batch)
    if stacked.layout.dimension > WHOLE:
        return Krylov(hessian, along)
    nodes, vectors = all_of(hessian, stacked.centre)
    parts = (flat(along)[..., None, :] @ vectors)[..., 0, :].square()
    norm2 = parts.sum(-1)
    return Spectrum(nodes, parts / norm2.clamp(min=torch.finfo(norm2.dtype).tiny)[..., None], norm2)


def displacement(along: Spectrum | Krylov, around: Spectrum, at: Resolution, dimension: int) -> Spectrum:
    """Returns the quadrature from the gradient, by as many products as change Delta by more than 1 % of the value.

    The value is that of the quadratic approximation, ``1/2 sum_i n_beta h_i / (n_beta h_i + gamma)``, or Delta where
    that is larger.
    """
    if isinstance(along, Spectrum):
        return along
    felt = at.n_beta * around.nodes.clamp(min=0)
    value = dimension / 2 * (around.weights * felt / (felt + at.gamma).clamp(min=_TINY)).sum(-1)

    def served(spectrum: Spectrum) -> Tensor:
        delta = displaced_minimum_correction(spectrum, n_beta=at.n_beta, gamma=at.gamma)
        return torch.asinh(delta / value.clamp(min=_TINY)) / _SERVED

    return along.served(served, _PRODUCTS)


def some_examples(data: Batch, size: int, seed: int) -> Batch:
    """Returns ``size`` examples, or all where there are no more; the same for every run of one seed."""
    n = n_examples(data)
    return data if n <= size else take(data, which_examples(n, size, seed))


def which_examples(n: int, size: int, seed: int) -> Int[Tensor, "example"]:
    """Returns the numbers of ``size`` of ``n`` examples, drawn at random, since data may be sorted."""
    return torch.randperm(n, generator=generator(seed, "curvature"))[:size]


def stack_lanes(lanes: Sequence[Params], width: int) -> dict[str, Tensor]:
    """Returns lane values as [1, lane, *slice], the last repeated up to ``width``."""
    padded = [*lanes, *[lanes[-1]] * (width - len(lanes))]
    return {name: joined([lane[name][None] for lane in padded])[None] for name in lanes[0]}
