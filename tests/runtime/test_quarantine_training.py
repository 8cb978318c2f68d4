"""A training run is the same to the bit with and without measurements inside the quarantine."""

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from llc_lightning.runtime.quarantine import quarantine

ACCUMULATE = 4


@pytest.fixture(autouse=True)
def _same_random_states() -> Iterator[None]:
    cpu, python, numpy = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    yield
    torch.set_rng_state(cpu)
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002


def digest(net: nn.Module, optimizer: torch.optim.Optimizer) -> str:
    """Returns the SHA-256 of weights, buffers, partial gradients, optimizer state and random states."""
    sha = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        sha.update(name.encode() + tensor.numpy().tobytes())
    for parameter in net.parameters():
        sha.update(b"" if parameter.grad is None else parameter.grad.numpy().tobytes())
    for state in optimizer.state_dict()["state"].values():
        for name, tensor in sorted(state.items()):
            sha.update(name.encode() + tensor.numpy().tobytes())
    sha.update(torch.get_rng_state().numpy().tobytes())
    sha.update(repr((random.getstate(), np.random.get_state())).encode())  # noqa: NPY002
    return sha.hexdigest()


def train(
    measure: Callable[[nn.Module], None] | None,
    guard: Callable[[nn.Module], AbstractContextManager[None]] = quarantine,
) -> list[str]:
    """Returns the digest after every batch of a run that measures after every batch."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    digests: list[str] = []
    for batch in range(3 * ACCUMULATE):
        x = torch.randn(8, 6) * random.random() + float(np.random.rand())  # noqa: NPY002, S311
        net(x).square().mean().backward()
        if (batch + 1) % ACCUMULATE == 0:
            optimizer.step()
            optimizer.zero_grad()
        if measure is not None:
            with guard(net):
                measure(net)
        digests.append(digest(net, optimizer))
    return digests


def thorough(net: nn.Module) -> None:
    """Does everything that a careless measurement does."""
    net.register_forward_hook(lambda module, inputs, output: output * 2)
    net.train()
    loss = net(torch.randn(8, 6)).square().mean() * random.random() * float(np.random.rand())  # noqa: NPY002, S311
    loss.backward()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += torch.randn_like(parameter)
    net.zero_grad()
    net.eval().requires_grad_(False)


def failing(net: nn.Module) -> None:
    """Fails half-way."""
    thorough(net)
    raise FloatingPointError("half-way")


def skipping(net: nn.Module) -> None:
    """Fails inside, and goes on."""
    with pytest.raises(FloatingPointError), quarantine(net):
        failing(net)


def test_the_trajectory_is_untouched() -> None:
    assert train(thorough) == train(None)


def test_the_trajectory_is_untouched_by_a_measurement_that_fails() -> None:
    assert train(skipping) == train(None)


@pytest.mark.parametrize(
    "careless", [lambda net: torch.rand(1), lambda net: net(torch.ones(8, 6)), nn.Module.zero_grad]
)
def test_it_would_be_touched_outside(careless: Callable[[nn.Module], None]) -> None:
    assert train(careless, guard=lambda net: nullcontext()) != train(None)
    assert train(careless) == train(None)
