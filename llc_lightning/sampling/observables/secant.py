"""The curvature along the steps of chains: what a gradient changes by, over the step that it was taken across."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.base import StepLoss, per_lane
from llc_lightning.sampling.observables.base import Look, Stateless
from llc_lightning.sampling.products import products, total
from llc_lightning.sampling.stacked import Stack


@dataclass(eq=False)
class Secant(Stateless):
    """``sum |y|^2 / sum |y . s|`` over the steps so far: s a step, y what it changes grad U by on the same examples.

    With a preconditioner P both are taken in its metric. On a quadratic it is a mean of the eigenvalues, weighted by
    themselves, and at most the largest; across a kink it is the jump of the gradient over the step. Source: Barzilai
    and Borwein 1988, for its inverse as a step size.
    """

    metric: Callable[[], Stack | None]
    name: str = "secant"
    every: int = 1
    _position: Stack = field(default_factory=dict[str, Tensor], init=False)
    _gradient: Stack = field(default_factory=dict[str, Tensor], init=False)
    _loss: StepLoss | None = field(default=None, init=False)
    _sums: tuple[Tensor, Tensor] | None = field(default=None, init=False)

    def look(self, look: Look) -> Float[Tensor, "chain lane"]:
        """Returns it; 0 before the first step."""
        if self._loss is not None:
            # On the examples of the step that was taken, where it has ended.
            minibatch = self._loss.minibatch
            there = look.sampler.look(look.position, self._loss).gradient if minibatch else look.here.gradient
            self._add(look, dict(there))
        if not self._position:
            self._position = {name: torch.empty_like(value) for name, value in look.position.items()}
        for name, value in self._position.items():
            value.copy_(look.position[name])
        self._gradient = dict(look.here.gradient)
        self._loss = look.loss
        if self._sums is None:
            return torch.zeros_like(look.here.excess)
        changed, along = self._sums
        return torch.where(changed > 0, changed / along.clamp(min=torch.finfo(along.dtype).tiny), 0.0)

    def _add(self, look: Look, there: Stack) -> None:
        metric = self.metric()
        changed: list[Tensor] = []
        along: list[Tensor] = []
        for name, value in look.position.items():  # of large networks each of these is as large as all weights
            step = torch.sub(value, self._position[name], out=self._position[name])
            bent = (there.pop(name) - self._gradient.pop(name)).mul_(per_lane(look.posterior.n_beta, step))
            bent += per_lane(look.posterior.gamma, step) * step
            changed.append(products(bent, bent if metric is None else metric[name] * bent))
            along.append(products(bent, step))
        new = total(changed), total(along).abs()
        self._sums = new if self._sums is None else (self._sums[0] + new[0], self._sums[1] + new[1])
