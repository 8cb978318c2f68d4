"""The nets that influence is tested on, in plain torch, so that the peer's environment can build them too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional as F

Weights = dict[str, Tensor]


class Classifier(nn.Module):
    """A net whose objective is cross-entropy with weight decay, ``mean_i l_i + decay / 2 |w|^2``.

    Args:
        net: From images [example, channel, row, column] to logits.
        decay: Its weight decay.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        super().__init__()
        self.net, self.decay = net, decay

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        return self.net(x)

    def per_example_loss(self, batch: Sequence[Tensor]) -> Tensor:
        """Returns the loss of every example (x, label, share), which bears so much of the weight decay.

        With a share of 1 the mean is the objective, with 0 the cross-entropy, whose influence is asked for.
        """
        x, label, share = batch
        return F.cross_entropy(self.net(x), label, reduction="none") + share * self.penalty(
            dict(self.named_parameters())
        )

    def penalty(self, weights: Weights) -> Tensor:
        """Returns what weight decay adds to the objective."""
        return self.decay / 2 * torch.stack([weight.square().sum() for weight in weights.values()]).sum()


def perceptron() -> Classifier:
    """Returns a net with one hidden layer for images of 14 x 14, 3,322 weights."""
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(196, 16), nn.GELU(), nn.Linear(16, 10)), 5e-3)


def convolution() -> Classifier:
    """Returns a net with a convolution for images of 14 x 14, 1,126 weights."""
    layers = nn.Conv2d(1, 6, 5, stride=3), nn.GELU(), nn.Flatten(), nn.Linear(96, 10)
    return Classifier(nn.Sequential(*layers), 1e-2)


NETS: dict[str, Callable[[], Classifier]] = {"perceptron": perceptron, "convolution": convolution}


@dataclass(frozen=True)
class Problem:
    """A net, the examples that it is trained on, and those whose loss they influence."""

    net: str
    train: tuple[Tensor, Tensor]
    """Images [example, channel, row, column] and labels."""
    queries: tuple[Tensor, Tensor]

    def module(self) -> Classifier:
        """Returns the net, untrained."""
        return NETS[self.net]()


def initial(problem: Problem, seeds: Sequence[int]) -> Weights:
    """Returns the weights that trainings begin at, stacked [net, ...]: torch's own, by seed."""
    each: list[Weights] = []
    with torch.random.fork_rng(devices=[]):
        for seed in seeds:
            torch.manual_seed(seed)
            each.append({name: weight.detach().clone() for name, weight in problem.module().named_parameters()})
    return {name: torch.stack([one[name] for one in each]) for name in each[0]}


def trained(problem: Problem, weights: Weights, subsets: Tensor, *, steps: int = 500, rate: float = 0.03) -> Weights:
    """Returns the weights of nets trained together, each on examples of its own.

    Full-batch Adam, whose rate falls by a cosine to 0.

    Args:
        problem: What is learnt.
        weights: Those at the start, stacked [net, ...].
        subsets: The numbers of the examples that each net is trained on, [net, example].
        steps: How many.
        rate: The largest.
    """
    module = problem.module()
    x, label = (part[subsets] for part in problem.train)

    def objective(weights: Weights, x: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(module, weights, (x,)), label) + module.penalty(weights)

    slopes = vmap(grad_and_value(objective), chunk_size=8)  # convolutions of many nets at once take far longer
    weights = {name: weight.clone() for name, weight in weights.items()}
    optimizer = torch.optim.Adam(list(weights.values()), lr=rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        found, _ = slopes(weights, x, label)
        for name, weight in weights.items():
            weight.grad = found[name]
        optimizer.step()
    return weights


def losses(problem: Problem, weights: Weights) -> Tensor:
    """Returns the cross-entropy of every query at the weights of every net, [net, query]."""
    module = problem.module()
    x, label = problem.queries

    def of(weights: Weights) -> Tensor:
        return F.cross_entropy(functional_call(module, weights, (x,)), label, reduction="none")

    with torch.no_grad():
        return vmap(of, chunk_size=8)(weights)
