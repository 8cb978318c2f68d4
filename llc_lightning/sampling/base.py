"""The contract of a sampler, the loss that it sees in a step, the Langevin move, and the table of samplers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.runtime.batches import Batch, take
from llc_lightning.runtime.registry import Registry
from llc_lightning.sampling.stacked import Stack, StackedLoss


@dataclass(frozen=True)
class Posterior:
    """The localised tempered posterior ``p(w) ~ exp(-n_beta L(w) - gamma/2 |w - w*|^2)`` of every lane.

    The centre is [1, lane, *slice] by parameter. Source: Lau et al. 2023, arXiv:2308.12108.
    """

    centre: Stack
    n_beta: Float[Tensor, "lane"]
    gamma: Float[Tensor, "lane"]
    gradient: Stack | None = None
    """That of the mean loss over all examples at the centre, [1, lane, *slice]; what a control variate needs."""


class Evaluated(NamedTuple):
    """The mean loss over the examples of a step, in excess of that of w* on the same examples, and its gradient."""

    excess: Float[Tensor, "chain lane"]
    gradient: Stack


@runtime_checkable
class Evaluate(Protocol):
    """Evaluates the loss on the examples of one step."""

    @property
    def minibatch(self) -> bool:
        """Whether the examples are some of all, drawn by every chain for itself."""
        ...

    def __call__(self, position: Stack) -> Evaluated:
        """Returns the loss and its gradient at any position."""
        ...

    def gradient_at_centre(self) -> Stack:
        """Returns the gradient at the centre, on the same examples."""
        ...


@runtime_checkable
class Noise(Protocol):
    """The random numbers of all chains; all lanes share them."""

    def normal(self) -> Stack:
        """Draws standard normal noise, [chain, 1, *slice]; overwritten by the next call."""
        ...

    def uniform(self) -> Float[Tensor, "chain 1"]:
        """Draws a number between 0 and 1 for every chain."""
        ...


class Sampler(ABC):
    """A Markov chain whose stationary distribution is the posterior, stepped for all chains and lanes at once.

    Args:
        posterior: What is sampled.
        step_size: ``eps`` of each lane, in the convention ``w' = w - eps/2 grad U + sqrt(eps) xi``.
        preconditioner: Optional constant positive diagonal, [1, lane, *slice]; ``eps`` becomes ``eps *
            preconditioner``.
    """

    @abstractmethod
    def __init__(
        self, posterior: Posterior, step_size: Float[Tensor, "lane"], preconditioner: Stack | None
    ) -> None: ...

    def look(self, position: Stack, evaluate: Evaluate) -> Evaluated:
        """Returns the loss and the gradient at ``position``, before it is moved; the mean of what it draws is exact."""
        return evaluate(position)

    @abstractmethod
    def step(self, position: Stack, here: Evaluated, evaluate: Evaluate, noise: Noise) -> None:
        """Moves ``position`` in place.

        Args:
            position: Where the chains are.
            here: What ``look`` said of it.
            evaluate: Evaluates further positions on the same examples.
            noise: The random numbers.
        """

    def settle(self) -> None:
        """Ends what adapts; called once, after burn-in, so that the kept draws are those of one fixed chain."""
        return

    @abstractmethod
    def batch_noise(self, noise: Stack) -> Stack | None:
        """Returns what noise in the gradient adds to a move, as a multiple of the noise that belongs there.

        None where the sampler takes noise off by itself, or has none: every sampler must say so, since without it no
        estimate is ever flagged for the noise of its minibatches.
        """

    @staticmethod
    def contraction(stiffness: Tensor) -> Tensor:
        """Returns by what a step shrinks a distance, by step size times curvature: as Langevin steps do."""
        return (1 - stiffness / 2).abs()

    @property
    def metric(self) -> Stack | None:
        """The diagonal that an adapting sampler has found so far, [chain, lane, *slice]; None for all others."""
        return None

    @property
    def acceptance(self) -> Float[Tensor, "chain lane"] | None:
        """The share of accepted proposals so far; None for a sampler that accepts all."""
        return None


@dataclass(frozen=True)
class SamplerFacts:
    """What every sampler says of itself when it is registered."""

    full_batch: bool
    """It refuses minibatches."""
    needs_centre_gradient: bool
    """It takes the gradient at the centre, of all examples and of each minibatch."""
    preconditioned: bool
    """It takes a constant diagonal."""
    adapts: bool
    """It finds its own diagonal."""
    limited: bool
    """It is unstable where step size times curvature exceeds 4."""
    bias_known: bool
    """What the step size adds on a quadratic is :func:`.correction.predicted_step_bias`."""
    noise_known: bool
    """What the noise of minibatches adds to its moves is :meth:`Sampler.batch_noise`, and not None."""
    order: int
    """Of its bias in the step size; 0 where there is none at any step."""
    fraction: float
    """What a calibration first takes of the inverse largest curvature."""
    step_fraction: float
    """What an automatic step takes of the inverse largest curvature, so that its own bias stays below 5 %."""


SAMPLERS: Registry[type[Sampler], SamplerFacts] = Registry(
    "sampler", SamplerFacts, rooms=("llc_lightning.sampling.samplers",), revised=True
)
"""All samplers by name."""


def per_lane(value: Float[Tensor, "lane"], like: Tensor) -> Tensor:
    """Returns a value of each lane in a shape that broadcasts against [chain, lane, *slice], in its type."""
    return value.view(1, -1, *(1,) * (like.ndim - 2)).to(like.dtype)


class LangevinMove:
    """The move ``w' = w - eps/2 M (n_beta g + gamma (w - w*)) + sqrt(eps M) xi`` with a constant diagonal ``M``.

    Args:
        posterior: What is sampled.
        step_size: ``eps`` of each lane.
        metric: ``M``, [1 or chain, lane, *slice]; 1 by default.
    """

    def __init__(self, posterior: Posterior, step_size: Float[Tensor, "lane"], metric: Stack | None) -> None:
        self._centre = posterior.centre
        self._pull: Stack = {}
        self._drift: Stack = {}
        self._spread: Stack = {}
        for name, centre in posterior.centre.items():
            lanes = (1, -1, *(1,) * (centre.ndim - 2))
            eps = step_size.view(lanes) if metric is None else step_size.view(lanes) * metric[name]
            self._pull[name] = (eps * per_lane(posterior.gamma, centre) / 2).to(centre.dtype)
            self._drift[name] = (eps * per_lane(posterior.n_beta, centre) / -2).to(centre.dtype)
            self._spread[name] = eps.sqrt().to(centre.dtype)

    def __call__(self, position: Stack, gradient: Stack, xi: Stack) -> None:
        """Moves ``position`` in place."""
        for name, w in position.items():
            w.lerp_(self._centre[name].expand_as(w), self._pull[name].expand_as(w))
            w.addcmul_(gradient[name], self._drift[name])
            w.addcmul_(xi[name], self._spread[name])

    def batch_noise(self, noise: Stack) -> Stack:
        """Returns what noise in the gradient adds to a move, as a multiple of ``sqrt(eps M)``."""
        return {name: self._drift[name] / self._spread[name] * value for name, value in noise.items()}


class LangevinSampler(Sampler):
    """Makes one :class:`LangevinMove` a step, along the gradient that it looks at."""

    def __init__(self, posterior: Posterior, step_size: Float[Tensor, "lane"], preconditioner: Stack | None) -> None:
        self._move = LangevinMove(posterior, step_size, preconditioner)

    def step(self, position: Stack, here: Evaluated, evaluate: Evaluate, noise: Noise) -> None:
        """Moves ``position`` in place by one step."""
        self._move(position, here.gradient, noise.normal())

    def batch_noise(self, noise: Stack) -> Stack:
        """Returns what noise in the gradient adds to a move, as a multiple of the noise that belongs there."""
        return self._move.batch_noise(noise)


class StepLoss:
    """Evaluates the loss of all chains on the examples of one step, paired with the losses of w* on the same ones.

    Args:
        stacked: The loss.
        data: All examples.
        baseline: Their losses at the centre.
        index: Which of them every chain takes; None for all.
    """

    def __init__(
        self,
        stacked: StackedLoss,
        data: Batch,
        baseline: Float[Tensor, "example"],
        index: Int[Tensor, "chain taken"] | None = None,
    ) -> None:
        self._stacked = stacked
        self._data = data
        self.index = index
        self.batch = data if index is None else take(data, index)
        self.baseline = baseline if index is None else baseline[index]
        self._at_centre: Stack = {}
        self._last: tuple[list[Tensor], list[int], Evaluated] | None = None

    @property
    def minibatch(self) -> bool:
        """Whether the examples are some of all, drawn by every chain for itself."""
        return self.index is not None

    def __call__(self, position: Stack) -> Evaluated:
        """Returns the loss and its gradient at any position; once, where it is asked again before that moves on."""
        tensors = list(position.values())
        versions = [tensor._version for tensor in tensors]
        if self._last is not None:
            before, seen, known = self._last
            if seen == versions and all(one is other for one, other in zip(before, tensors, strict=True)):
                return known
        self.forget()
        self._last = tensors, versions, self.elsewhere(position)
        return self._last[2]

    def forget(self) -> None:
        """Keeps no evaluation any more: of large networks each is as large as all weights."""
        self._last = None

    def elsewhere(self, position: Stack) -> Evaluated:
        """Returns the same at a position that nobody asks for again: it is not kept."""
        return Evaluated(
            *self._stacked.excess_and_gradient(position, self.batch, self.baseline, per_chain=self.minibatch)
        )

    def excess(self, position: Stack) -> Float[Tensor, "chain lane"]:
        """Returns the loss at any position, in excess of that at the centre."""
        return self._stacked.excess(position, self.batch, self.baseline, per_chain=self.minibatch)

    def losses_of(self, position: Stack, examples: Batch) -> Float[Tensor, "chain lane example"]:
        """Returns the losses of other examples, the same ones for all chains, one by one at any position."""
        return self._stacked.losses_of_shared(position, examples)

    def gradient_at_centre(self) -> Stack:
        """Returns the gradient at the centre, on the same examples; evaluated once."""
        if not self._at_centre:
            chains = 1 if self.index is None else len(self.index)
            self._at_centre = self.elsewhere(self._stacked.start(chains)).gradient
        return self._at_centre
