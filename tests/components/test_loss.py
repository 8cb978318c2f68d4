"""The per-example loss of any module, with activations read and replaced."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import Edit, TaskQuantity, loss_fn, snapshot_params
from llc_lightning.runtime.batches import LossFn
from llc_lightning.runtime.errors import AddressError, SettingError
from tests.components.nets import MLP, Counting, Declared, Shared, Tied, Wrapped, regression, weights

EVERY = torch.ones((), dtype=torch.bool)


class Answering(nn.Module):
    """Returns from per_example_loss what it is told."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))
        self.answer = answer

    def per_example_loss(self, batch: Tensor) -> Any:
        return self.answer


def n_hooks(module: nn.Module) -> int:
    return sum(len(vars(part)["_forward_hooks"]) for part in module.modules())


def test_a_loss_is_a_loss_function() -> None:
    loss = loss_fn(MLP())
    assert isinstance(loss, LossFn)
    assert loss(weights(loss.module), regression()).shape == (16,)


def test_a_module_without_a_loss() -> None:
    with pytest.raises(SettingError) as raised:
        loss_fn(nn.Linear(1, 1))
    assert str(raised.value) == (
        "Linear has no per_example_loss(batch); give it a method that returns one loss per example, shape [example], "
        "and call it from training_step as well."
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (torch.zeros(()), "shape ()"),
        (torch.zeros(1), "shape (1,)"),
        (torch.zeros(4, 1), "shape (4, 1)"),
        (torch.zeros(4, 2), "shape (4, 2)"),
        (None, "type NoneType"),
        (0.5, "type float"),
        ((torch.zeros(4),), "type tuple"),
    ],
)
def test_a_loss_of_the_wrong_shape(answer: Any, told: str) -> None:
    with pytest.raises(SettingError) as raised:
        loss_fn(Answering(answer))({}, torch.zeros(4))
    assert str(raised.value) == (
        f"per_example_loss returned a value of {told} for 4 examples; it must return one loss per example, shape "
        "(4,): use reduction='none', and average over everything but the examples."
    )


def test_an_edit_replaces_what_its_mask_says_and_nothing_else() -> None:
    activation = torch.tensor([[1.0, math.nan, -0.0], [math.inf, 2.0, 3.0]])
    edited = Edit("h", torch.tensor([True, False, False]), torch.tensor(7.0))(activation)
    assert torch.equal(edited[:, 0], torch.tensor([7.0, 7.0]))
    assert edited[0, 1].isnan()
    assert edited[0, 2].signbit()
    assert torch.equal(edited[1, 1:], activation[1, 1:])
    by_example = Edit("h", torch.tensor([False, True, False]), torch.tensor([[5.0], [6.0]]))(activation)
    assert by_example[:, 1].tolist() == [5.0, 6.0]


@pytest.mark.parametrize(("mask", "value"), [((4,), ()), ((3,), (3, 3)), ((5, 1, 1), ()), ((), (5, 2, 3))])
def test_an_edit_that_does_not_fit(mask: tuple[int, ...], value: tuple[int, ...]) -> None:
    edit = Edit("h", torch.ones(mask, dtype=torch.bool), torch.zeros(value))
    with pytest.raises(SettingError) as raised:
        edit(torch.zeros(2, 3))
    assert str(raised.value) == (
        f"an edit at 'h' has a mask of shape {mask} and a value of shape {value}; both must broadcast to the "
        "activation's (2, 3)."
    )


@pytest.mark.parametrize("constant", [0.0, -1.5])
def test_a_constant_edit_equals_the_weight_edit(constant: float) -> None:
    module, batch = Wrapped(), regression(64)
    loss, params = loss_fn(module), weights(module)
    for neuron in find_components(module, ["net.hook_one[2]", "net.hook_one[0,4]", "net.hook_one"]):
        units = list(range(5)) if neuron.units is None else list(neuron.units)
        edit = Edit(neuron.point, neuron.unit_mask(torch.zeros(5)), torch.tensor(constant))
        outgoing = params["net.W_mid.weight"].clone()
        bias = params["net.W_mid.bias"] + constant * outgoing[:, units].sum(1)
        outgoing[:, units] = 0.0
        rewired = {**params, "net.W_mid.weight": outgoing, "net.W_mid.bias": bias}
        edited = loss.with_edits([edit])(params, batch)
        torch.testing.assert_close(edited, loss(rewired, batch), rtol=1e-5, atol=1e-6)
        assert (edited - loss(params, batch)).abs().max() > 1e-2


