"""The parts of a transformer, hooked and named as TransformerLens names them."""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Num
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from llc_lightning.components.hooks import WeightAxes
from llc_lightning.models.transformer_shape import TransformerShape

Stream: TypeAlias = Float[Tensor, "example position d_model"]
"""The residual stream, or what is read from it or added to it."""
Heads: TypeAlias = Float[Tensor, "example position head d_head"]
Inputs: TypeAlias = Int64[Tensor, "example position"] | Num[Tensor, "example position d_input"]
"""Tokens, or vectors in their place."""

_EPS = 1e-5
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
}


class Embed(nn.Module):
    """``W_E[token]``, or ``x W_E`` for vectors x."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.W_E = _empty(shape.d_input or shape.d_vocab, shape.d_model)
        self.reads_tokens = shape.d_input is None

    def forward(self, inputs: Inputs) -> Stream:
        """Returns what stands for each input."""
        return F.embedding(inputs, self.W_E) if self.reads_tokens else inputs.to(self.W_E.dtype) @ self.W_E


class PosEmbed(nn.Module):
    """A learned vector for each position."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.W_pos = _empty(shape.n_ctx, shape.d_model)

    def forward(self, inputs: Inputs) -> Stream:
        """Returns the positions' vectors, the same for every example."""
        return self.W_pos[: inputs.shape[1]].expand(inputs.shape[0], -1, -1)


class Normalize(nn.Module):
    """Brings the residual stream to one scale before it is read.

    ``layer`` is LayerNorm (Ba et al. 2016, arXiv:1607.06450), ``rms`` RMSNorm (Zhang and Sennrich 2019,
    arXiv:1910.07467), which does not centre and has no bias.

    Args:
        d_model: The width of the stream.
        norm: ``layer`` or ``rms``.
    """

    def __init__(self, d_model: int, norm: str) -> None:
        super().__init__()
        self.centred = norm == "layer"
        self.w = nn.Parameter(torch.ones(d_model))
        self.b = nn.Parameter(torch.zeros(d_model)) if self.centred else None
        self.hook_scale = HookPoint()
        self.hook_normalized = HookPoint()

    def forward(self, x: Stream) -> Stream:
        """Returns ``x / scale * w (+ b)``."""
        if self.centred:
            x = x - x.mean(dim=-1, keepdim=True)
        scale = self.hook_scale((x.square().mean(dim=-1, keepdim=True) + _EPS).sqrt())
        scaled = x / scale * self.w
        return self.hook_normalized(scaled if self.b is None else scaled + self.b)

    def weight_axes(self) -> dict[str, WeightAxes]:
        """Returns which weights make a coordinate of what is read."""
        bias = () if self.b is None else (("b", 0),)
        return {"hook_normalized": WeightAxes((("w", 0),), bias, unit="output")}


class Attention(nn.Module):
    """Causal multi-head attention (Vaswani et al. 2017, arXiv:1706.03762), with biases; heads are units of ``hook_z``.

    Args:
        shape: Of the transformer.
    """

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        heads, d_head, d_model = shape.n_heads, shape.head_size, shape.d_model
        self.W_Q, self.W_K, self.W_V = (_empty(heads, d_model, d_head) for _ in range(3))
        self.b_Q, self.b_K, self.b_V = (nn.Parameter(torch.zeros(heads, d_head)) for _ in range(3))
        self.W_O = _empty(heads, d_head, d_model)
        self.b_O = nn.Parameter(torch.zeros(d_model))
        self.rotary = shape.positions == "rotary"
        self.hook_q, self.hook_k, self.hook_v = HookPoint(), HookPoint(), HookPoint()
        if self.rotary:
            self.hook_rot_q, self.hook_rot_k = HookPoint(), HookPoint()
        self.hook_attn_scores, self.hook_pattern, self.hook_z = HookPoint(), HookPoint(), HookPoint()
        self.hook_result = HookPoint() if shape.head_results else None

    def forward(self, x: Stream) -> Stream:
        """Returns what all heads together add to the residual stream."""
        q = self.hook_q(_to_heads(x, self.W_Q, self.b_Q))
        k = self.hook_k(_to_heads(x, self.W_K, self.b_K))
        v = self.hook_v(_to_heads(x, self.W_V, self.b_V))
        if self.rotary:
            q, k = self.hook_rot_q(rotated(q)), self.hook_rot_k(rotated(k))
        scores = q.transpose(1, 2) @ k.permute(0, 2, 3, 1) / math.sqrt(q.shape[-1])
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        scores = self.hook_attn_scores(scores.masked_fill(hidden, -torch.inf))
        pattern = self.hook_pattern(scores.softmax(dim=-1))
        z = self.hook_z((pattern @ v.transpose(1, 2)).transpose(1, 2))
        if self.hook_result is None:
            return z.flatten(2) @ self.W_O.flatten(0, 1) + self.b_O
        return self.hook_result(torch.einsum("ephd,hdm->ephm", z, self.W_O)).sum(dim=2) + self.b_O

    def weight_axes(self) -> dict[str, WeightAxes]:
        """Returns which weights make a head: its slices of W_Q, W_K and W_V with their biases, and of W_O."""
        read = (("W_Q", 0), ("W_K", 0), ("W_V", 0))
        bias = (("b_Q", 0), ("b_K", 0), ("b_V", 0))
        return {"hook_z": WeightAxes(read, bias, outgoing=(("W_O", 0),), unit="head", unit_axis=-2)}


