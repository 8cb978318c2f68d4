"""Networks of every sort as losses over parameters, with weights, examples and masks, and the slow literal gradient."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.runtime.batches import Batch, LossFn, Params
from llc_lightning.sampling.slices import Moved, moved_entries
from llc_lightning.sampling.stacked import Stack

Masks = dict[str, Tensor]


class Perceptron(nn.Module):
    """Two layers, on examples of shape [5]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 4)
        self.second = nn.Linear(4, 3)

    def per_example_loss(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x))).square().sum(-1)


class Sequences(nn.Module):
    """The same on sequences [6, 5], with a LayerNorm and without biases in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 4)
        self.norm = nn.LayerNorm(4)
        self.second = nn.Linear(4, 3, bias=False)

    def per_example_loss(self, x: Tensor) -> Tensor:
        return self.second(self.norm(torch.sigmoid(self.first(x)))).square().mean((-2, -1))


class Images(nn.Module):
    """A convolutional net on images [2, 5, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.read = nn.Linear(3, 2)

    def per_example_loss(self, x: Tensor) -> Tensor:
        return self.read(torch.tanh(self.conv(x)).mean((-2, -1))).square().sum(-1)


class Attention(nn.Module):
    """Attention on sequences [3, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def per_example_loss(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0].square().mean((-2, -1))


class Tokens(nn.Module):
    """An embedding that is also the readout, on sequences of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.read = nn.Linear(4, 7)
        self.read.weight = self.embed.weight

    def per_example_loss(self, tokens: Tensor) -> Tensor:
        h = torch.tanh(self.embed(tokens)).cumsum(1)
        return F.cross_entropy(self.read(h).mT, tokens.roll(1, dims=-1), reduction="none").mean(-1)


class Composed(nn.Module):
    """Weights that meet weights: a learned input, a product of matrices, a transposed use, and bias by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(4))
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)

    def per_example_loss(self, x: Tensor) -> Tensor:
        start = torch.tanh(self.first(self.start))
        both = F.linear(self.first.weight, self.second.weight)
        back = F.linear(x @ self.first.weight.T, weight=self.second.weight, bias=self.second.bias)
        return (F.linear(x, both, self.second.bias) + self.second(start) + torch.tanh(back)).square().sum(-1)


@dataclass(frozen=True)
class Case:
    """A loss at some weights, with the masks of lanes that share a layout."""

    loss: LossFn
    params: Params
    batch: Batch
    lanes: tuple[Masks | None, ...]

    def moved(self) -> list[Moved]:
        return [moved_entries(self.params, lane) for lane in self.lanes]


def case(
    make: Callable[[], nn.Module], shape: tuple[int, ...], lanes: Callable[[Params], tuple[Masks | None, ...]],
    *, dtype: torch.dtype = torch.float64, examples: int = 9,
) -> Case:  # fmt: skip
    """Returns a module with random weights as a case; examples are tokens where the module embeds."""
    torch.manual_seed(0)
    module = make().to(dtype)
    tokens = any(isinstance(part, nn.Embedding) for part in module.modules())
    batch = torch.randint(7, (examples, *shape)) if tokens else torch.randn(examples, *shape, dtype=dtype)
    params = snapshot_params(module)
    return Case(loss_fn(module), params, batch, lanes(params))


def mask(params: Params, name: str, *index: object) -> Tensor:
    """Returns a mask that is True at an index of a parameter."""
    chosen = torch.zeros_like(params[name], dtype=torch.bool)
    chosen[index] = True
    return chosen


def scattered(params: Params, seed: int, entries: int) -> Masks:
    """Returns masks of random entries of every parameter."""
    draws = torch.Generator().manual_seed(seed)
    return {
        name: torch.zeros(value.numel(), dtype=torch.bool)
        .index_fill(0, torch.randperm(value.numel(), generator=draws)[:entries], True)
        .view(value.shape)
        for name, value in params.items()
    }


def literal(
    loss: LossFn, params: Params, masks: Mapping[str, Tensor] | None, position: Params, batch: Batch, baseline: Tensor
) -> tuple[Tensor, Params]:
    """Returns the mean excess loss and its gradient by autograd over full tensors behind masks."""
    masks = (
        {name: torch.ones_like(value, dtype=torch.bool) for name, value in params.items()} if masks is None else masks
    )
    full = {name: value.clone() for name, value in params.items()}
    for name, values in position.items():
        full[name][masks[name]] = values.flatten()
    moving = {name: full[name].requires_grad_() for name in position}
    excess = (loss(full, batch) - baseline).mean()
    gradients = torch.autograd.grad(excess, list(moving.values()))
    return excess.detach(), {
        name: gradient[masks[name]].view(position[name].shape) for name, gradient in zip(moving, gradients, strict=True)
    }


def around(start: Stack, scale: float = 0.3, seed: int = 1) -> Stack:
    """Returns positions at random distances from the start."""
    draws = torch.Generator().manual_seed(seed)
    return {
        name: value + scale * torch.randn(value.shape, generator=draws, dtype=value.dtype)
        for name, value in start.items()
    }
