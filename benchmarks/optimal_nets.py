"""Trained nets of several kinds, whose components have constants that are best for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.data.cis import CISData
from llc_lightning.models.cis import CISModel
from llc_lightning.models.transformer import TransformerModel


@dataclass(frozen=True)
class Net:
    """A trained net, the examples, and what is ablated."""

    module: nn.Module
    batch: tuple[Tensor, Tensor]
    components: list[Component]


class Regression(nn.Module):
    """One hidden layer; the loss is the fourth power of the error."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 6)

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the mean over outputs."""
        return (self.last(self.act(self.first(batch[0]))) - batch[1]).pow(4).mean(-1)


class Images(nn.Module):
    """A convolutional classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.maps, self.mix, self.read = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 4)

    def logits(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the logits [example, class]."""
        return self.read(self.mix(self.maps(batch[0]).relu()).relu().mean((-2, -1)))

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the cross-entropy."""
        return F.cross_entropy(self.logits(batch), batch[1], reduction="none")


class Branch(nn.Module):
    """What a residual net adds to its stream."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(8, 32), nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Returns it for the stream."""
        return self.outer(self.inner(x).relu())


class Residual(nn.Module):
    """A residual classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.branches, self.read = nn.ModuleList(Branch() for _ in range(3)), nn.Linear(8, 4)

    def logits(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the logits [example, class]."""
        x = batch[0]
        for branch in self.branches:
            x = x + branch(x)
        return self.read(x)

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the cross-entropy."""
        return F.cross_entropy(self.logits(batch), batch[1], reduction="none")


def _trained(module: nn.Module, batch: tuple[Tensor, Tensor], names: list[str], *, steps: int, rate: float) -> Net:
    optimizer = torch.optim.Adam(module.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        module.per_example_loss(batch).mean().backward()
        optimizer.step()
    return Net(module.eval().requires_grad_(False), batch, find_components(module, names))


def circuits(n: int = 600) -> Net:
    """Returns a net that computes in superposition, with its neurons."""
    batch = CISData(size=8).analysis_set(n)
    module = CISModel(size=8, width=20, total_steps=300)
    return _trained(module, batch, ["neurons"], steps=300, rate=1e-2)


def regression(n: int = 600) -> Net:
    """Returns a regression on sparse inputs, with its neurons."""
    x = (torch.rand(n, 6) * 2 - 1) * (torch.rand(n, 6) < 0.3)
    return _trained(Regression(), (x, x.relu()), [f"act[{i}]" for i in range(20)], steps=600, rate=5e-3)


def images(n: int = 400) -> Net:
    """Returns a classifier of images, with its channels, which have a constant for every pixel."""
    x = torch.randn(n, 1, 6, 6)
    label = (x[:, 0, :3].mean((1, 2)) > 0).long() + 2 * (x[:, 0, :, :3].mean((1, 2)) > 0).long()
    return _trained(Images(), (x, label), ["maps[*]", "mix[*]"], steps=200, rate=5e-3)


def transformer(n: int = 400) -> Net:
    """Returns a transformer that says again what was said, with heads, neurons and whole outputs of layers."""
    tokens = torch.randint(0, 7, (n, 7))
    tokens[:, 4:] = tokens[:, :3]
    names = ["heads", *(f"net.blocks.{k}.mlp.hook_post[{i}]" for k in (0, 1) for i in (1, 3, 5, 7))]
    names += ["net.blocks.0.hook_attn_out", "net.blocks.0.hook_mlp_out", "net.blocks.1.hook_mlp_out"]
    module = TransformerModel(7, 6, d_model=8, d_mlp=16)
    return _trained(module, (tokens[:, :-1], tokens[:, 1:]), names, steps=300, rate=1e-2)


def residual(n: int = 600) -> Net:
    """Returns a residual classifier, with whole branches and neurons of each."""
    x = torch.randn(n, 8)
    label = (x[:, 0] * x[:, 1] > 0).long() + 2 * (x[:, 2] * x[:, 3] > 0).long()
    names = [f"branches.{k}.outer" for k in range(3)] + [f"branches.{k}.inner[{i}]" for k in range(3) for i in (0, 9)]
    return _trained(Residual(), (x, label), names, steps=200, rate=5e-3)


NETS: dict[str, Callable[[], Net]] = {
    "circuits": circuits,
    "regression": regression,
    "images": images,
    "transformer": transformer,
    "residual": residual,
}


def net(name: str) -> Net:
    """Returns one, trained as always."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NETS[name]()
