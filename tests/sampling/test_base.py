"""The loss of a step."""

import torch
from torch import Tensor

from llc_lightning.runtime.batches import Batch, Params
from llc_lightning.sampling.base import StepLoss
from llc_lightning.sampling.slices import moved_entries
from llc_lightning.sampling.stacked import Stack, StackedLoss


class Counted(StackedLoss):
    """Counts its evaluations."""

    calls = 0

    def excess_and_gradient(
        self, position: Stack, batch: Batch, baseline: Tensor, *, per_chain: bool
    ) -> tuple[Tensor, Stack]:
        self.calls += 1
        return super().excess_and_gradient(position, batch, baseline, per_chain=per_chain)


def quadratic(params: Params, batch: Tensor) -> Tensor:
    return params["w"].square().sum() / 2 + 0 * batch


def test_a_position_is_evaluated_once_until_it_moves() -> None:
    params = {"w": torch.ones(3)}
    stacked = Counted(quadratic, params, [moved_entries(params, None)])
    loss, position = StepLoss(stacked, torch.zeros(2), torch.zeros(2)), stacked.start(1)
    first, again = loss(position), loss(dict(position))
    position["w"].add_(1)
    moved = loss(position)
    assert [one.excess.item() for one in (first, again, moved)] == [1.5, 1.5, 6.0]
    assert stacked.calls == 2
