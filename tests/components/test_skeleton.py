"""Copies that the live module never notices, whatever it holds."""

import gc
import weakref
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from llc_lightning.components.skeleton import Skeleton, independent_copy, silent_copy
from llc_lightning.components.still import StillTrainer
from llc_lightning.runtime.errors import SettingError
from tests.components.nets import MLP, Counting, Declared, Shared, Stubborn, Tied, Wrapped, regression, weights


def state(module: nn.Module) -> list[Any]:
    """Returns everything that a measurement could change in a module, by identity and by value."""
    tables = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_parameters", "_buffers", "_modules")
    found: list[Any] = []
    for path, part in module.named_modules():
        found.append((path, id(part), part.training, *(dict(vars(part)[table]) for table in tables)))
    for listing in (module.named_parameters(), module.named_buffers()):
        for name, tensor in listing:
            values = (tensor.tolist(), tensor.requires_grad, tensor._version)
            found.append((name, id(tensor), values, None if tensor.grad is None else tensor.grad.tolist()))
    return found


def run(module: nn.Module, params: dict[str, Tensor], batch: Any) -> Tensor:
    return Skeleton(module).run("per_example_loss", params, batch)


def test_a_copy_shares_parameters_and_has_its_own_buffers() -> None:
    live = Wrapped()
    copied = silent_copy(live)
    assert [id(p) for p in copied.parameters()] == [id(p) for p in live.parameters()]
    assert not {id(b) for b in copied.buffers()} & {id(b) for b in live.buffers()}
    assert not {id(part) for part in copied.modules()} & {id(part) for part in live.modules()}
    assert not any(part.training for part in copied.modules())
    assert all(part.training for part in live.modules())


def test_an_independent_copy_shares_no_tensor() -> None:
    live = Wrapped(Tied())
    copied = independent_copy(live)
    pointers = [{tensor.data_ptr() for tensor in (*m.parameters(), *m.buffers())} for m in (live, copied)]
    assert not pointers[0] & pointers[1]
    assert copied.get_parameter("net.read.weight") is copied.get_parameter("net.embed.weight")
    assert copied.training


def test_nothing_of_the_live_module_changes() -> None:
    live, (x, y) = Wrapped(), regression()
    live.losses((x, y)).mean().backward()
    live.net.register_forward_hook(lambda *args: None)
    before = state(live)
    loss = Skeleton(live)
    params = {name: value * 2 for name, value in weights(live).items()}
    loss.run("per_example_loss", params, (x, y))
    torch.func.grad(lambda params: loss.run("per_example_loss", params, (x, y)).mean())(params)
    with pytest.raises(RuntimeError):
        loss.run("per_example_loss", params, (x[:, :3], y))
    assert state(live) == before


def test_the_result_is_that_of_a_module_in_eval_mode_with_these_weights() -> None:
    live, batch = Wrapped(), regression()
    live.norm.running_mean.fill_(0.3)
    params = {name: value * 1.5 for name, value in weights(live).items()}
    other = independent_copy(live).eval()
    other.load_state_dict(params, strict=False)
    assert torch.equal(run(live, params, batch), other.losses(batch))
    assert not torch.equal(run(live, params, batch), live.losses(batch))


def test_buffers_are_the_same_in_every_call() -> None:
    live = Counting()
    loss, batch = Skeleton(live), torch.tensor([0.0, 1.0])
    params = weights(live)
    first = loss.run("per_example_loss", params, batch)
    assert first.tolist() == [2100.0, 2102.0]
    assert torch.equal(loss.run("per_example_loss", params, batch), first)
    assert (live.calls, live.total) == (0, 0)
    given = {**params, "calls": torch.tensor(5.0), "total": torch.tensor(1.0)}
    assert loss.run("per_example_loss", given, batch).tolist() == [3600.0, 3602.0]
    assert torch.equal(loss.run("per_example_loss", params, batch), first)


