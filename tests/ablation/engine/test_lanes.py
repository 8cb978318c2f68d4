"""Lanes of one forward pass."""

import pytest
import torch
from torch import Tensor, nn

from llc_lightning import ablation_effects
from llc_lightning.ablation.engine.lanes import AtPoints, Lanes
from llc_lightning.components.component import Component
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.runtime.replay import Replay
from tests.ablation.nets import Circuits, Smooth, circuits_data


@pytest.mark.parametrize("threads", [1, 2])
def test_a_lane_has_the_same_bits_wherever_it_stands(threads: int) -> None:
    # More numbers than one thread takes alone, and an odd number of lanes: two threads meet in the middle of one.
    torch.set_num_threads(threads)
    stream = torch.Generator().manual_seed(0)
    batch, values = torch.randn(64, 1, generator=stream), torch.randn(1099, 64, 1, generator=stream)
    masks = torch.ones(1099, 1, dtype=torch.bool)
    lanes = Lanes(loss_fn(Smooth()), {}, AtPoints((("units", -1),)), with_tasks=False)
    together = lanes(batch, [{"where": masks, "value": values}])[0]
    for size in (1, 2, 3, 611):
        for start in range(0, 1099 - size, 97):
            part = slice(start, start + size)
            assert torch.equal(lanes(batch, [{"where": masks[part], "value": values[part]}])[0], together[part])


def test_losses_and_tasks_of_every_lane() -> None:
    module, batch = Circuits(), circuits_data(64)
    lanes = Lanes(loss_fn(module), snapshot_params(module), AtPoints((("hook_hidden", -1),)), with_tasks=True)
    masks = torch.eye(5, dtype=torch.bool)
    total, by_task = lanes(batch, [{"where": masks, "value": torch.zeros(5, 64, 5)}])
    assert (total.shape, by_task.shape) == ((5, 64, 1), (5, 64, 3))
    hidden = module.W_in(batch[0]).relu()
    for unit in range(5):
        errors = (module.W_out(torch.where(masks[unit], 0, hidden)) - batch[1]) ** 4
        torch.testing.assert_close(by_task[unit], errors.detach())
        torch.testing.assert_close(total[unit, :, 0], errors.detach().mean(-1))


class Counting(nn.Module):
    """Refused by vmap; counts its forward passes."""

    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.units = nn.Identity()

    def per_example_loss(self, batch: Tensor) -> Tensor:
        Counting.calls += 1
        h = self.units(batch)
        return h[:, 0] if bool(h.sum() > 0) else h[:, 1]


def test_what_vmap_refuses_is_asked_once() -> None:
    Counting.calls = 0
    lanes = Lanes(loss_fn(Counting()), {}, AtPoints((("units", -1),)), with_tasks=False)
    for _ in range(3):
        lane = {"where": torch.ones(4, 2, dtype=torch.bool), "value": torch.ones(4, 64, 2)}
        (losses,) = lanes(torch.randn(64, 2), [lane])
        assert torch.equal(losses, torch.ones(4, 64, 1))
    assert not lanes.vmapped
    assert Counting.calls == 2 + 3 * 4


class OneHead(nn.Module):
    """Attention of one head by einsum, whose gradients have axes of one entry with strides of their own."""

    def __init__(self) -> None:
        super().__init__()
        stream = torch.Generator().manual_seed(0)
        shapes = (5, 6), (1, 6, 3), (1, 6, 3), (1, 6, 3), (1, 3, 6)
        made = [nn.Parameter(torch.randn(*shape, generator=stream)) for shape in shapes]
        self.E, self.W_Q, self.W_K, self.W_V, self.W_O = made
        self.hook_z = nn.Identity()

    def per_example_loss(self, batch: Tensor) -> Tensor:
        x = self.E[batch]
        q, k, v = (torch.einsum("bpd,hdk->bphk", x, weight) for weight in (self.W_Q, self.W_K, self.W_V))
        pattern = torch.einsum("bqhk,bphk->bhqp", q, k).softmax(-1)
        z = self.hook_z(torch.einsum("bhqp,bphk->bqhk", pattern, v))
        logits = (x + torch.einsum("bqhk,hkd->bqd", z, self.W_O)) @ self.E.T
        return nn.functional.cross_entropy(logits[:, :-1].mT, batch[:, 1:], reduction="none").mean(-1)


def test_axes_of_one_entry_may_have_any_stride() -> None:
    data = torch.randint(0, 5, (70, 6), generator=torch.Generator().manual_seed(0))
    head = Component("hook_z[0]", "head", "hook_z", (0,), -2)
    found = ablation_effects(OneHead(), data, [head], ["mean", "optimal"])
    assert found["status"].tolist() == ["ok", "ok"]


def test_a_replay_that_fails_when_it_is_called_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: object, *args: object) -> None:
        raise RuntimeError("view size is not compatible with input tensor's size and stride")

    module, data = Circuits(), circuits_data(80)
    expected = ablation_effects(module, data, methods=["zero", "optimal"])
    monkeypatch.setattr(Replay, "__call__", fails)
    assert ablation_effects(module, data, methods=["zero", "optimal"]).equals(expected)
