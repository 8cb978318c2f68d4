"""Recipes: how a net of one's own is measured, as a LightningModule, a plain module, and one of `transformers`.

Each needs one method, ``per_example_loss(batch)``, and gets its components by walking its modules.
"""

from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning import ablation_effects, estimate_llc, find_components, loss_fn
from llc_lightning.components.loss import snapshot_params
from llc_lightning.runtime.types import Batch


class OwnLightningModule(L.LightningModule):
    """A LightningModule: training and measuring call the same loss."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 6)
        self.down = nn.Linear(6, 1)

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (self.down(self.up(batch[0]).relu())[:, 0] - batch[1]).square()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.per_example_loss(batch).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


class PlainModule(nn.Module):
    """A plain module gets its loss from a wrapper that owns it, so that it need not be changed."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1], reduction="none")


class LanguageModel(nn.Module):
    """A causal language model of `transformers`; an example is a sequence, its loss the mean over predicted tokens."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def per_example_loss(self, batch: Tensor) -> Tensor:
        logits = self.model(input_ids=batch, use_cache=False).logits
        return F.cross_entropy(logits[:, :-1].mT, batch[:, 1:], reduction="none").mean(dim=-1)


def gpt2() -> LanguageModel:
    """GPT-2's architecture in small, with random weights; dropout must be off, as the loss may not be random."""
    transformers: Any = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=11, n_positions=6, n_embd=8, n_layer=1, n_head=2, attn_implementation="eager",
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return LanguageModel(transformers.GPT2LMHeadModel(config))


def measured(module: nn.Module, batch: Batch, components: list[str]) -> None:
    """Measures a module by LLC and ablation, and checks that it comes back as it was."""
    before = snapshot_params(module)
    record = estimate_llc(
        loss_fn(module), snapshot_params(module), batch, n_beta=20.0, gamma=50.0, chains=2, draws=8, burn_in=4, seed=0
    )
    assert torch.isfinite(torch.as_tensor(record.value))
    table = ablation_effects(module, batch, components, ["zero", "mean"])
    assert len(table) == 2 * len(find_components(module, components))
    assert set(table["status"]) == {"ok"}
    assert bool((table["value"].abs() > 0).any())
    after = snapshot_params(module)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_lightning_module_of_ones_own() -> None:
    measured(OwnLightningModule(), (torch.randn(16, 4), torch.randn(16)), ["neurons", "up"])


def test_a_plain_module_in_a_wrapper() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    measured(PlainModule(net), (torch.randn(16, 4), torch.randint(0, 3, (16,))), ["net.0[*]", "net.1"])


def test_a_gpt2_of_transformers() -> None:
    points = ["model.transformer.h.0.mlp", "model.transformer.h.0.attn.c_proj"]
    measured(gpt2(), torch.randint(0, 11, (16, 6)), points)
