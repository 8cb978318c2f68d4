"""The curvature of the loss along the moved weights: Lanczos, its Gauss quadrature, and a diagonal estimate.

Everything works on stacks [chain, lane, *slice] and gives one result per chain and lane.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.seeding import generator
from llc_lightning.sampling.stacked import Stack, StackedLoss

_BREAKDOWN = 1e-6


@dataclass(frozen=True)
class Spectrum:
    """Gauss quadrature of an operator A from a vector v: sum_k weights f(nodes) = v^T f(A) v / |v|^2."""

    nodes: Float[Tensor, "chain lane node"]
    weights: Float[Tensor, "chain lane node"]
    norm2: Float[Tensor, "chain lane"]

    @property
    def largest(self) -> Float[Tensor, "chain lane"]:
        """The largest node; an eigenvalue estimate from below."""
        return self.nodes.amax(-1)

    @property
    def smallest(self) -> Float[Tensor, "chain lane"]:
        """The smallest node that the start vector has a part in; an eigenvalue estimate from above."""
        seen = self.weights > _BREAKDOWN * self.weights.amax(-1, keepdim=True)
        return self.nodes.where(seen, torch.inf).amin(-1)


def lanczos(product: Callable[[Stack], Stack], start: Stack, steps: int) -> Spectrum:
    """Returns the Gauss quadrature of the operator ``product`` from ``start``, by ``steps`` products.

    The three-term recurrence without reorthogonalisation (Lanczos 1950; quadrature: Golub and Meurant 2010): the
    quadrature converges all the same. A vector that spans an invariant subspace ends its recurrence early.
    """
    norm2 = _dot(start, start)
    previous = {name: torch.zeros_like(value) for name, value in start.items()}
    vector = _scaled(start, _inverse(norm2.sqrt()))
    beta = torch.zeros_like(norm2)
    scale = torch.zeros_like(norm2)
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    for _ in range(steps):
        image = product(vector)
        alpha = _dot(vector, image)
        scale = torch.maximum(scale, _dot(image, image).sqrt())
        rest = {
            name: image[name]
            - _spread(alpha, vector[name]) * vector[name]
            - _spread(beta, vector[name]) * previous[name]
            for name in image
        }
        beta = _dot(rest, rest).sqrt()
        beta = beta.where(beta > _BREAKDOWN * scale, 0.0)
        previous, vector = vector, _scaled(rest, _inverse(beta))
        diagonal.append(alpha)
        beside.append(beta)
    middle = torch.stack(diagonal, -1).double()
    off = torch.stack(beside, -1)[..., :-1].double()
    matrix = torch.diag_embed(middle) + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
    finite = matrix.isfinite().all(-1).all(-1)
    linalg: Any = torch.linalg  # its functions carry no types
    nodes, vectors = linalg.eigh(matrix.where(finite[..., None, None], 0.0))
    return Spectrum(nodes.where(finite[..., None], torch.nan), vectors[..., 0, :].square(), norm2.double())


def probe(stack: Stack, seed: int, number: int = 0) -> Stack:
    """Returns a vector of independent random signs, the same for every lane and chain."""
    device = next(iter(stack.values())).device
    stream = generator(seed, "probes", number, device=device)
    return {
        name: (torch.randint(2, value.shape[2:], generator=stream, device=device) * 2 - 1)
        .to(value.dtype)
        .expand_as(value)
        for name, value in stack.items()
    }


def hessian_diagonal(stacked: StackedLoss, batch: Batch, *, seed: int, probes: int) -> Stack:
    """Returns Hutchinson's estimate of the Hessian's diagonal at the centre, [1, lane, *slice]: mean of z * (H z).

    Source: Hutchinson 1990; Bekas et al. 2007. Its error is that of ``probes`` random signs; entries can be negative.
    """
    at = stacked.start(1)
    hessian = stacked.hessian(at, batch)
    total = {name: torch.zeros_like(value) for name, value in at.items()}
    for number in range(probes):
        signs = probe(at, seed, number)
        image = hessian(signs)
        for name, value in total.items():
            value.add_(signs[name] * image[name])
    return {name: value / probes for name, value in total.items()}


def _dot(left: Stack, right: Stack) -> Float[Tensor, "chain lane"]:
    return torch.stack([(left[name] * right[name]).flatten(2).sum(2) for name in left]).sum(0)


def _scaled(stack: Stack, factor: Float[Tensor, "chain lane"]) -> Stack:
    return {name: _spread(factor, value) * value for name, value in stack.items()}


def _spread(factor: Float[Tensor, "chain lane"], like: Tensor) -> Tensor:
    return factor.view(*factor.shape, *(1,) * (like.ndim - 2))


def _inverse(value: Tensor) -> Tensor:
    return torch.where(value > 0, 1 / value, 0.0)
