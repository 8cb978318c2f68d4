"""The networks, data and batches that speed is measured on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.networks import KINDS, Problem
from llc_lightning.components.loss import loss_fn
from llc_lightning.data.cis import CISData
from llc_lightning.models.cis import CISModel
from llc_lightning.runtime.batches import LossFn, Params

N_BETA, GAMMA, STEP_SIZE = 1000.0, 100.0, 1e-6


@dataclass(frozen=True)
class Case:
    """A problem and a batch size; ``module`` is what ours runs on, where that is not the problem's own network."""

    name: str
    problem: Problem
    batch_size: int
    module: nn.Module | None = None

    def at(self, batch_size: int) -> Case:
        """Returns the case with another batch size."""
        return replace(self, batch_size=batch_size)

    def ours(self) -> tuple[LossFn, Params]:
        """Returns the loss and the parameters that ours is given."""
        module = self.module or self.problem.network()
        return loss_fn(module), {name: parameter.detach() for name, parameter in module.named_parameters()}


@cache
def mlp() -> Case:
    """784-256-256-20, 271,892 weights."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(20_000, 784, generator=generator), torch.randint(20, (20_000,), generator=generator)
    return Case("MLP 784-256-256-20", _problem("MLP", data), 64)


@cache
def cis() -> Case:
    """The project's own CIS model and data, 3,136 weights."""
    module, data = CISModel(), CISData().analysis_set(16_384)
    assert isinstance(data, tuple)
    net = module.net
    arguments = {"inputs": net.W_in.in_features, "width": net.width, "outputs": net.W_out.out_features}
    plain = Problem("PlainCIS", {**arguments, "q": module.task.q}, module.state_dict(), data)
    some = tuple(tensor[:64] for tensor in data)
    assert torch.allclose(plain.network().per_example_loss(some), module.per_example_loss(some))
    return Case("CIS 64-32-32", plain, 128, module)


@cache
def autoencoder() -> Case:
    """100-40-100 with sparse inputs, 8,140 weights."""
    generator = torch.Generator().manual_seed(0)
    active = torch.rand(16_384, 100, generator=generator) < 0.05
    x = active * torch.rand(16_384, 100, generator=generator)
    return Case("CIS 100-40-100", _problem("Autoencoder", (x, x.clone()), inputs=100, width=40, outputs=100), 256)


@cache
def transformer(n: int = 128) -> Case:
    """2 layers of width 64 with 4 heads, a context of 64 and 256 tokens, 137,000 weights; ``n`` sequences."""
    tokens = torch.randint(256, (n, 65), generator=torch.Generator().manual_seed(0))
    return Case("transformer 2L d64", _problem("Transformer", (tokens,)), 8)


def _problem(kind: str, data: tuple[Tensor, ...], **arguments: Any) -> Problem:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = KINDS[kind](**arguments)
    return Problem(kind, arguments, network.state_dict(), data)
