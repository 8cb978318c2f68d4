"""The networks that are timed, in plain torch, so that a peer's environment can build them too.

Each has ``per_example_loss(batch)`` for a tuple (or list) of tensors with a leading example axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """A classifier of the size of MNIST and FashionMNIST together, with ReLUs."""

    def __init__(self, sizes: Sequence[int] = (784, 256, 256, 20)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.net = nn.Sequential(*layers[:-1])

    def per_example_loss(self, batch: Sequence[Tensor]) -> Tensor:
        """Returns the cross-entropy of every example (x, label)."""
        return F.cross_entropy(self.net(batch[0]), batch[1], reduction="none")


class OneHidden(nn.Module):
    """``W_out relu(W_in x)`` with biases, under the names of a CIS model's weights."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.net = nn.Module()
        self.net.W_in = nn.Linear(inputs, width)
        self.net.W_out = nn.Linear(width, outputs)

    def outputs(self, x: Tensor) -> Tensor:
        """Returns the outputs."""
        return self.net.W_out(self.net.W_in(x).relu())


class PlainCIS(OneHidden):
    """A CIS model without hook points: the mean fourth power of the error over outputs, divided by ``q``."""

    def __init__(self, inputs: int, width: int, outputs: int, q: float) -> None:
        super().__init__(inputs, width, outputs)
        self.q = q

    def per_example_loss(self, batch: Sequence[Tensor]) -> Tensor:
        """Returns the loss of every example (x, y)."""
        square = (self.outputs(batch[0].to(self.net.W_in.weight.dtype)) - batch[1]).square()
        return (square * square).mean(-1) / self.q


class Autoencoder(OneHidden):
    """The mean squared error of a net with one hidden layer."""

    def per_example_loss(self, batch: Sequence[Tensor]) -> Tensor:
        """Returns the loss of every example (x, y)."""
        return (self.outputs(batch[0]) - batch[1]).square().mean(-1)


class Attention(nn.Module):
    """Causal self-attention with separate queries, keys, values and outputs."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the heads write, [example, position, width]."""
        q, k, v = (part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and an MLP, each behind a LayerNorm."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the residual stream after the block."""
        x = x + self.attention(self.norm1(x))
        return x + self.outer(F.gelu(self.inner(self.norm2(x))))


class Transformer(nn.Module):
    """A decoder-only transformer over a small vocabulary."""

    def __init__(
        self,
        layers: int = 2,
        width: int = 64,
        heads: int = 4,
        hidden: int = 256,
        context: int = 64,
        vocabulary: int = 256,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(context, width) * 0.02)
        self.blocks = nn.ModuleList([Block(width, heads, hidden) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.unembed = nn.Linear(width, vocabulary, bias=False)

    def per_token_loss(self, tokens: Tensor) -> Tensor:
        """Returns the cross-entropy of every token but the first, [example, position]."""
        x = self.embed(tokens[:, :-1]) + self.positions
        for block in self.blocks:
            x = block(x)
        logits = self.unembed(self.norm(x))
        return F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")

    def per_example_loss(self, batch: Sequence[Tensor]) -> Tensor:
        """Returns the mean cross-entropy over the tokens of every example."""
        return self.per_token_loss(batch[0]).mean(-1)


KINDS: dict[str, type[nn.Module]] = {kind.__name__: kind for kind in (MLP, PlainCIS, Autoencoder, Transformer)}
"""The networks by name."""


@dataclass(frozen=True)
class Problem:
    """A network with its weights, and data, in a form that travels between environments."""

    kind: str
    arguments: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    data: tuple[Tensor, ...]

    def network(self) -> nn.Module:
        """Returns a new network with these weights."""
        network = KINDS[self.kind](**self.arguments)
        network.load_state_dict(dict(self.weights))
        return network

    def save(self, path: str) -> None:
        """Writes everything to a file."""
        content = {"kind": self.kind, "arguments": dict(self.arguments)}
        torch.save({**content, "weights": dict(self.weights), "data": self.data}, path)

    @staticmethod
    def load(path: str) -> Problem:
        """Returns what :meth:`save` wrote."""
        return Problem(**torch.load(path, weights_only=True))
