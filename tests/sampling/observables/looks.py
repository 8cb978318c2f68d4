"""Looks at chains that stand where a test puts them, on a loss that can be worked out by hand."""

from collections.abc import Sequence

import torch
from torch import Tensor

from llc_lightning.runtime.batches import Params
from llc_lightning.sampling.base import SAMPLERS, Posterior, StepLoss
from llc_lightning.sampling.observables.base import Look
from llc_lightning.sampling.slices import moved_entries
from llc_lightning.sampling.stacked import StackedLoss

N_BETA, GAMMA, STEP_SIZE = 5.0, 2.0, 0.16
DATA = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [0.0, -3.0]])
"""Slopes of the examples; their mean is 0."""


def sloped(params: Params, batch: Tensor) -> Tensor:
    """Has the value ``|w|^2 / 2 + x . w`` on an example x, and its least mean at 0."""
    return params["w"].square().sum() / 2 + batch @ params["w"]


def misled(params: Params, batch: Tensor) -> Tensor:
    """Has another gradient than that of its value."""
    return sloped(params, batch) + params["w"].detach().square().sum()


def stacked_loss(loss: object = sloped) -> StackedLoss:
    params = {"w": torch.zeros(2)}
    return StackedLoss(loss, params, [moved_entries(params, None)])


def look_at(
    position: Sequence[Sequence[float]], *, loss: object = sloped, batches: Sequence[Sequence[Sequence[int]]] = (),
    sampler: str = "sgld",
) -> Look:  # fmt: skip
    """Returns a look at chains at some positions.

    Args:
        position: Of every chain.
        loss: The loss of an example.
        batches: The examples of each chain in the step and, drawn one after the other, in looks; none: all of them.
        sampler: Its name.
    """
    stacked = stacked_loss(loss)
    losses = [StepLoss(stacked, DATA, torch.zeros(4), torch.tensor(batch)) for batch in batches]
    step = losses.pop(0) if losses else StepLoss(stacked, DATA, torch.zeros(4))
    start = stacked.start(1)
    posterior = Posterior(start, torch.tensor([N_BETA]), torch.tensor([GAMMA]), start)
    mover = SAMPLERS.get(sampler).item(posterior, torch.tensor([STEP_SIZE]), None)
    at = {"w": torch.tensor(position)[:, None]}
    return Look(0, at, mover.look(at, step), step, mover, posterior, (lambda draw: losses.pop(0)) if batches else None)
