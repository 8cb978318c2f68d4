"""What the noise of minibatches adds to an estimate, because it makes the chains hotter."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.llc.diagnostics.batch_noise import NOISE_SHARE
from llc_lightning.llc.spread import Mean, Spread
from llc_lightning.runtime.batches import Batch, take
from llc_lightning.runtime.seeding import generator
from llc_lightning.sampling.base import Posterior, Sampler, StepLoss
from llc_lightning.sampling.centre import Centre
from llc_lightning.sampling.curvature import lanczos
from llc_lightning.sampling.observables.batch_noise import noise_between
from llc_lightning.sampling.products import inner
from llc_lightning.sampling.stacked import Stack, StackedLoss, chain_of
from llc_lightning.sampling.step_size import Stiffness

_ENDS, _PRODUCTS = 8, 4
_LARGE, _FEW_ENDS = 1024, 2
"""Of more weights than these, the noise at two places tells as much as that at eight of fewer."""
_TINY = 1e-30
_NUMBERS = 2**20
"""Numbers of the gradients that are taken at once."""
_ALL, _FEWEST, _UNMAPPED = 4096, 256, 256
_EACH = 8
"""Examples that a chain has at least, where there are so many: chains beyond are not looked at."""
_STEEPEST = 64
"""How many of the examples whose losses changed the most are looked at one by one, at least."""
_RARE = 16
"""Of so many examples one is rare, at most."""
_LOSSES = 16
"""Examples of a chain whose losses are taken at once, at least."""
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
    that rare ones of much larger noise count as well: up to 4096 all of them, each at one chain; else so many at random
    that they cost little beside the chains, and the few of all whose losses the chains changed the most.

    Args:
        stacked: The loss.
        sampler: What moved the chains.
        posterior: What is sampled.
        preconditioner: The constant diagonal, or None.
        batch: The examples that the curvature is measured on.
        data: All examples.
        centre: Their losses at w*.
        batch_size: Examples in a minibatch.
        examples: Of how many the gradients may be taken.
        lookups: Of how many the losses may be.
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
    lookups: int
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
        rows = torch.tensor(healthy)[: max(1, len(self.centre.losses) // _EACH)]
        bound, error = self._noise(_rows(end, rows), {name: _own(each, rows) for name, each in factor.items()})
        lanes = len(value)
        bound, error, felt = bound[:lanes].cpu(), error[:lanes].cpu(), self._grown(self.stiffest)[:lanes].cpu()
        much = bound * felt > NOISE_SHARE * (value - bound * felt).abs()
        if bool(much.any()):
            seen = self._felt(end)[:lanes].cpu()
            felt = seen.where(much & ~seen.isnan(), felt)
        return NoiseBias(bound * felt, error * felt)

    def _grown(self, stiffness: Float[Tensor, "*node width"]) -> Float[Tensor, "*node width"]:
        """Returns ``1 / (1 - eps b / 4)``, by which steps of finite size raise what noise adds."""
        return 1 / (1 - self.step_size.double() * stiffness.double() / 4).clamp(min=_UNSTABLE)

    def _noise(self, at: Stack, factor: Stack) -> tuple[Tensor, Tensor]:
        """Returns the bound of every lane and its error."""
        n, chains = len(self.centre.losses), len(next(iter(at.values())))
        count, looked = n, n
        if n > _ALL:
            count = min(n, max(_FEWEST, self.examples))
            looked = min(n, max(count, self.lookups))
        if not self.stacked.vmapped:
            count = looked = min(count, _UNMAPPED)
        width = sum(value[0].numel() for value in at.values())
        passes = -(-count // max(chains, min(count, _NUMBERS // width)))
        chunk = -(-count // (passes * chains)) * chains
        order = torch.randperm(n, generator=generator(self.seed, "noise-examples"))[:looked]
        steep = (
            self._steepest(at, order, min(count // 2, looked // _RARE))
            if looked > count
            else torch.zeros(looked, self.stacked.width).bool()
        )
        spread, sizes = Spread(factor, chains, n), Mean()
        some = torch.arange(passes * chunk)
        for rows, gradient in self._gradients(at, order, some, count, chunk):
            counted = ~steep[rows % count] & (rows < count)[:, None]
            sizes.add(inner(gradient, gradient), counted)
            spread.add(gradient, rows < count, counted)
        variance = spread.variance()
        error = variance * sizes.relative_error() if count < n else torch.zeros_like(variance)
        if looked > count:
            squares = self._squares(at, order, steep, spread, chunk).to(variance.device)
            variance = variance + squares.sum(0) / looked
            error = (error.square() + squares.square().sum(0) / looked**2 * (1 - looked / n)).sqrt()
        bound = variance / (2 * self.batch_size)
        return bound, error / (2 * self.batch_size) + _PLACES * bound

    def _gradients(
        self, at: Stack, order: Tensor, positions: Int[Tensor, "row"], end: int, chunk: int
    ) -> Iterator[tuple[Int[Tensor, "row"], Stack]]:
        """Yields rows and the gradients of single examples, of one chain after the other; beyond the end, of any."""
        chains = len(next(iter(at.values())))
        where = torch.arange(chunk) % chains
        for rows in positions.view(-1, chunk):
            index = order[rows % end][:, None].to(self.centre.losses.device)
            loss = StepLoss(self.stacked, self.data, self.centre.losses, index)
            yield rows, dict(self.sampler.look(_rows(at, where), loss).gradient)

    def _squares(
        self, at: Stack, order: Tensor, steep: Bool[Tensor, "example width"], spread: Spread, chunk: int
    ) -> Float[Tensor, "row width"]:
        """Returns the squares of the noise of the steepest examples of each lane."""
        chains, looked = len(next(iter(at.values()))), len(order)
        where = _by_chain(steep.any(1).nonzero()[:, 0], chains, chunk)
        found: list[Tensor] = []
        for rows, gradient in self._gradients(at, order, where, looked, chunk):
            counted = steep[rows % looked] & (rows < looked)[:, None]
            found.append(spread.about_mean(gradient, counted))
        return torch.cat(found)

    def _steepest(self, at: Stack, order: Int[Tensor, "example"], most: int) -> Bool[Tensor, "example width"]:
        """Returns for every lane which examples' losses a chain, of which each has its share, changed the most.

        Rare examples of large noise are among them, of which a sample would have none. So many of all lanes together.
        """
        chains, looked = len(next(iter(at.values()))), len(order)
        moved = torch.zeros(looked, self.stacked.width, dtype=self.centre.losses.dtype)
        size = min(max(_LOSSES, self.batch_size), -(-looked // chains)) * chains
        for start in range(0, looked, size):
            rows = torch.arange(start, start + size) % looked  # beyond the last the first, so that all have one shape
            index = order[rows].view(-1, chains).T.to(self.centre.losses.device)
            losses = self.stacked.losses(at, take(self.data, index), per_chain=True)
            change = (losses - self.centre.losses[index][:, None]).permute(2, 0, 1).reshape(size, -1)
            moved[start : start + size] = change[: looked - start].to(moved)  # the first have another chain's by now
        for chain in range(chains):
            own = moved[chain::chains]
            own -= own.mean(0)
        steep = moved.abs().nan_to_num(nan=0.0).topk(max(_STEEPEST, most // self.stacked.width), 0).indices
        return torch.zeros_like(moved, dtype=torch.bool).scatter_(0, steep, value=True)

    def _felt(self, end: Stack) -> Float[Tensor, "width"]:
        """Returns what the loss feels of the noise, as a share of it; NaN where two minibatches have none."""
        gradients = (self.sampler.look(end, self.further()).gradient for _ in range(2))
        noise = noise_between(self.sampler, *gradients) or {}
        ends = _ENDS if self.stacked.layout.dimension <= _LARGE else _FEW_ENDS
        rows = range(min(ends, len(next(iter(end.values())))))
        found = [self._felt_by(chain_of(end, row), chain_of(noise, row)) for row in rows]
        total = sum(size for _, size in found)
        return torch.as_tensor(sum(share * size for share, size in found) / total)

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


def _rows(stack: Stack, rows: Int[Tensor, "row"]) -> Stack:
    """Returns some chains of a stack; the stack itself where they are all of them in their order."""
    every = torch.arange(len(next(iter(stack.values()))))
    if torch.equal(rows, every):
        return stack
    return {name: value[rows.to(value.device)] for name, value in stack.items()}


def _own(value: Tensor, rows: Int[Tensor, "row"]) -> Tensor:
    """Returns what belongs to some chains, or to all of them alike."""
    return value if len(value) == 1 else value[rows.to(value.device)]


def _by_chain(positions: Int[Tensor, "example"], chains: int, chunk: int) -> Int[Tensor, "row"]:
    """Returns positions in rows of one chain after the other, each its own; filled up by ones that are beyond all."""
    own = [positions[positions % chains == chain] for chain in range(chains)]
    longest = -(-max(len(some) for some in own) * chains // chunk) * chunk // chains
    beyond = torch.iinfo(positions.dtype).max
    return torch.stack([torch.cat([some, some.new_full((longest - len(some),), beyond)]) for some in own], 1).flatten()
