"""What the noise of minibatches adds to an estimate, because it makes the chains hotter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.llc.diagnostics.batch_noise import NOISE_SHARE
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.seeding import generator
from llc_lightning.sampling.base import Posterior, Sampler, StepLoss
from llc_lightning.sampling.centre import Centre
from llc_lightning.sampling.curvature import lanczos, taken
from llc_lightning.sampling.observables.batch_noise import noise_between
from llc_lightning.sampling.products import inner, products, total
from llc_lightning.sampling.stacked import Stack, StackedLoss, chain_of
from llc_lightning.sampling.step_size import Stiffness

_ENDS, _PRODUCTS = 8, 4
_LARGE, _FEW_ENDS = 1024, 2
"""Of more weights than these, the noise at two places tells as much as that at eight of fewer."""
_TINY = 1e-30
_NUMBERS = 2**20
"""Numbers of the gradients that are taken at once."""
_ALL, _FEWEST, _UNMAPPED = 4096, 256, 256
_UNSTABLE = 0.1
"""Near the limit of stability nothing is predicted, and the step is flagged by itself."""
_PLACES = 0.1
"""Relative error of the mean over places, where every example is looked at once."""


@dataclass(frozen=True)
class NoiseBias:
    """What the noise of minibatches adds to the values of lanes, and its standard error."""

    value: Float[Tensor, "lane"]
    stderr: Float[Tensor, "lane"]


@dataclass(frozen=True)
class NoisePrediction:
    """Predicts by how much the noise of minibatches raises a value.

    It is ``1/2 sum_i m_i r_i / (1 - eps b_i / 4)``, exactly so on a quadratic (Leimkuhler and Matthews 2013,
    arXiv:1203.5428): ``r_i`` is the variance that noise adds to a move of weight i over that which belongs there (for
    Langevin steps ``eps n_beta^2 Var(g_i) / (4 B)``, with g the gradient of an example and B of them in a batch),
    ``b_i = n_beta h_i + gamma`` the stiffness, and ``m_i = n_beta h_i / b_i`` how far the loss, and not the
    localisation, decides where the weight goes. The gradients are those of single examples where the chains end, so
    that rare ones of much larger noise count as well: up to 4096 all of them, each at one chain, else so many at random
    that they cost little beside the chains.

    Args:
        stacked: The loss.
        sampler: What moved the chains.
        posterior: What is sampled.
        preconditioner: The constant diagonal, or None.
        batch: The examples that the curvature is measured on.
        data: All examples.
        centre: Their losses at w*.
        batch_size: Examples in a minibatch.
        examples: How many may be looked at.
        further: Gives the loss on further minibatches.
        seed: The run seed.
        step_size: Of every lane.
        stiffest: The largest stiffness that is known.
    """

    stacked: StackedLoss
    sampler: Sampler
    posterior: Posterior
    preconditioner: Stack | None
    batch: Batch
    data: Batch
    centre: Centre
    batch_size: int
    examples: int
    further: Callable[[], StepLoss]
    seed: int
    step_size: Float[Tensor, "width"]
    stiffest: Float[Tensor, "width"]

    def bias(self, end: Stack, healthy: Sequence[int], value: Float[Tensor, "lane"]) -> NoiseBias:
        """Returns what is added to each lane's value; NaN where the sampler takes the noise off by itself.

        All m are taken for 1 and all b for the largest, which is a bound, except where that is much of the value: there
        the quadrature of the Hessian from the noise itself, where some chains end, says how much of it the loss feels.

        Args:
            end: Where the chains end.
            healthy: The rows of those that did not die on any lane, or of all.
            value: Of each lane.
        """
        # What a sampler makes of noise is a multiple of every weight's own, which ones tell.
        factor = self.sampler.batch_noise({name: torch.ones_like(value[:1]) for name, value in end.items()})
        if factor is None:
            unknown = torch.full_like(value, torch.nan)
            return NoiseBias(unknown, unknown)
        rows = torch.tensor(healthy)
        bound, error = self._noise(_rows(end, rows), {name: _own(each, rows) for name, each in factor.items()})
        lanes = len(value)
        bound, error, felt = bound[:lanes].cpu(), error[:lanes].cpu(), self._grown(self.stiffest)[:lanes].cpu()
        much = bound * felt > NOISE_SHARE * (value - bound * felt).abs()
        if bool(much.any()):
            felt = self._felt(end)[:lanes].cpu().where(much, felt)
        return NoiseBias(bound * felt, error * felt)

    def _grown(self, stiffness: Float[Tensor, "*node width"]) -> Float[Tensor, "*node width"]:
        """Returns ``1 / (1 - eps b / 4)``, by which steps of finite size raise what noise adds."""
        return 1 / (1 - self.step_size.double() * stiffness.double() / 4).clamp(min=_UNSTABLE)

    def _noise(self, at: Stack, factor: Stack) -> tuple[Tensor, Tensor]:
        """Returns the bound of every lane and its error."""
        n, chains = len(self.centre.losses), len(next(iter(at.values())))
        count = n if n <= _ALL else min(n, max(_FEWEST, self.examples))
        if not self.stacked.vmapped:
            count = min(count, _UNMAPPED)
        width = sum(value[0].numel() for value in at.values())
        passes = -(-count // max(chains, min(count, _NUMBERS // width)))
        chunk = -(-count // (passes * chains)) * chains
        order = torch.randperm(n, generator=generator(self.seed, "noise-examples"))[:count]
        chain = torch.arange(passes * chunk) % chains
        spread = Spread(factor, chains)
        sizes: list[Tensor] = []
        for start in range(0, count, chunk):
            rows = torch.arange(start, start + chunk) % count  # the last ones again, so that all have one shape
            new = slice(None, min(chunk, count - start))
            index, where = order[rows], chain[start : start + chunk]
            loss = StepLoss(self.stacked, self.data, self.centre.losses, index[:, None].to(self.centre.losses.device))
            gradient = dict(self.sampler.look(_rows(at, where), loss).gradient)
            del loss  # with what it keeps
            sizes.append(inner(gradient, gradient)[new])
            spread.add(gradient, new.stop)
        bound = spread.variance(torch.bincount(chain[:count], minlength=chains)).mean(0) / (2 * self.batch_size)
        size = torch.cat(sizes).double()
        relative = size.std(0) / size.mean(0).clamp(min=_TINY) / count**0.5 if count > 1 else torch.ones_like(bound)
        return bound, bound * (_PLACES if count == n else relative.nan_to_num(nan=0.0) + _PLACES)

    def _felt(self, end: Stack) -> Float[Tensor, "width"]:
        """Returns what the loss feels of the noise, as a share of it."""
        gradients = (self.sampler.look(end, self.further()).gradient for _ in range(2))
        noise = noise_between(self.sampler, *gradients) or {}
        ends = _ENDS if self.stacked.layout.dimension <= _LARGE else _FEW_ENDS
        rows = range(min(ends, len(next(iter(end.values())))))
        found = [self._felt_by(chain_of(end, row), chain_of(noise, row)) for row in rows]
        total = sum(size for _, size in found)
        felt = sum(share * size for share, size in found) / total
        return torch.as_tensor(felt).nan_to_num(nan=1.0)

    def _felt_by(self, at: Stack, noise: Stack) -> tuple[Float[Tensor, "width"], Float[Tensor, "width"]]:
        """Returns what the loss feels of one chain's noise, as a share of it, and the noise's square."""
        metric = self.sampler.metric or self.preconditioner
        size, start = inner(noise, noise)[0].double(), noise
        if metric is not None:
            metric = {name: value[:1] for name, value in metric.items()}
            start = {name: metric[name].sqrt() * value for name, value in noise.items()}
        found = lanczos(Stiffness(self.stacked, self.posterior, metric).product(at, self.batch), start, _PRODUCTS)
        pull = self.posterior.gamma * found.norm2[0] / size  # the localisation's part of the stiffness
        pull = pull.clamp(min=_TINY)[:, None]
        nodes = torch.maximum(found.nodes[0], pull)
        return (found.weights[0] * (1 - pull / nodes) * self._grown(nodes.T).T).sum(-1), size


class Spread:
    """The variance over examples of vectors at every chain, summed over weights: mean square less square of the mean.

    Both of what is left when the first vector of the chain is taken off: where all of them are the same nothing is,
    however long they are.

    Args:
        factor: What every weight counts, [1 or chain, lane, *slice].
        chains: How many there are.
    """

    def __init__(self, factor: Stack, chains: int) -> None:
        self._factor = factor
        self._chains = chains
        self._first: Stack = {}
        self._sums: Stack = {}
        self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, rows: Stack, stop: int) -> None:
        """Counts the rows before ``stop``, of one chain after the other; used up."""
        parts: list[Tensor] = []
        whole, beyond = divmod(stop, self._chains)
        for name, value in taken(rows):
            each = value.view(-1, self._chains, *value.shape[1:])
            left = each - self._first.setdefault(name, each[0].clone())
            left[whole : whole + 1, beyond:] = 0
            left[whole + 1 :] = 0
            summed = left.sum(0) if len(left) > 1 or name not in self._sums else left[0]
            self._sums[name] = self._sums[name].add_(summed) if name in self._sums else summed
            left.mul_(self._factor[name])
            parts.append(products(left.flatten(0, 1), left.flatten(0, 1)).double())
        squares = total(parts)
        squares = squares.view(-1, self._chains, squares.shape[1]).sum(0)
        self._squares = self._squares.to(squares.device) + squares

    def variance(self, counts: Int[Tensor, "chain"]) -> Float[Tensor, "chain lane"]:
        """Returns it, given how many rows of every chain were counted."""
        each = counts.clamp(min=1).to(self._squares.device)[:, None]
        mean = {name: value.mul_(self._factor[name]) for name, value in taken(self._sums)}
        return (self._squares / each - inner(mean, mean).double() / each.square()).clamp(min=0)


def _rows(stack: Stack, rows: Int[Tensor, "row"]) -> Stack:
    """Returns some chains of a stack; the stack itself where they are all of them in their order."""
    every = torch.arange(len(next(iter(stack.values()))))
    if torch.equal(rows, every):
        return stack
    return {name: value[rows.to(value.device)] for name, value in stack.items()}


def _own(value: Tensor, rows: Int[Tensor, "row"]) -> Tensor:
    """Returns what belongs to some chains, or to all of them alike."""
    return value if len(value) == 1 else value[rows.to(value.device)]