def test_buffers_are_the_same_after_a_call_under_torch_func() -> None:
    live, batch = Counting(), torch.tensor([0.0, 1.0])
    loss = Skeleton(live)
    gradient = torch.func.grad(lambda w: loss.run("per_example_loss", {"w": w}, batch).sum())(torch.tensor(2.0))
    assert gradient == 1 + 2 * 1000
    mapped = torch.vmap(lambda w: loss.run("per_example_loss", {"w": w}, batch))(torch.tensor([2.0, 3.0]))
    assert mapped.tolist() == [[2100.0, 2102.0], [3100.0, 3103.0]]
    assert loss.run("per_example_loss", weights(live), batch).tolist() == [2100.0, 2102.0]


def test_a_later_change_of_the_live_buffers_does_not_show() -> None:
    live, batch = Wrapped(), regression()
    loss = Skeleton(live)
    before = loss.run("per_example_loss", weights(live), batch)
    live.norm.running_mean.add_(1.0)
    assert torch.equal(loss.run("per_example_loss", weights(live), batch), before)


def test_tied_weights_move_together_under_any_of_their_names() -> None:
    live, batch = Tied(), torch.randint(0, 7, (5, 6))
    value = live.embed.weight.detach() * 2
    other = independent_copy(live)
    with torch.no_grad():
        other.embed.weight.copy_(value)
    expected = other.per_example_loss(batch)
    assert torch.equal(run(live, {"embed.weight": value}, batch), expected)
    assert torch.equal(run(live, {"read.weight": value}, batch), expected)


def test_a_shared_submodule_is_one_submodule() -> None:
    live, batch = Shared(), torch.randn(5, 4)
    params = {name: value * 2 for name, value in weights(live).items()}
    other = independent_copy(live)
    other.load_state_dict(params, strict=False)
    assert other.down is other.up
    assert torch.equal(run(live, params, batch), other.per_example_loss(batch))


def test_a_shared_submodule_has_its_own_weights_again_after_a_call() -> None:
    skeleton = Skeleton(Shared())
    before = state(skeleton.module)
    skeleton.run("per_example_loss", {name: value * 2 for name, value in weights(Shared()).items()}, torch.randn(5, 4))
    assert state(skeleton.module) == before


def test_a_name_that_is_not_the_modules() -> None:
    with pytest.raises(SettingError) as raised:
        run(MLP(), {"frist.weight": torch.zeros(5, 4)}, regression())
    assert str(raised.value) == (
        "unknown parameter 'frist.weight'; did you mean 'first.weight' or 'last.weight' or 'second.weight'? Use "
        "one of: first.bias, first.weight, last.weight, second.bias, second.weight."
    )


