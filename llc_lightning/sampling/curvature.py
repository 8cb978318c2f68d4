"""The curvature of the loss along the moved weights: Lanczos and its Gauss quadrature, or all of it where it is small.

Everything works on stacks [chain, lane, *slice] and gives one result per chain and lane.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.runtime.batches import Batch, n_examples, take
from llc_lightning.runtime.seeding import generator
from llc_lightning.sampling.products import inner
from llc_lightning.sampling.stacked import Stack, StackedLoss

_BREAKDOWN = 1e-6
_FEWEST = 3
_PARTS, _FEWEST_IN_PART = 4, 16

Product: TypeAlias = Callable[[Stack], Stack]
"""A symmetric operator, one for each chain and lane."""


@dataclass(frozen=True)
class Spectrum:
    """Gauss quadrature of an operator A: sum_k weights f(nodes) = v^T f(A) v / |v|^2, or the mean over several v."""

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


class Krylov:
    """The Lanczos recurrence from one vector, grown as far as what its quadrature serves needs it.

    The three-term recurrence without reorthogonalisation (Lanczos 1950; quadrature: Golub and Meurant 2010): the
    quadrature converges all the same. A vector that spans an invariant subspace ends its recurrence early.

    Args:
        product: The operator.
        start: The vector.
        image: The operator's product with it, where that is known already; used up.
        other: Another vector, for :meth:`bilinear`.
    """

    def __init__(
        self, product: Product, start: Stack, *, image: Stack | None = None, other: Stack | None = None
    ) -> None:
        self.norm2 = inner(start, start)
        self._product = product
        self._image = {} if image is None else _scaled(taken(image), _inverse(self.norm2.sqrt()))
        self._other = other
        self._across: list[Tensor] = []
        self._previous: Stack = {name: value.new_zeros(()).expand_as(value) for name, value in start.items()}
        self._vector: Stack = _scaled(start.items(), _inverse(self.norm2.sqrt()))
        self._beta = torch.zeros_like(self.norm2)
        self._scale = torch.zeros_like(self.norm2)
        self._diagonal: list[Tensor] = []
        self._beside: list[Tensor] = []

    def bilinear(self, size: int) -> Float[Tensor, "chain lane node"]:
        """Returns the weights of ``start^T f(A) other`` on the nodes of ``spectrum(size)``: sum_k weights f(nodes)."""
        self._grow(size)
        vectors, along = self._eigen(size)[1], torch.stack(self._across[:size], -1)
        return self.norm2.double().sqrt()[..., None] * (along[..., None, :] @ vectors)[..., 0, :] * vectors[..., 0, :]

    def spectrum(self, most: int) -> Spectrum:
        """Returns the quadrature by ``most`` products."""
        self._grow(most)
        return self._of(most)

    def served(self, what: Callable[[Spectrum], Float[Tensor, "chain lane"]], most: int) -> Spectrum:
        """Returns the quadrature by as few products as change what it serves by no more than 1, and ``most`` at most.

        Every chain and lane has as many as it would have alone, and to the bit the nodes and weights of these; up to
        ``most`` the others have no weight.
        """
        self._grow(_FEWEST - 1)
        before = what(self._of(_FEWEST - 1))
        used = torch.full(before.shape, most, device=before.device)
        for size in range(_FEWEST, most + 1):
            if bool((used < size).all()):
                break
            self._grow(size)
            now = what(self._of(size))
            used = used.where((used < size) | ~((now - before).abs() <= 1), size)
            before = now
        return self._cut(used, most)

    def _cut(self, used: Int[Tensor, "chain lane"], most: int) -> Spectrum:
        # A larger matrix that is cut off gives other last digits, by the lanes that happen to be beside.
        nodes = torch.zeros(*used.shape, most, dtype=torch.float64, device=used.device)
        weights = torch.zeros_like(nodes)
        for size in range(1, most + 1):
            if not bool((used == size).any()):
                continue
            one, here = self._of(size), (used == size)[..., None]
            first = one.nodes[..., :1].expand(*used.shape, most - size)  # inside of the spectrum
            nodes = nodes.where(~here, torch.cat([one.nodes, first], -1))
            weights = weights.where(~here, torch.cat([one.weights, torch.zeros_like(first)], -1))
        return Spectrum(nodes, weights, self.norm2.double())

    def _grow(self, size: int) -> None:
        while len(self._diagonal) < size:
            vector, previous, image = self._vector, self._previous, self._image or dict(self._product(self._vector))
            alpha = inner(vector, image)
            self._scale = torch.maximum(self._scale, inner(image, image).sqrt())
            if self._other is not None:
                self._across.append(inner(vector, self._other).double())
            self._image, self._previous = {}, vector
            rest = {  # of large networks each of these is as large as all weights: what is used is freed
                name: image.pop(name) - _spread(alpha, value) * value - _spread(self._beta, value) * previous.pop(name)
                for name, value in vector.items()
            }
            beta = inner(rest, rest).sqrt()
            self._beta = beta.where(beta > _BREAKDOWN * self._scale, 0.0)
            factor = _inverse(self._beta)
            self._vector = {name: _spread(factor, rest[name]) * rest.pop(name) for name in vector}
            self._diagonal.append(alpha.double())
            self._beside.append(self._beta.double())

    def _of(self, size: int) -> Spectrum:
        nodes, vectors = self._eigen(size)
        return Spectrum(nodes, vectors[..., 0, :].square(), self.norm2.double())

    def _eigen(self, size: int) -> tuple[Tensor, Tensor]:
        middle = torch.stack(self._diagonal[:size], -1)
        off = torch.stack(self._beside[:size], -1)[..., :-1]
        matrix = torch.diag_embed(middle) + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
        finite = matrix.isfinite().all(-1).all(-1)
        linalg: Any = torch.linalg  # its functions carry no types
        nodes, vectors = linalg.eigh(matrix.where(finite[..., None, None], 0.0))
        return nodes.where(finite[..., None], torch.nan), vectors


def lanczos(product: Product, start: Stack, steps: int) -> Spectrum:
    """Returns the Gauss quadrature of the operator ``product`` from ``start``, by ``steps`` products."""
    return Krylov(product, start).spectrum(steps)


def mean_of(spectra: Sequence[Spectrum]) -> Spectrum:
    """Returns the mean quadrature of several vectors."""
    weights = torch.cat([spectrum.weights / len(spectra) for spectrum in spectra], -1)
    norm2 = torch.stack([spectrum.norm2 for spectrum in spectra]).mean(0)
    return Spectrum(torch.cat([spectrum.nodes for spectrum in spectra], -1), weights, norm2)


def all_of(product: Product, like: Stack) -> tuple[Float[Tensor, "chain lane d"], Float[Tensor, "chain lane d d"]]:
    """Returns the eigenvalues and eigenvectors of an operator, by as many products as it has dimensions."""
    columns: list[Tensor] = []
    for name, value in like.items():
        for number in range(value[0, 0].numel()):
            unit = {other: torch.zeros_like(one) for other, one in like.items()}
            unit[name].flatten(2)[..., number] = 1
            columns.append(flat(product(unit)))
    matrix = torch.stack(columns, -1)
    finite = matrix.isfinite().flatten(2).all(-1)[..., None]
    linalg: Any = torch.linalg  # its functions carry no types
    nodes, vectors = linalg.eigh(((matrix + matrix.mT) / 2).where(finite[..., None], 0.0))
    return nodes.where(finite, torch.nan), vectors


def flat(stack: Stack) -> Float[Tensor, "chain lane d"]:
    """Returns all weights of a stack in a row, in double precision."""
    return torch.cat([value.flatten(2).double() for value in stack.values()], -1)


def signs(stack: Stack, seed: int, number: int = 0) -> Stack:
    """Returns a vector of independent random signs, the same for every lane and chain.

    Of all vectors they tell a diagonal with the least error. A direction can be orthogonal to them: (1, 1) is to half.
    """
    stream = _stream(stack, seed, number)
    return {
        name: (torch.randint(2, value.shape[2:], generator=stream, device=value.device) * 2 - 1)
        .to(value.dtype)
        .expand_as(value)
        for name, value in stack.items()
    }


def probe(stack: Stack, seed: int, number: int = 0) -> Stack:
    """Returns a vector of standard normal numbers, the same for every lane and chain: it meets all directions."""
    stream = _stream(stack, seed, number)
    return {
        name: torch.randn(value.shape[2:], generator=stream, dtype=value.dtype, device=value.device).expand_as(value)
        for name, value in stack.items()
    }


def hessian_diagonal(stacked: StackedLoss, batch: Batch, *, seed: int, probes: int) -> Stack:
    """Returns Hutchinson's estimate of the Hessian's diagonal at the centre, [1, lane, *slice]: mean of z * (H z).

    Source: Hutchinson 1990; Bekas et al. 2007. Its error is that of ``probes`` random signs; entries can be negative.
    Of many examples every probe sees a quarter, which hardly adds to that error.
    """
    at, n = stacked.start(1), n_examples(batch)
    parts = min(_PARTS, max(1, n // _FEWEST_IN_PART), probes)
    hessians = [stacked.hessian(at, take(batch, torch.arange(part, n, parts))) for part in range(parts)]
    total = {name: torch.zeros_like(value) for name, value in at.items()}
    for number in range(probes):
        vector = signs(at, seed, number)
        image = hessians[number % parts](vector)
        for name, value in total.items():
            value.add_(vector[name] * image[name])
    return {name: value / probes for name, value in total.items()}


def _stream(stack: Stack, seed: int, number: int) -> torch.Generator:
    return generator(seed, "probes", number, device=next(iter(stack.values())).device)


def taken(stack: Stack) -> Iterator[tuple[str, Tensor]]:
    """Returns the names and tensors of a stack one by one, which is empty then.

    Of large networks a stack is as large as all weights: what is made of its tensors can take their place.
    """
    for name in list(stack):
        yield name, stack.pop(name)


def _scaled(values: Iterable[tuple[str, Tensor]], factor: Float[Tensor, "chain lane"]) -> Stack:
    return {name: _spread(factor, value) * value for name, value in values}


def _spread(factor: Float[Tensor, "chain lane"], like: Tensor) -> Tensor:
    return factor.view(*factor.shape, *(1,) * (like.ndim - 2))


def _inverse(value: Tensor) -> Tensor:
    return torch.where(value > 0, 1 / value, 0.0)
