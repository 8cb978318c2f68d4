"""What a circuit leaves out, and whether all of it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.evaluation.chance import random_circuits
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.errors import at_least


@dataclass(frozen=True)
class Incompleteness:
    """``|m(circuit without K) - m(network without K)|`` for some sets K of the circuit's edges."""

    values: tuple[float, ...]
    """One for each set."""

    @property
    def worst(self) -> float:
        """The largest: a circuit is complete where it is small (Wang et al. 2022, arXiv:2211.00593)."""
        return max(self.values)


def incompleteness(runs: MaskedRuns, circuit: Sequence[Edge], *, seed: int, sets: int = 10) -> Incompleteness:
    """Returns how far circuit and network part when the same random halves of the circuit are taken from both.

    Args:
        runs: The network and its donor.
        circuit: Its edges.
        seed: Keys the sets.
        sets: How many.
    """
    at_least(1, sets=sets)
    knocked = [set(one) for one in random_circuits(circuit, (len(circuit) + 1) // 2, sets, seed=seed)]
    masks = [runs.mask([edge for edge in some if edge not in out]) for out in knocked for some in (circuit, runs.edges)]
    with torch.no_grad():
        means = runs(torch.stack(masks)).double().mean(1).view(sets, 2)
    return Incompleteness(tuple(float(one) for one in (means[:, 0] - means[:, 1]).abs()))


def needed(runs: MaskedRuns, circuit: Sequence[Edge]) -> dict[Edge, float]:
    """Returns for each edge of a circuit what its removal changes: ``m(circuit without it) - m(circuit)``."""
    masks = [runs.mask(circuit), *(runs.mask([edge for edge in circuit if edge != one]) for one in circuit)]
    with torch.no_grad():
        base, *means = runs(torch.stack(masks)).double().mean(1)
    return {edge: float(one - base) for edge, one in zip(circuit, means, strict=True)}


def worst_outside(runs: MaskedRuns, circuit: Sequence[Edge], *, steps: int = 30, rate: float = 0.2) -> float:
    """Returns the largest rise of the loss over the circuit's own that keeping parts of the rest can make.

    What is left out of a circuit is not only ablated altogether: any part of it may be. The worst mask over it is
    searched for by projected gradient ascent (adversarial ablation), from one half of everything.

    Args:
        runs: The network and its donor; the loss, or a metric that is the better the smaller it is.
        circuit: Its edges, which stay.
        steps: Of the search.
        rate: Of a step, in the largest entry of the gradient.
    """
    at_least(1, steps=steps)
    fixed = runs.mask(circuit)
    point, found = torch.where(fixed > 0, 1.0, 0.5), [float("-inf")]
    for _ in range(steps):
        with torch.enable_grad():
            mask = point.clone().requires_grad_(True)
            loss = runs(mask[None]).mean()
            (slope,) = torch.autograd.grad(loss, mask)
        found.append(float(loss.detach()))
        step = rate * slope / slope.abs().max().clamp_min(1e-30)
        point = torch.where(fixed > 0, 1.0, (point + step).clamp(0, 1))
    with torch.no_grad():
        last, own = runs(torch.stack([point, fixed])).mean(1)
    return max(*found, float(last), float(own)) - float(own)
