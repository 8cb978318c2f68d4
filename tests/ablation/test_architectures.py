"""Transformers of three makes: what is found by walking them, and ablated as one hook and one weight edit do."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning import ablation_effects
from llc_lightning.ablation.engine.base import resolve_methods
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.ablation.procedures.weight_edit import weight_edit
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.sequences.base import NO_TARGET
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.errors import AddressError, DataError, SettingError
from tests.ablation.nets import literal_losses, values_of

SIZES = {"d_model": 8, "n_heads": 2, "n_layers": 2, "d_mlp": 6}
TOKENS = torch.randint(0, 7, (20, 6), generator=torch.Generator().manual_seed(0))


class LanguageModel(nn.Module):
    """Gives a language model, which stays as it is, a loss per example: the mean over predicted tokens."""

    def __init__(self, model: nn.Module, logits: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self._logits = model, logits

    def logits(self, batch: Tensor) -> Tensor:
        return self._logits(self.model, batch)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(batch)[:, :-1].mT, batch[:, 1:], reduction="none").mean(-1)


def ours() -> nn.Module:
    return TransformerModel(7, 6, **SIZES, norm="layer", act="gelu")


def bridge() -> nn.Module:
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    config = TransformerBridgeConfig(**SIZES, d_head=4, n_ctx=6, d_vocab=7, act_fn="gelu", seed=0)
    return LanguageModel(TransformerBridge.boot_native(config), lambda model, batch: model(batch))


def gpt2() -> nn.Module:
    transformers: Any = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=7, n_positions=6, n_embd=8, n_layer=2, n_head=2, n_inner=6, bos_token_id=0, eos_token_id=0
    )
    return LanguageModel(
        transformers.GPT2LMHeadModel(config), lambda model, batch: model(input_ids=batch, use_cache=False).logits
    )


@dataclass(frozen=True)
class Family:
    """A make of transformer: what names its levels, how many units words find, and what cannot be addressed."""

    make: Callable[[], nn.Module]
    batch: Batch
    kinds: dict[str, str]
    """Address -> kind."""
    words: dict[str, int]
    """Word -> how many components it finds."""
    constant: tuple[str, ...]
    """Kinds whose constant ablations are edits of the weights."""
    refused: dict[str, str]
    """Address -> part of the sentence that says why."""


_BLOCK, _GPT2 = "model.blocks.0", "model.transformer.h.0"
FAMILIES = {
    "ours": Family(
        ours,
        (TOKENS, torch.cat([TOKENS[:, 1:], torch.full((20, 1), NO_TARGET)], dim=1)),
        {
            "net.blocks.0.mlp.hook_post[2]": "neuron",
            "net.blocks.0.attn.hook_z[1]": "head",
            "net.blocks.0.hook_mlp_out": "layer",
            "net.blocks.1.hook_attn_out": "layer",
            "net.blocks.1.hook_resid_pre@-2": "position",
            "net.hook_embed": "layer",
            "net.blocks.0.mlp.hook_post[0,3]": "set",
        },
        {"neurons": 12, "heads": 4},
        ("neuron", "head", "set"),
        {
            "net.blocks.0.hook_normalized": "unknown component 'net.blocks.0.hook_normalized'; did you mean",
            "net.blocks.0.mlp.hook_post[6]": "has 6 units; they go from net.blocks.0.mlp.hook_post[0] to",
        },
    ),
    "bridge": Family(
        bridge,
        TOKENS,
        {
            f"{_BLOCK}.mlp.out.hook_in[2]": "neuron",
            f"{_BLOCK}.attn.o.hook_in[1]": "head",
            f"{_BLOCK}.attn.hook_z[1]": "head",
            f"{_BLOCK}.mlp.hook_post[2]": "neuron",
            f"{_BLOCK}.mlp.hook_out": "mlp",
            f"{_BLOCK}.attn.hook_out": "attention",
            "model.blocks.1.hook_in@-2": "position",
            "model.embed.hook_out": "embedding",
            f"{_BLOCK}.hook_out": "residual",
        },
        {"neurons": 12, "heads": 4, "model.blocks.*.attn.hook_z[*]": 4, "model.blocks.0.mlp.hook_post[*]": 6},
        ("neuron", "head"),
        {
            "layers": "'layers' finds no hook point of this module whose weights are known",
            f"{_BLOCK}.attn.hook_attn_scores": "the loss does not depend on what the hook point",
            f"{_BLOCK}.attn.hook_result": "was reached 0 times when the loss was computed",
            "model.embed.hook_in": "has shape (20, 6) and type torch.int64 on a batch of 20",
        },
    ),
    "gpt2": Family(
        gpt2,
        TOKENS,
        {
            f"{_GPT2}.mlp.act[2]": "unit",
            f"{_GPT2}.mlp.c_fc[3]": "neuron_in",
            f"{_GPT2}.attn.c_proj:input[1]": "head",
            f"{_GPT2}.mlp": "layer",
            "model.transformer.h.1@-2": "position",
            f"{_GPT2}.attn.c_proj[0,5]": "set",
        },
        {"heads": 4, "layers": 16, "neurons": 12, "model.transformer.h.*.mlp.c_fc[*]": 12},
        ("neuron_in", "head", "set"),
        {
            "model.transformer.wpe": "has shape (1, 6, 8) and type torch.float32 on a batch of 20",
            f"{_GPT2}.atn": f"unknown component '{_GPT2}.atn'; did you mean '{_GPT2}.attn'",
        },
    ),
}


@pytest.fixture(params=FAMILIES, scope="module")
def family(request: pytest.FixtureRequest) -> tuple[Family, nn.Module]:
    found = FAMILIES[request.param]
    torch.manual_seed(0)
    module = found.make()
    with torch.no_grad():  # weights that matter
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return found, module


pytestmark = pytest.mark.filterwarnings("ignore:A hook on attn.hook_attn_scores:UserWarning")


def test_components_are_found_by_walking(family: tuple[Family, nn.Module]) -> None:
    one, module = family
    assert {part.address: part.kind for part in find_components(module, list(one.kinds))} == one.kinds
    assert {word: len(find_components(module, word)) for word in one.words} == one.words


def test_what_cannot_be_addressed_says_why(family: tuple[Family, nn.Module]) -> None:
    one, module = family
    loss, params = loss_fn(module), snapshot_params(module)
    for address, told in one.refused.items():
        with pytest.raises((AddressError, DataError)) as error:
            sweep(loss, params, one.batch, find_components(module, address), "zero", seed=0)
        assert told in str(error.value)


def test_every_effect_is_that_of_a_hook_and_the_model_comes_back_unharmed(family: tuple[Family, nn.Module]) -> None:
    one, module = family
    module.train()
    before = copy.deepcopy({name: value.detach() for name, value in module.named_parameters(remove_duplicate=False)})
    hooks = [(len(part._forward_hooks), len(part._forward_pre_hooks)) for part in module.modules()]
    state = torch.get_rng_state()
    parts, methods = find_components(module, list(one.kinds)), resolve_methods(["zero", "mean", "resample"])
    found = iter(sweep(loss_fn(module), snapshot_params(module), one.batch, parts, methods, seed=3)[1:])
    for part in parts:
        for method in methods:
            clean, ablated = literal_losses(module, one.batch, part, values_of(method, one.batch, seed=3))
            effect = next(found)
            assert effect.value == pytest.approx(float((ablated - clean).mean()), abs=1e-5), part.address
            assert effect.status in ("ok", "too-few-examples")
            assert effect.vmapped
            assert abs(effect.value) > 1e-6
    after = dict(module.named_parameters(remove_duplicate=False))
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert [(len(part._forward_hooks), len(part._forward_pre_hooks)) for part in module.modules()] == hooks
    assert torch.equal(torch.get_rng_state(), state)
    assert all(part.training for part in module.modules())


@torch.no_grad()
def test_constants_are_weight_edits(family: tuple[Family, nn.Module]) -> None:
    one, module = family
    loss, params = loss_fn(module), snapshot_params(module)
    for part in find_components(module, [address for address, kind in one.kinds.items() if kind in one.constant]):
        found = sweep(loss, params, one.batch, [part], ["zero", "mean(positions=pooled)"], seed=0)[1:]
        activation = loss.activations(params, one.batch, [part.point])[part.point].movedim(part.unit_axis, 2)
        mean = activation[:, :, list(part.units or ())].mean((0, 1))
        for effect, constant in zip(found, (torch.zeros_like(mean), mean), strict=True):
            edited = loss(weight_edit(module, params, part, constant), one.batch) - loss(params, one.batch)
            assert effect.value == pytest.approx(float(edited.mean()), abs=1e-5)


def test_what_has_no_weight_edit_says_why() -> None:
    module = gpt2()
    params = snapshot_params(module)
    for address, told in {
        "model.lm_head[3]": "'model.transformer.wte.weight' is shared by 2 modules",
        "model.transformer.h.0.mlp.act[2]": "nothing tells which weights read 'model.transformer.h.0.mlp.act[2]'",
        "model.transformer.h.0@1": "'model.transformer.h.0@1' is no set of whole units at all positions",
    }.items():
        with pytest.raises(SettingError) as error:
            weight_edit(module, params, find_components(module, address)[0], 0.0)
        assert told in str(error.value)


def test_keys_and_values_of_grouped_queries_have_heads_of_their_own() -> None:
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    sizes = {**SIZES, "n_heads": 4, "n_key_value_heads": 2, "d_head": 2}
    config = TransformerBridgeConfig(**sizes, n_ctx=6, d_vocab=7, act_fn="gelu", seed=0)
    module = LanguageModel(TransformerBridge.boot_native(config), lambda model, batch: model(batch))
    for name, heads in (("q", 4), ("k", 2), ("v", 2)):
        point = f"{_BLOCK}.attn.{name}.hook_out"
        found = ablation_effects(module, TOKENS, f"{point}[*]", "zero")
        assert found["component"].tolist() == [f"{point}[{head}]" for head in range(heads)]
        assert (found["value"] != 0).all()