def test_edits_apply_in_order_at_several_points() -> None:
    batch = torch.zeros(3, 4)

    class Net(Declared):
        def per_example_loss(self, batch: Tensor) -> Tensor:
            return self(batch).sum(-1)

    net = Net()
    one = Edit("hook_one", EVERY, torch.tensor(9.0))
    two = [
        Edit("hook_two", EVERY, torch.tensor(5.0)),
        Edit("hook_two", torch.tensor([True, False, False]), torch.zeros(1)),
    ]
    loss = loss_fn(net, [one, *two])
    expected = net.W_out(torch.tensor([0.0, 5.0, 5.0])).sum()
    torch.testing.assert_close(loss(weights(net), batch), expected.expand(3))
    seen = loss.activations(weights(net), batch, ["hook_one", "hook_two"])
    assert torch.equal(seen["hook_one"], torch.full((3, 5), 9.0))
    assert torch.equal(seen["hook_two"], torch.tensor([0.0, 5.0, 5.0]).expand(3, 3))
    assert loss.with_edits(()).edits == ()


def test_activations_are_those_of_the_forward_pass() -> None:
    module, batch = MLP(), regression()
    seen = loss_fn(module).activations(weights(module), batch, ["first", "last"])
    assert torch.equal(seen["first"], module.first(batch[0]))
    assert torch.equal(seen["last"], module(batch[0]))
    assert not seen["first"].requires_grad
    assert loss_fn(module).activations(weights(module), batch, []) == {}


def test_no_hook_stays_behind_also_after_an_exception() -> None:
    module, (x, y) = MLP(), regression()
    loss = loss_fn(module, [Edit("first", EVERY, torch.zeros(()))])
    assert n_hooks(loss.module) == 0
    loss(weights(module), (x, y))
    loss.activations(weights(module), (x, y), ["second"])
    with pytest.raises(RuntimeError):
        loss(weights(module), (x[:, :2], y))
    with pytest.raises(AddressError):
        loss.activations(weights(module), (x, y), ["first", "second", "secnod"])
    with pytest.raises(SettingError):
        loss.with_edits([Edit("first", torch.ones(9, dtype=torch.bool), torch.zeros(()))])(weights(module), (x, y))
    assert n_hooks(loss.module) == n_hooks(module) == 0


def test_an_unknown_hook_point() -> None:
    with pytest.raises(AddressError) as raised:
        loss_fn(MLP(), [Edit("frist", EVERY, torch.zeros(()))])({}, regression())
    assert str(raised.value) == "unknown hook point 'frist'; did you mean 'first'? Use one of: first, last, second."


def test_a_hook_point_that_gives_no_tensor() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(4, 3, batch_first=True)

        def per_example_loss(self, batch: Tensor) -> Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(batch, torch.tensor([5, 5]), batch_first=True)
            return self.rnn(packed)[1][0][0].sum(1)

    with pytest.raises(AddressError) as raised:
        loss_fn(Net()).activations({}, torch.zeros(2, 5, 4), ["rnn"])
    assert str(raised.value) == (
        "the hook point 'rnn' gives a tuple, not a tensor; address the submodule that gives the tensor."
    )


@pytest.mark.parametrize(("module", "point", "times"), [(Shared(), "up", 2), (Counting(), "unused", 0)])
def test_a_hook_point_must_be_reached_once(module: nn.Module, point: str, times: int) -> None:
    if times == 0:
        module.add_module("unused", nn.Identity())
    with pytest.raises(AddressError) as raised:
        loss_fn(module).activations({}, torch.zeros(2, 4), [point])
    told = "say which call is meant, as in 'up:call0' or 'up:call1'"
    told = told if times else "address a submodule that each forward pass uses once"
    assert (
        str(raised.value) == f"the hook point {point!r} was reached {times} times when the loss was computed; {told}."
    )


@pytest.mark.parametrize("module", [MLP(), Wrapped(), Wrapped(MLP())])
def test_many_weights_at_once_equal_one_at_a_time(module: nn.Module) -> None:
    batch, loss, params = regression(), loss_fn(module), weights(module)
    scales = torch.tensor([0.5, 1.0, 2.0])

    def at(scale: Tensor) -> Tensor:
        return loss({name: value * scale for name, value in params.items()}, batch)

    torch.testing.assert_close(torch.vmap(at)(scales), torch.stack([at(scale) for scale in scales]))
    gradients = torch.vmap(torch.func.grad(lambda scale: at(scale).mean()))(scales)
    alone = torch.stack([torch.func.grad(lambda scale: at(scale).mean())(scale) for scale in scales])
    torch.testing.assert_close(gradients, alone)


def test_many_edits_at_once_equal_one_at_a_time() -> None:
    module, batch = Wrapped(), regression()
    loss, params = loss_fn(module), weights(module)
    masks = torch.eye(5, dtype=torch.bool)

    def ablated(mask: Tensor) -> Tensor:
        return loss.with_edits([Edit("net.hook_one", mask, torch.zeros(()))])(params, batch)

    torch.testing.assert_close(torch.vmap(ablated)(masks), torch.stack([ablated(mask) for mask in masks]))


