"""An induction transformer built by hand, with a decoy head whose attention is the same and whose effect is none."""

import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

VOCABULARY, LENGTH, HEAD, HEADS = 16, 24, 24, 4
BLOCK = 11
TOK, POS, PREV, OUT, NULL = (slice(0, 16), slice(16, 40), slice(40, 56), slice(56, 72), slice(72, 88))
WIDTH = 88


class Attention(nn.Module):
    """Heads without biases; the heads that matter are set, the others are random and write where nobody reads."""

    def __init__(self, stream: torch.Generator) -> None:
        super().__init__()
        self.hook_q, self.hook_k, self.hook_v, self.hook_z = (HookPoint() for _ in range(4))
        shape = (HEADS, WIDTH, HEAD)
        self.W_Q, self.W_K, self.W_V = (nn.Parameter(0.3 * torch.randn(shape, generator=stream)) for _ in range(3))
        written = torch.zeros(HEADS, HEAD, WIDTH)
        written[:, :, NULL] = 0.3 * torch.randn(HEADS, HEAD, 16, generator=stream)
        self.W_O = nn.Parameter(written)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            hook(torch.einsum("epm,hmd->ephd", x, weight))
            for hook, weight in ((self.hook_q, self.W_Q), (self.hook_k, self.W_K), (self.hook_v, self.W_V))
        )
        score = torch.einsum("eqhd,ekhd->ehqk", q, k) / math.sqrt(HEAD)
        seen = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        pattern = score.masked_fill(~seen, -1e9).softmax(-1)
        z = self.hook_z(torch.einsum("ehqk,ekhd->eqhd", pattern, v))
        return z.flatten(-2) @ self.W_O.flatten(0, 1)


class Block(nn.Module):
    def __init__(self, stream: torch.Generator) -> None:
        super().__init__()
        self.hook_resid_pre, self.hook_attn_out, self.hook_resid_post = (HookPoint() for _ in range(3))
        self.attn = Attention(stream)

    def forward(self, x: Tensor) -> Tensor:
        x = self.hook_resid_pre(x)
        return self.hook_resid_post(x + self.hook_attn_out(self.attn(x)))


class Induction(nn.Module):
    """Head 0.1 writes each token's predecessor, head 1.2 looks the current token up among those; 1.0 is the decoy."""

    def __init__(self) -> None:
        super().__init__()
        stream = torch.Generator().manual_seed(0)
        self.cfg = SimpleNamespace(n_heads=HEADS)
        self.hook_embed, self.hook_logits = HookPoint(), HookPoint()
        self.blocks = nn.ModuleList([Block(stream), Block(stream)])
        with torch.no_grad():
            self._previous(self.blocks[0].attn, 1)
            self._lookup(self.blocks[1].attn, 2, OUT, 12.0)
            self._lookup(self.blocks[1].attn, 0, NULL, 12.0)

    @staticmethod
    def _clear(attention: nn.Module, head: int) -> None:
        for weight in (attention.W_Q, attention.W_K, attention.W_V, attention.W_O):
            weight[head] = 0

    def _previous(self, attention: nn.Module, head: int) -> None:
        self._clear(attention, head)
        attention.W_Q[head, POS] = 10 * torch.eye(LENGTH)
        attention.W_K[head, POS] = 10 * torch.eye(LENGTH, LENGTH).roll(1, 1)
        attention.W_V[head, TOK, :VOCABULARY] = torch.eye(VOCABULARY)
        attention.W_O[head, :VOCABULARY, PREV] = torch.eye(VOCABULARY)

    def _lookup(self, attention: nn.Module, head: int, to: slice, size: float) -> None:
        self._clear(attention, head)
        attention.W_Q[head, TOK, :VOCABULARY] = 10 * torch.eye(VOCABULARY)
        attention.W_K[head, PREV, :VOCABULARY] = 10 * torch.eye(VOCABULARY)
        attention.W_V[head, TOK, :VOCABULARY] = torch.eye(VOCABULARY)
        attention.W_O[head, :VOCABULARY, to] = size * torch.eye(VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        x = torch.zeros(*tokens.shape, WIDTH)
        x[..., TOK] = F.one_hot(tokens, VOCABULARY).float()
        x[..., POS] = torch.eye(LENGTH)
        x = self.hook_embed(x)
        for block in self.blocks:
            x = block(x)
        return self.hook_logits(x[..., OUT])

    def logits(self, batch: Tensor) -> Tensor:
        return self(batch)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        """The cross-entropy of the second block's tokens, where they can be known."""
        known = slice(1 + BLOCK, LENGTH - 1)
        logits = self(batch)[:, known]
        return F.cross_entropy(logits.mT, batch[:, 2 + BLOCK :], reduction="none").mean(-1)


def sequences(n: int, *, kinds: int | None = None, seed: int = 0) -> Tensor:
    """Tokens: a first one of 0, 12..15, a permutation of 1..11 twice (of some kinds), and its first token."""
    stream = torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(BLOCK, generator=stream) + 1 for _ in range(kinds or n)])
    chosen = orders[torch.arange(n) % len(orders)]
    first = torch.tensor([0, 12, 13, 14, 15])[torch.randint(5, (n, 1), generator=stream)]
    return torch.cat([first, chosen, chosen, chosen[:, :1]], dim=1)
