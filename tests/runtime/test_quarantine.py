"""A measurement inside the quarantine leaves no trace, whatever it does and however it ends."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from llc_lightning.runtime.quarantine import quarantine


class Net(nn.Module):
    """Everything that keeps state: BatchNorm, Dropout, a frozen parameter, a tied one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.second = nn.Linear(8, 4)
        self.tied = self.second
        self.second.bias.requires_grad_(False)
        self.norm.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.drop(self.norm(self.first(x)).relu()))


@pytest.fixture
def net() -> Iterator[Net]:
    cpu, python, numpy = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    torch.manual_seed(0)
    yield Net()
    torch.set_rng_state(cpu)
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002


HOOKS = [
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
]


def state(net: nn.Module) -> dict[str, object]:
    """Returns all that must not change, in comparable form."""
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002
    assert isinstance(numpy, dict)
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    return {
        "python": random.getstate(),
        "numpy": (numpy["state"]["key"].tobytes(), numpy["state"]["pos"]),
        "torch": torch.get_rng_state().numpy().tobytes(),
        "dtype": torch.get_default_dtype(),
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "train": [module.training for module in net.modules()],
        "hooks": [[dict(vars(module)[name]) for name in HOOKS] for module in net.modules()],
        "full": [vars(module)["_is_full_backward_hook"] for module in net.modules()],
        "identity": {name: id(tensor) for name, tensor in tensors.items()},
        "values": {name: (tensor.dtype, tensor.detach().numpy().tobytes()) for name, tensor in tensors.items()},
        "requires_grad": {name: tensor.requires_grad for name, tensor in tensors.items()},
        "grad": {
            name: None if tensor.grad is None else (id(tensor.grad), tensor.grad.numpy().tobytes())
            for name, tensor in tensors.items()
        },
        "tensor hooks": {name: len(getattr(tensor, "_backward_hooks", None) or {}) for name, tensor in tensors.items()},
        "accumulate hooks": {
            name: len(getattr(tensor, "_post_accumulate_grad_hooks", None) or {}) for name, tensor in tensors.items()
        },
    }


def draw(net: Net) -> None:
    torch.rand(3), random.random(), np.random.rand(3)  # noqa: NPY002, S311


def train_forward(net: Net) -> None:
    net.train()
    net(torch.randn(5, 4))


def backward(net: Net) -> None:
    net(torch.randn(5, 4)).sum().backward()


def drop_grads(net: Net) -> None:
    net.zero_grad(set_to_none=True)


def zero_grads(net: Net) -> None:
    net.zero_grad(set_to_none=False)


def write_weights(net: Net) -> None:
    net.first.weight.data.add_(1.0)
    with torch.no_grad():
        net.first.bias.fill_(float("nan"))


def flip_the_sign_of_zero(net: Net) -> None:
    net.norm.running_mean.mul_(-1.0)  # pyright: ignore[reportOptionalMemberAccess]


def replace_tensors(net: Net) -> None:
    net.first.weight = nn.Parameter(torch.zeros(8, 4))
    net.norm.running_mean = torch.ones(8)
    net.register_buffer("extra", torch.ones(1))


def change_dtype(net: Net) -> None:
    net.half()
    torch.set_default_dtype(torch.float64)


def freeze(net: Net) -> None:
    net.requires_grad_(False)


def leave_hooks(net: Net) -> None:
    def note(*args: object, **kwargs: object) -> None: ...

    net.first.register_forward_hook(note, with_kwargs=True, always_call=True)
    net.first.register_forward_pre_hook(note, with_kwargs=True)
    net.drop.register_full_backward_hook(note)
    net.drop.register_full_backward_pre_hook(note)
    net.first.weight.register_hook(note)
    net.first.weight.register_post_accumulate_grad_hook(note)


def remove_hooks(net: Net) -> None:
    for module in net.modules():
        module._forward_hooks.clear()  # pyright: ignore[reportPrivateUsage]


def switch_grad_off(net: Net) -> None:
    torch.set_grad_enabled(False)


