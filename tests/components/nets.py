"""Small modules with a per-example loss, each with something that is easy to get wrong."""

import threading
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning.components.hooks import WeightAxes


class MLP(nn.Module):
    """Three named Linear layers and no hook point."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.second = nn.Linear(5, 3)
        self.last = nn.Linear(3, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.second(self.first(x).relu()).relu())

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (self(batch[0]) - batch[1]).square().mean(-1)


class Declared(nn.Module):
    """Two hidden layers that declare which weights make their neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.W_in = nn.Linear(4, 5)
        self.hook_one = nn.Identity()
        self.W_mid = nn.Linear(5, 3)
        self.hook_two = nn.Identity()
        self.W_out = nn.Linear(3, 2)
        self.hook_out = nn.Identity()

    def weight_axes(self) -> dict[str, WeightAxes]:
        return {
            "hook_one": WeightAxes((("W_in.weight", 0),), (("W_in.bias", 0),), (("W_mid.weight", 1),)),
            "hook_two": WeightAxes((("W_mid.weight", 0),), (("W_mid.bias", 0),), (("W_out.weight", 1),)),
            "hook_out": WeightAxes((("W_out.weight", 0),), (("W_out.bias", 0),), unit="output"),
        }

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.hook_two(self.W_mid(self.hook_one(self.W_in(x).relu())).relu())
        return self.hook_out(self.W_out(hidden))


class Wrapped(L.LightningModule):
    """A LightningModule around a net, as users have them: it logs where it should not, and drops out."""

    def __init__(self, net: nn.Module | None = None) -> None:
        super().__init__()
        self.net = Declared() if net is None else net
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (self.net(self.drop(self.norm(batch[0]))) - batch[1]).square().mean(-1)

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        losses = self.losses(batch)
        self.log("loss", losses.mean().detach())
        self.log_dict({"again": losses.sum().detach()})
        return losses

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.per_example_loss(batch).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Tied(nn.Module):
    """An embedding whose weight is also that of the readout."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.mix = nn.Linear(4, 4)
        self.read = nn.Linear(4, 7, bias=False)
        self.read.weight = self.embed.weight

    def per_example_loss(self, batch: Tensor) -> Tensor:
        logits = self.read(self.mix(self.embed(batch)).tanh())
        return F.cross_entropy(logits[:, :-1].mT, batch[:, 1:], reduction="none").mean(-1)


class Shared(nn.Module):
    """One layer that is registered twice and used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 4)
        self.down = self.up
        self.read = nn.Linear(4, 1)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return self.read(self.down(self.up(batch).relu()).relu())[:, 0].square()


class Counting(nn.Module):
    """Counts its calls in buffers, in place and anew, and lets the loss depend on them."""

    calls: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("none", None)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        self.calls += 1
        self.total = self.total + (self.w * batch).sum()
        return self.w * batch + 100 * self.calls + 1000 * self.total


class Stubborn(nn.Module):
    """Holds what a deep copy refuses: a lock, a tensor of a graph, a buffer of a graph, and a hook of an outsider."""

    def __init__(self, outsider: Any = None) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(2.0))
        self.part = nn.Identity()
        self.lock = threading.Lock()
        self.last = self.w * 3
        self.notes = [self.w * 4]
        self.register_buffer("scale", self.w * 5)
        if outsider is not None:
            self.part.register_forward_hook(outsider.see)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        with self.lock:
            return self.part(self.w * batch) + 0 * self.last


def regression(n: int = 16) -> tuple[Tensor, Tensor]:
    """Returns inputs [n, 4] and targets [n, 2]."""
    stream = torch.Generator().manual_seed(0)
    return torch.randn(n, 4, generator=stream), torch.randn(n, 2, generator=stream)


def weights(module: nn.Module) -> dict[str, Tensor]:
    """Returns the parameters by name, detached, tied ones once."""
    return {name: parameter.detach() for name, parameter in module.named_parameters()}
