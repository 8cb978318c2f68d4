"""The constants with which a circuit as a whole does best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llc_lightning.circuits.constants import Constants
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.errors import SettingError, at_least


@dataclass(frozen=True)
class FittedConstants:
    """The constants of a circuit, with the loss that they leave on the examples that no descent saw."""

    constants: Constants
    loss: float
    """Mean on held-out examples, which also chose between the candidates: the least of them, so a little too small."""
    of: Mapping[str, float]
    """The same of every candidate whose loss is a finite number: ``zero``, ``mean`` and ``fitted``, that one the least
    of what the descent came through."""


def halves(runs: MaskedRuns) -> tuple[range, range]:
    """Returns the blocks of examples that are descended on, and those that are held out.

    Raises:
        SettingError: If there are fewer than two.
    """
    count = len(runs.subject.examples.blocks)
    if count < 2:
        raise SettingError(
            "constants are fitted on one half of the blocks of examples and chosen on the other, and there is one "
            "block; give more examples, or a Subject with a smaller block."
        )
    return range(0, count, 2), range(1, count, 2)


def fit_constants(
    runs: MaskedRuns, edges: Sequence[Edge], *, steps: int = 100, rate: float = 0.01, starts: Sequence[Constants] = ()
) -> FittedConstants:
    """Returns the constants with which a circuit does best, all of them fitted together.

    They are those of optimal ablation (Li & Janson 2024, arXiv:2409.09951), of a circuit instead of a component.
    One half of the blocks of examples is descended on with Adam, from the means (or from a better start); the other
    decides between zero, the means and what the descent came through, so that the result is never worse there. The
    means are those over all examples.

    Args:
        runs: The network; the donor is not used.
        edges: The circuit.
        steps: Of the descent.
        rate: Of a step.
        starts: Constants to start from as well.

    Raises:
        SettingError: If there are fewer than two blocks of examples, no candidate has a finite loss, or more is better
            of what is measured.
    """
    at_least(1, steps=steps)
    runs.subject.question.check_minimised()
    seen, held = halves(runs)
    mask = runs.mask(edges)[None]
    losses: dict[str, float] = {}
    best: dict[str, Constants] = {}

    def told(name: str, constants: Constants) -> None:
        with torch.no_grad():
            loss = float(runs(mask, constants=constants, blocks=held).mean())
        if math.isfinite(loss) and loss < losses.get(name, math.inf):
            losses[name], best[name] = loss, constants.detached()

    with torch.no_grad():
        plain = {"zero": Constants.zeros(runs.subject), "mean": Constants.means(runs.subject)}
    for name, constants in (*plain.items(), *(("fitted", one) for one in starts)):
        told(name, constants)
    if not losses:
        raise SettingError(
            "the loss of the circuit is no finite number with zero, nor with the means in the place of what is "
            "ablated, so that no constants can be fitted to it; look at the network's own loss on these examples."
        )
    start = best[min(losses, key=lambda name: losses[name])].trainable()
    search: Any = torch.optim.Adam(start.tensors, lr=rate)  # whose step is not typed
    for step in range(steps):
        with torch.enable_grad():
            loss = runs(mask, constants=start, blocks=[seen[step % len(seen)]]).mean()
        if not loss.requires_grad or not loss.isfinite():  # nothing is ablated, or the descent has failed
            break
        slopes = torch.autograd.grad(loss, start.tensors, materialize_grads=True)
        for one, slope in zip(start.tensors, slopes, strict=True):
            one.grad = slope
        search.step()
        if step % 10 == 9 or step == steps - 1:
            told("fitted", start)
    chosen = min(losses, key=lambda name: losses[name])
    return FittedConstants(best[chosen], losses[chosen], losses)