MEASUREMENTS = [
    draw, train_forward, backward, drop_grads, zero_grads, write_weights, flip_the_sign_of_zero, replace_tensors,
    change_dtype, freeze, leave_hooks, remove_hooks, switch_grad_off,
]  # fmt: skip


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("measure", MEASUREMENTS, ids=lambda measure: measure.__name__)
@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
def test_nothing_is_left_of_a_measurement(
    net: Net, measure: Callable[[Net], None], fails: bool, mode: Callable[[], AbstractContextManager[None]]
) -> None:
    net.second.register_forward_hook(lambda *args: None)
    net.first.weight.register_hook(lambda grad: None)
    net(torch.ones(2, 4)).sum().backward()
    with mode():
        before = state(net)
        try:
            with quarantine(net):
                measure(net)
                assert state(net) != before or measure is switch_grad_off or measure is draw
                if fails:
                    raise FloatingPointError("half-way")
        except FloatingPointError:
            assert fails
        assert state(net) == before


def test_a_measurement_really_changes_things_without_it(net: Net) -> None:
    net(torch.ones(2, 4)).sum().backward()
    for measure in [draw, train_forward, backward, write_weights, flip_the_sign_of_zero, leave_hooks, freeze]:
        before = state(net)
        measure(net)
        assert state(net) != before, measure.__name__


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_can_be_taken_inside(net: Net, mode: Callable[[], AbstractContextManager[None]]) -> None:
    with mode(), quarantine(net):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        (grad,) = torch.autograd.grad(net(torch.ones(2, 4)).square().sum(), [net.first.weight])
    assert grad.abs().sum() > 0


def test_autocast_is_off_inside_and_on_again_after(net: Net) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with quarantine(net):
            assert net(torch.ones(2, 4)).dtype == torch.float32
        assert net(torch.ones(2, 4)).dtype == torch.bfloat16


def test_the_exception_comes_through(net: Net) -> None:
    with pytest.raises(FloatingPointError, match=r"^chain 3$"), quarantine(net):
        raise FloatingPointError("chain 3")


def test_handles_from_before_still_remove_their_hooks(net: Net) -> None:
    handle: RemovableHandle = net.first.register_forward_hook(lambda *args: None)
    with quarantine(net):
        leave_hooks(net)
    handle.remove()
    assert not vars(net.first)["_forward_hooks"]


def test_partial_gradients_go_on_accumulating(net: Net) -> None:
    net.eval()
    x = torch.ones(2, 4)
    net(x).sum().backward()
    with quarantine(net):
        net(3 * x).sum().backward()
        net.zero_grad()
    net(x).sum().backward()
    assert net.first.weight.grad is not None
    partial = net.first.weight.grad.clone()
    net.zero_grad()
    net(x).sum().backward()
    assert torch.equal(partial, 2 * net.first.weight.grad)


def test_hooks_left_on_a_weight_no_longer_run(net: Net) -> None:
    net.eval()
    ran: list[str] = []

    def double(grad: torch.Tensor) -> torch.Tensor:
        ran.append("grad")
        return 2 * grad

    with quarantine(net):
        net.first.weight.register_hook(double)
        net.first.weight.register_post_accumulate_grad_hook(lambda weight: ran.append("accumulated"))
        net(torch.ones(2, 4)).sum().backward()
        assert ran == ["grad", "accumulated"]
    net(torch.ones(2, 4)).sum().backward()
    assert ran == ["grad", "accumulated"]


def test_tensors_that_did_not_change_are_not_written(net: Net) -> None:
    versions = [parameter._version for parameter in net.parameters()]
    with quarantine(net):
        net(torch.ones(2, 4))
    assert [parameter._version for parameter in net.parameters()] == versions


def test_buffers_made_in_inference_mode_are_put_back(net: Net) -> None:
    with torch.inference_mode():
        net.register_buffer("made", torch.ones(3))
        with quarantine(net), torch.inference_mode():
            net.get_buffer("made").zero_()
        assert net.get_buffer("made").tolist() == [1.0, 1.0, 1.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_streams_are_put_back() -> None:
    net = nn.Linear(2, 2).cuda()
    before = torch.cuda.get_rng_state()
    with quarantine(net):
        torch.rand(3, device="cuda")
    assert torch.equal(torch.cuda.get_rng_state(), before)
