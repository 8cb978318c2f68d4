"""A small causal transformer whose loss ignores padding, padded examples for it, and these one at a time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning.components.component import Component

PAD, POSITIONS, TOKENS = 9, 8, 10
LENGTHS = (8, 5, 3, 6, 2, 8, 4, 7, 5, 3, 6, 4)


class Padded(nn.Module):
    """Attention over what is real, an MLP, and logits; the loss is the mean over the real targets."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.embed, self.at = nn.Embedding(TOKENS, 8), nn.Embedding(POSITIONS, 8)
            self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
            self.up, self.down, self.read = nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, TOKENS)
        self.hook_scores, self.hook_pattern, self.hook_z = nn.Identity(), nn.Identity(), nn.Identity()
        self.hook_hidden, self.hook_resid = nn.Identity(), nn.Identity()

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        tokens, real = batch["tokens"], batch["real"]
        place = (real.cumsum(1) - 1).clamp_min(0)
        x = self.embed(tokens) + self.at(place)
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 4)).unbind(-3)
        seen = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).tril() & real[:, None, None, :]
        # A padded query sees itself, so that no row is empty.
        seen = seen | torch.eye(tokens.shape[1], dtype=torch.bool)
        scores = self.hook_scores((torch.einsum("eqhd,ekhd->ehqk", q, k) / 2).masked_fill(~seen, -torch.inf))
        z = self.hook_z(torch.einsum("ehqk,ekhd->eqhd", self.hook_pattern(scores.softmax(-1)), v))
        x = self.hook_resid(x + self.out(z.flatten(-2)))
        return self.read(x + self.down(self.hook_hidden(self.up(x).relu())))

    def per_example_loss(self, batch: dict[str, Tensor]) -> Tensor:
        each = F.cross_entropy(self.logits(batch)[:, :-1].mT, batch["tokens"][:, 1:], reduction="none")
        counts = batch["real"][:, 1:] & batch["real"][:, :-1]
        return each.where(counts, 0.0).sum(1) / counts.sum(1)


class OwnMask(Padded):
    """It says by itself what counts."""

    def mask(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["real"]


def examples(*, left: bool = False, fill: int | None = PAD, partner: bool = False) -> dict[str, Tensor]:
    """Padded examples; padding is filled with one token, or with random ones for None."""
    stream = torch.Generator().manual_seed(1 + partner)
    tokens = torch.randint(0, PAD, (len(LENGTHS), POSITIONS), generator=stream)
    answers = torch.randint(0, TOKENS, (2, len(LENGTHS)), generator=stream)
    real = torch.arange(POSITIONS) < torch.tensor(LENGTHS)[:, None]
    real = real.flip(1) if left else real
    filling = torch.randint(0, TOKENS, tokens.shape, generator=torch.Generator().manual_seed(9))
    filled = tokens.where(real, filling if fill is None else torch.full_like(tokens, fill))
    first = real.int().argmax(1)
    return {"tokens": filled, "real": real, "right": answers[0], "wrong": answers[1], "second": first + 1}


def unpadded(batch: dict[str, Tensor], i: int) -> dict[str, Tensor]:
    """One example, without its padding."""
    real = batch["real"][i]
    first = int(real.int().argmax())
    alone = {name: values[i : i + 1] for name, values in batch.items()}
    return {
        **alone,
        "tokens": batch["tokens"][i, real][None],
        "real": real[real][None],
        "second": alone["second"] - first,
    }


def parts() -> list[Component]:
    """Activations of every form: units, heads, attention by query and key, and positions."""
    return [
        Component("up[2]", "neuron", "up", (2,)),
        Component("up", "layer", "up"),
        Component("hook_z[1]", "head", "hook_z", (1,), -2),
        Component(
            "hook_z[0]+up[3]",
            "set",
            "hook_z",
            parts=(Component("hook_z[0]", "head", "hook_z", (0,), -2), Component("up[3]", "neuron", "up", (3,))),
        ),
        Component("hook_pattern[1]", "head", "hook_pattern", (1,), -3),
        Component("hook_scores", "layer", "hook_scores", None, -3),
        Component("hook_pattern", "layer", "hook_pattern"),
        Component("hook_pattern[3]", "unit", "hook_pattern", (3,)),
        Component("hook_pattern[0,4]", "set", "hook_pattern", (0, 4)),
        Component("hook_resid@2", "position", "hook_resid", positions=(2,)),
        Component("hook_resid:d", "direction", "hook_resid", basis=torch.eye(8)[:2]),
    ]
