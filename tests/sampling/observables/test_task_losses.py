"""The losses of tasks."""

import pytest
import torch

from llc_lightning.sampling.observables.task_losses import TaskLosses
from tests.sampling.observables.looks import look_at, stacked_loss

SHARES = torch.tensor([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
"""The first task has the first two examples, the other all of them."""


@pytest.mark.parametrize(("batches", "expected"), [((), [12.5, 12.5]), ([[[0, 2]]], [12.5 + 3, 12.5 + 7.5])])
def test_each_is_the_mean_over_its_own_examples(batches: list[list[list[int]]], expected: list[float]) -> None:
    each = stacked_loss(lambda params, batch: params["w"].square().sum() / 2 + (batch @ params["w"])[:, None])
    observable = TaskLosses(1, each, torch.ones(4, 1), SHARES)
    looked = observable.look(look_at([[3.0, 4.0]], batches=batches))
    assert looked.flatten().tolist() == [value - 1 for value in expected]
