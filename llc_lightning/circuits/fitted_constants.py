"""The constants with which a circuit as a whole does best."""

from __future__ import annotations

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
    """The constants of a circuit, with the loss that they leave on the examples that no search saw."""

    constants: Constants
    loss: float
    """Mean on held-out examples."""
    of: Mapping[str, float]
    """The same of every candidate: ``zero``, ``mean`` and ``fitted``."""


def fit_constants(
    runs: MaskedRuns, edges: Sequence[Edge], *, steps: int = 100, rate: float = 0.01, starts: Sequence[Constants] = ()
) -> FittedConstants:
    """Returns the constants with which a circuit does best, all of them fitted together.

    They are those of optimal ablation (Li & Janson 2024, arXiv:2409.09951), of a circuit instead of a component.
    One half of the blocks of examples is descended on with Adam, from the means (or from a better start); the other
    decides between zero, the means and what the descent came through, so that the result is never worse there.

    Args:
        runs: The network; the donor is not used.
        edges: The circuit.
        steps: Of the descent.
        rate: Of a step.
        starts: Constants to start from as well.

    Raises:
        SettingError: If there are fewer than two blocks of examples.
    """
    at_least(1, steps=steps)
    count = len(runs.subject.examples.blocks)
    if count < 2:
        raise SettingError(
            "constants are fitted on one half of the blocks of examples and chosen on the other, and there is one "
            "block; give more examples, or a Subject with a smaller block."
        )
    seen, held = range(0, count, 2), range(1, count, 2)
    mask = runs.mask(edges)[None]
    losses: dict[str, float] = {}
    best: dict[str, Constants] = {}

    def told(name: str, constants: Constants) -> None:
        with torch.no_grad():
            loss = float(runs(mask, constants=constants, blocks=held).mean())
        if not loss >= losses.get(name, float("inf")):
            losses[name], best[name] = loss, constants.detached()

    with torch.no_grad():
        plain = {"zero": Constants.zeros(runs.subject), "mean": Constants.means(runs.subject)}
    for name, constants in (*plain.items(), *(("fitted", one) for one in starts)):
        told(name, constants)
    start = best[min(losses, key=lambda name: losses[name])].trainable()
    search: Any = torch.optim.Adam(start.tensors, lr=rate)  # whose step is not typed
    for step in range(steps):
        with torch.enable_grad():
            loss = runs(mask, constants=start, blocks=[seen[step % len(seen)]]).mean()
        slopes = torch.autograd.grad(loss, start.tensors, materialize_grads=True)
        for one, slope in zip(start.tensors, slopes, strict=True):
            one.grad = slope
        search.step()
        if step % 10 == 9 or step == steps - 1:
            told("fitted", start)
    chosen = min(losses, key=lambda name: losses[name])
    return FittedConstants(best[chosen], losses[chosen], losses)