class MLP(nn.Module):
    """``act(x W_in + b_in) W_out + b_out``; neurons are units of ``hook_post``."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        d_mlp = shape.d_mlp or 0
        self.W_in = _empty(shape.d_model, d_mlp)
        self.b_in = nn.Parameter(torch.zeros(d_mlp))
        self.W_out = _empty(d_mlp, shape.d_model)
        self.b_out = nn.Parameter(torch.zeros(shape.d_model))
        self.act = shape.act
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()

    def forward(self, x: Stream) -> Stream:
        """Returns what all neurons together add to the residual stream."""
        pre = self.hook_pre(x @ self.W_in + self.b_in)
        return self.hook_post(_ACTIVATIONS[self.act](pre)) @ self.W_out + self.b_out

    def weight_axes(self) -> dict[str, WeightAxes]:
        """Returns which weights make a neuron: its column of W_in, its bias and its row of W_out."""
        return {"hook_post": WeightAxes((("W_in", 1),), (("b_in", 0),), outgoing=(("W_out", 0),), unit="neuron")}


class Block(nn.Module):
    """Attention, then where there is one an MLP, each read from the normalised residual stream and added to it."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.hook_resid_pre = HookPoint()
        self.ln1 = normalization(shape)
        self.attn = Attention(shape)
        self.hook_attn_out = HookPoint()
        if shape.d_mlp is not None:
            self.hook_resid_mid = HookPoint()
            self.ln2 = normalization(shape)
            self.mlp = MLP(shape)
            self.hook_mlp_out = HookPoint()
        self.hook_resid_post = HookPoint()
        self.has_mlp = shape.d_mlp is not None

    def forward(self, x: Stream) -> Stream:
        """Returns the residual stream after the block."""
        x = self.hook_resid_pre(x)
        x = x + self.hook_attn_out(self.attn(self.ln1(x)))
        if self.has_mlp:
            x = self.hook_resid_mid(x)
            x = x + self.hook_mlp_out(self.mlp(self.ln2(x)))
        return self.hook_resid_post(x)

    def weight_axes(self) -> dict[str, WeightAxes]:
        """Returns which weights make a coordinate of what attention and MLP write."""
        axes = {"hook_attn_out": WeightAxes((("attn.W_O", 2),), (("attn.b_O", 0),), unit="output")}
        if self.has_mlp:
            axes["hook_mlp_out"] = WeightAxes((("mlp.W_out", 1),), (("mlp.b_out", 0),), unit="output")
        return axes


class Unembed(nn.Module):
    """``x W_U``, without bias."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.W_U = _empty(shape.d_model, shape.d_vocab_out or shape.d_vocab)
        self.hook_out = HookPoint()

    def forward(self, x: Stream) -> Float[Tensor, "example position output"]:
        """Returns the logits, or the predicted numbers."""
        return self.hook_out(x @ self.W_U)

    def weight_axes(self) -> dict[str, WeightAxes]:
        """Returns which weights make an output."""
        return {"hook_out": WeightAxes((("W_U", 1),), unit="output")}


def normalization(shape: TransformerShape) -> nn.Module:
    """Returns what stands before a part that reads the residual stream; nothing is done for the norm ``none``."""
    return nn.Identity() if shape.norm == "none" else Normalize(shape.d_model, shape.norm)


def rotated(x: Heads) -> Heads:
    """Returns queries or keys turned by their position, in planes of neighbouring pairs of coordinates.

    Pair i of position t is turned by ``t 10000^(-2i / d_head)`` (Su et al. 2021, arXiv:2104.09864), so that a product
    of query and key depends on their distance alone.
    """
    n, d_head = x.shape[1], x.shape[-1]
    speed = 10000.0 ** (-torch.arange(0, d_head, 2, device=x.device, dtype=torch.float32) / d_head)
    angle = torch.arange(n, device=x.device)[:, None, None] * speed
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    one, two = x[..., 0::2], x[..., 1::2]
    return torch.stack((one * cos - two * sin, two * cos + one * sin), dim=-1).flatten(-2)


def _to_heads(x: Stream, weight: Tensor, bias: Tensor) -> Heads:
    # One product with the heads side by side is several times faster than one for each of them.
    return (x @ weight.transpose(0, 1).flatten(1)).view(*x.shape[:2], *bias.shape) + bias


def _empty(*size: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(size))
