"""In-context linear regression: every sequence has weights of its own, to be inferred from its examples."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.data.sequences.base import Inputs, Outputs, Sequences, SequenceTask, Split
from llc_lightning.runtime.errors import at_least, positive
from llc_lightning.runtime.seeding import generator

_BASELINE_EXAMPLES = 65_536


@dataclass(frozen=True)
class LinearRegression(SequenceTask):
    """Pairs ``x_1 y_1 x_2 y_2 ...`` with ``y = w x + noise``; at every x its y is asked for.

    A sequence draws its weights w, and all x, from standard normal distributions, as Garg et al. 2022
    (arXiv:2208.01066) and Hoogland et al. 2024 (arXiv:2402.02364) do. Vectors stand in place of tokens: ``(0, x)`` and
    ``(y, 0)``. The best predictor is then known: ridge regression on the pairs before, with the noise's variance as its
    penalty.

    Raises:
        SettingError: If a number is out of range.
    """

    trivial = "zero"

    dimensions: int = 2
    """The width of x."""
    pairs: int = 8
    """Pairs of x and y in a sequence."""
    noise_variance: float = 0.125
    """Variance of the noise in y, which is the penalty of the best ridge regression."""

    def __post_init__(self) -> None:
        at_least(1, dimensions=self.dimensions, pairs=self.pairs)
        positive(noise_variance=self.noise_variance)

    @property
    def length(self) -> int:
        """Two positions for each pair."""
        return 2 * self.pairs

    @property
    def vocabulary(self) -> int:
        """None: the task has vectors."""
        return 0

    @property
    def width(self) -> int:
        """The number y, and x."""
        return self.dimensions + 1

    def sample(self, n: int, generator: torch.Generator, split: Split = "train") -> Sequences:
        """Draws ``n`` sequences."""
        weights = torch.randn(n, 1, self.dimensions, generator=generator)
        x = torch.randn(n, self.pairs, self.dimensions, generator=generator)
        noise = torch.randn(n, self.pairs, generator=generator) * self.noise_variance**0.5
        y = (weights * x).sum(dim=-1) + noise
        inputs = torch.zeros(n, self.pairs, 2, self.width)
        inputs[:, :, 0, 1:] = x
        inputs[:, :, 1, 0] = y
        targets = torch.stack((y, torch.full_like(y, math.nan)), dim=-1)
        return inputs.flatten(1, 2), targets.flatten(1)

    def ridge(self, inputs: Inputs) -> Float[Tensor, "example pair"]:
        """Returns the best prediction of every y from the pairs before it, the posterior mean.

        It is ``x (X'X + noise_variance I)^-1 X'y``, solved in double precision.
        """
        pairs = inputs.double().view(-1, self.pairs, 2, self.width)
        x, y = pairs[:, :, 0, 1:], pairs[:, :, 1, 0]
        gram = _before(x[..., :, None] * x[..., None, :])
        gram = gram + self.noise_variance * torch.eye(self.dimensions, dtype=x.dtype, device=x.device)
        weights = cast("Tensor", torch.linalg.solve(gram, _before(x * y[..., None])))  # pyright: ignore[reportUnknownMemberType]
        return (x * weights).sum(dim=-1).to(inputs.dtype)

    def baselines(self, seed: int) -> dict[str, float]:
        """Returns the squared errors of always answering 0, exactly, and of ridge regression, on fixed examples."""
        inputs, targets = self.sample(_BASELINE_EXAMPLES, generator(seed, "baselines"))
        ridge = (self.ridge(inputs) - targets[:, ::2]).square().mean()
        return {"zero": self.dimensions + self.noise_variance, "ridge": float(ridge)}

    def metrics(self, outputs: Outputs, batch: Sequences) -> dict[str, Float[Tensor, "example"]]:
        """Returns the squared error of ridge regression on the same examples, and how far the net is from it.

        The latter is the mean squared difference of the two predictions. Both squared errors at the last pair follow.
        """
        inputs, targets = batch
        answers, found, best = targets[:, ::2], outputs[:, ::2, 0], self.ridge(inputs)
        return {
            "ridge": (best - answers).square().mean(dim=1),
            "distance_from_ridge": (found - best).square().mean(dim=1),
            "last": (found - answers)[:, -1].square(),
            "ridge_last": (best - answers)[:, -1].square(),
        }


def _before(values: Float[Tensor, "example pair *any"]) -> Float[Tensor, "example pair *any"]:
    """Returns for every pair the sum over the pairs before it."""
    return values.cumsum(dim=1) - values