class Outsider:
    """Something that watches a module, and that nobody may copy."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def see(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        self.seen.append(output)
        return output + 1

    def __deepcopy__(self, memo: dict[int, Any]) -> "Outsider":
        raise AssertionError("copied")


def test_what_cannot_be_copied_is_shared() -> None:
    outsider = Outsider()
    live, batch = Stubborn(outsider), torch.tensor([1.0, 2.0])
    loss = Skeleton(live)
    assert loss.run("per_example_loss", {"w": torch.tensor(3.0)}, batch).tolist() == [4.0, 7.0]
    assert len(outsider.seen) == 1
    assert loss.module.lock is live.lock
    assert loss.module.notes is live.notes
    assert loss.module.last == 6
    assert not loss.module.last.requires_grad
    assert loss.module.part is not live.part
    assert loss.module.scale is not live.scale
    assert independent_copy(live).w is not live.w


def test_hooks_that_make_weights_go_along() -> None:
    live, batch = MLP(), regression()
    prune.random_unstructured(live.first, "weight", amount=0.5)
    assert torch.equal(run(live, weights(live), batch), live.per_example_loss(batch))
    doubled = {**weights(live), "first.weight_orig": live.first.weight_orig.detach() * 2}
    assert not torch.equal(run(live, doubled, batch), live.per_example_loss(batch))


def test_what_watches_a_module_is_not_copied() -> None:
    class Copied(Outsider):
        def __deepcopy__(self, memo: dict[int, Any]) -> "Copied":
            return Copied()

    outsider = Copied()
    live, batch = MLP(), regression()
    live.second.register_forward_hook(outsider.see)
    run(live, weights(live), batch)
    assert len(outsider.seen) == 1


def test_backward_hooks_stay_behind() -> None:
    live, batch = MLP(), regression()
    calls: list[int] = []
    live.second.register_full_backward_hook(lambda *args: calls.append(1))
    loss = Skeleton(live)
    scale = torch.tensor([1.0, 2.0, 3.0])

    def at(scale: Tensor) -> Tensor:
        return loss.run("per_example_loss", {"first.weight": scale * live.first.weight.detach()}, batch).mean()

    assert torch.vmap(torch.func.grad(at))(scale).shape == (3,)
    assert not calls
    live.per_example_loss(batch).mean().backward()
    assert calls == [1]


def test_a_submodule_called_log_is_no_log() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.log = nn.Linear(1, 1)

    assert isinstance(silent_copy(Net()).log, nn.Linear)


class Measuring(L.Callback):
    """Evaluates the loss in the middle of a training, and looks at what the trainer then knows."""

    def __init__(self) -> None:
        self.copies: list[Any] = []
        self.metrics: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        before, logged = state(pl_module), {name: value.clone() for name, value in trainer.callback_metrics.items()}
        loss = Skeleton(pl_module)
        loss.run("per_example_loss", weights(pl_module), regression(8))
        assert isinstance(loss.module._trainer, StillTrainer)
        assert state(pl_module) == before
        assert trainer.callback_metrics == logged
        self.metrics.append(logged)
        self.copies.append(weakref.ref(loss.module))


def test_a_module_in_training_is_measured_without_its_trainer_and_without_logging(tmp_path: Any) -> None:
    measuring = Measuring()
    trainer = L.Trainer(
        max_steps=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[measuring],
    )
    trainer.fit(Wrapped(), DataLoader(TensorDataset(*regression(32)), batch_size=8))
    assert [sorted(logged) for logged in measuring.metrics] == [["again", "loss"]] * 3
    gc.collect()
    assert [reference() for reference in measuring.copies] == [None] * 3


def test_declared_modules_keep_their_declarations() -> None:
    assert list(silent_copy(Declared()).weight_axes()) == ["hook_one", "hook_two", "hook_out"]


class Checkpointed(nn.Module):
    """A net that computes a part again in the backward pass, by either of torch's ways, or by neither."""

    def __init__(self, way: bool | None) -> None:
        super().__init__()
        self.one, self.two, self.way = nn.Linear(3, 4), nn.Linear(4, 1), way

    def per_example_loss(self, batch: Tensor) -> Tensor:
        h = self.one(batch)
        h = h.tanh() if self.way is None else checkpoint(torch.tanh, h, use_reentrant=self.way)
        return self.again(h) if self.way is None else checkpoint(self.again, h, use_reentrant=self.way)

    def again(self, h: Tensor) -> Tensor:
        return self.two(h)[:, 0].square()


@pytest.mark.parametrize("way", [True, False])
def test_gradients_of_checkpointed_parts_are_those_at_the_given_weights(way: bool) -> None:
    batch, gradients = torch.randn(5, 3), []
    plain = Checkpointed(None)
    params = {name: torch.randn_like(value).requires_grad_() for name, value in plain.named_parameters()}
    for one in (None, way):
        net = Checkpointed(one)
        losses = Skeleton(net).run("per_example_loss", params, batch)
        gradients.append(torch.autograd.grad(losses.sum(), list(params.values())))
        # Outside of a measurement a module checkpoints as before.
        assert net.per_example_loss(batch).requires_grad
    for expected, found in zip(*gradients, strict=True):
        assert torch.equal(expected, found)
    skeleton = Skeleton(Checkpointed(way))
    vmapped = torch.vmap(lambda shift: skeleton.run("per_example_loss", params, batch + shift))
    assert vmapped(torch.zeros(2, 1)).shape == (2, 5)