def test_parameters_that_are_left_out_are_the_modules() -> None:
    module, batch = MLP(), regression()
    assert torch.equal(loss_fn(module)({}, batch), module.per_example_loss(batch))


class Tasks(MLP):
    """Two outputs, two tasks."""

    task_names = ("task:a", "task:b")

    def per_task_loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return (self(batch[0]) - batch[1]).square(), batch[1] > 0

    def task_quantities(self, batch: tuple[Tensor, Tensor]) -> list[TaskQuantity]:
        return [TaskQuantity("baseline_loss", float(self(batch[0]).mean()), 0.0, len(batch[0]), method="zero")]


def test_losses_by_task() -> None:
    module, batch = Tasks(), regression()
    loss, params = loss_fn(module), weights(module)
    losses, counted = loss.per_task(params, batch)
    assert loss.task_names == ("task:a", "task:b")
    torch.testing.assert_close(losses.mean(-1), loss(params, batch))
    assert torch.equal(counted, batch[1] > 0)
    silent = loss.with_edits([Edit("last", EVERY, torch.zeros(()))])
    assert torch.equal(silent.per_task(params, batch)[0], batch[1].square())


def test_quantities_of_the_module() -> None:
    module, batch = Tasks(), regression()
    zeros = {name: torch.zeros_like(value) for name, value in weights(module).items()}
    assert loss_fn(module).task_quantities(zeros, batch) == [TaskQuantity("baseline_loss", 0.0, 0.0, 16, method="zero")]


def test_a_module_without_tasks() -> None:
    loss = loss_fn(MLP())
    assert loss.task_names == ()
    assert loss.task_quantities({}, regression()) == []
    with pytest.raises(SettingError) as raised:
        loss.per_task({}, regression())
    assert str(raised.value) == "MLP has no tasks; give it task_names and per_task_loss(batch)."


def test_a_snapshot_holds_parameters_and_buffers_once_and_by_copy() -> None:
    module = nn.ModuleDict({"tied": Tied(), "norm": nn.BatchNorm1d(2)})
    module.register_buffer("cache", torch.ones(3), persistent=False)
    taken = snapshot_params(module)
    assert list(taken) == [
        *("tied.embed.weight", "tied.mix.weight", "tied.mix.bias", "norm.weight", "norm.bias"),
        *("cache", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"),
    ]
    assert not any(value.requires_grad for value in taken.values())
    taken["norm.weight"].zero_()
    assert module["norm"].weight.eq(1).all()


def test_a_transformer_bridge_comes_back_unharmed() -> None:
    from transformer_lens.model_bridge.sources.native import boot

    config = {"n_layers": 1, "d_model": 8, "n_ctx": 5, "d_head": 4, "n_heads": 2, "d_mlp": 16, "d_vocab": 7}

    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bridge = boot({**config, "act_fn": "gelu", "seed": 0})

        def per_example_loss(self, batch: Tensor) -> Tensor:
            logits = self.bridge(batch)[:, :-1].mT
            return nn.functional.cross_entropy(logits, batch[:, 1:], reduction="none").mean(-1)

    live, batch = Language(), torch.randint(0, 7, (3, 5))
    named = dict(live.named_parameters(remove_duplicate=False))
    assert len(named) > len(dict(live.named_parameters()))
    before = {name: (id(parameter), parameter.detach().clone()) for name, parameter in named.items()}
    expected = live.per_example_loss(batch).detach()
    loss, params = loss_fn(live), weights(live)
    doubled = {name: value * 2 for name, value in params.items()}
    other = Language()
    other.load_state_dict({alias: 2 * value for alias, (_, value) in before.items()}, strict=False)
    assert torch.equal(loss(params, batch), expected)
    assert torch.equal(loss(doubled, batch), other.per_example_loss(batch))
    mapped = torch.vmap(lambda scale: loss({name: value * scale for name, value in params.items()}, batch))
    torch.testing.assert_close(mapped(torch.tensor([1.0, 2.0])), torch.stack([expected, loss(doubled, batch)]))
    (layer,) = find_components(live, "bridge.blocks.0.mlp.hook_out")
    cut = loss.with_edits([Edit(layer.point, EVERY, torch.zeros(()))])(params, batch)
    with live.bridge.hooks(fwd_hooks=[("blocks.0.mlp.hook_out", lambda value, hook: value * 0)]):
        torch.testing.assert_close(cut, live.per_example_loss(batch))
    for name, parameter in live.named_parameters(remove_duplicate=False):
        assert before[name][0] == id(parameter)
        assert torch.equal(before[name][1], parameter)
    assert torch.equal(live.per_example_loss(batch), expected)
