"""The loss of a step."""

import pytest
import torch

from llc_lightning.runtime.batches import Params
from llc_lightning.sampling.base import StepLoss
from llc_lightning.sampling.slices import moved_entries
from llc_lightning.sampling.stacked import StackedLoss


def quadratic(params: Params, batch: torch.Tensor) -> torch.Tensor:
    return params["w"].square().sum() / 2 + 0 * batch


def test_a_position_is_evaluated_once_until_it_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    params, calls = {"w": torch.ones(3)}, list[None]()
    stacked = StackedLoss(quadratic, params, [moved_entries(params, None)])
    evaluate = stacked.excess_and_gradient
    monkeypatch.setattr(stacked, "excess_and_gradient", lambda *at, **how: calls.append(None) or evaluate(*at, **how))
    loss, position = StepLoss(stacked, torch.zeros(2), torch.zeros(2)), stacked.start(1)
    first, again = loss(position), loss(dict(position))
    position["w"].add_(1)
    moved = loss(position)
    assert [one.excess.item() for one in (first, again, moved)] == [1.5, 1.5, 6.0]
    assert len(calls) == 2
