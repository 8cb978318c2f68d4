"""Modules as users have them train with both callbacks: the weights keep their bits, and rows are what hooks give."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from llc_lightning import AblationCallback, AtSteps, LLCCallback, Run
from llc_lightning.components.component import Component
from llc_lightning.components.measurable import explained, find_measurable
from llc_lightning.runtime.batches import Named, for_params
from llc_lightning.runtime.status import is_failed
from tests.foreign.settings import SETTINGS, Setting

STEPS = 2


def fit(one: Setting, root: Path, callbacks: list[L.Callback]) -> L.LightningModule:
    """Returns the module after a few steps of training."""
    torch.manual_seed(0)
    batch, module = one.batch(), one.make()
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = L.Trainer(
        accelerator="cpu", devices=1, logger=False, max_steps=STEPS, default_root_dir=root, callbacks=callbacks,
        **quiet, **one.trainer,
    )  # fmt: skip
    loader = DataLoader([batch] * STEPS, batch_size=None, collate_fn=lambda given: given)
    trainer.fit(one.through(module), loader)
    assert trainer.global_step == STEPS
    return module


def callbacks(one: Setting) -> list[L.Callback]:
    torch.manual_seed(0)
    data: Any = one.batch()
    made: list[L.Callback] = [
        AblationCallback(AtSteps([0, STEPS]), methods=["zero", "mean"], components=one.ablate, data=data)
    ]
    if one.llc:
        how: dict[str, Any] = {"n_beta": 10.0, "gamma": 100.0, "chains": 1, "draws": 2, "burn_in": 1, "step_size": 1e-4}
        made.append(LLCCallback(AtSteps([1]), components=one.llc, data=data, **how))
    return made


@pytest.fixture(params=SETTINGS, scope="module")
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A setting, its module after training with and without the callbacks, and the rows."""
    one, root = SETTINGS[request.param], tmp_path_factory.mktemp("foreign")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = fit(one, root / "plain", [])
        measured = fit(one, root / "measured", callbacks(one))
    return one, plain, measured, Run.open(root / "measured" / "llc_lightning").measurements()


def test_training_keeps_its_bits_and_nothing_fails(trained: Any) -> None:
    one, plain, measured, rows = trained
    ours, theirs = measured.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert not any(map(is_failed, rows["status"])), rows[rows["status"].map(is_failed)]
    found = rows[rows["quantity"] == "llc"]
    assert (len(found) > 0) == bool(one.llc)
    assert found["value"].notna().all()


def test_words_measure_all_but_what_is_left_out_with_its_reason(trained: Any) -> None:
    one, plain, _, rows = trained
    told = {each.component.address: each for each in explained(plain, "layers", one.batch())}
    asked = [("no_ablation", one.ablate, "ablation_effect"), ("no_llc", one.llc, "llc")]
    reasons: dict[str, str] = {}
    for reason, spec, quantity in asked:
        if "layers" in spec:
            # Calls share their weights.
            name = (lambda address: address) if reason == "no_ablation" else (lambda address: address.split(":call")[0])
            why = {name(address): getattr(each, reason) for address, each in told.items()}
            reasons |= {address: text for address, text in why.items() if text}
            measured = set(rows.loc[rows["quantity"] == quantity, "component"])
            assert {address for address, text in why.items() if not text} <= measured
            assert not {address for address, text in why.items() if text} & measured
    assert reasons.keys() == one.left_out.keys()
    assert all(one.left_out[address] in text for address, text in reasons.items())


def test_effects_are_those_of_plain_hooks(trained: Any) -> None:
    one, plain, _, rows = trained
    with warnings.catch_warnings(), torch.no_grad(), torch.compiler.set_stance("force_eager"):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        batch, module = one.batch(), one.make().to(plain.dtype)
        module.load_state_dict(plain.state_dict())
        module.eval()
        parts = find_measurable(module, one.ablate, batch, activation=True)
        batch = for_params(batch, dict(module.named_parameters()))
        batch = Named(batch) if isinstance(batch, dict) else batch
        clean = module.per_example_loss(batch)
        effects = rows[(rows["quantity"] == "ablation_effect") & (rows["step"] == STEPS)]
        assert len(effects) == 2 * len(parts)
        for part in parts:
            for method in ("zero", "mean"):
                effect = effects[(effects["component"] == part.address) & (effects["method"] == method)]["value"].item()
                literal = float((ablated(module, batch, part, method) - clean).double().mean())
                close = 1e-6 if clean.dtype != torch.bfloat16 else 0.02
                assert effect == pytest.approx(literal, rel=close, abs=close), (part.address, method)


def ablated(module: Any, batch: Any, part: Component, method: str) -> Tensor:
    """Returns the losses with a component replaced by nothing but a hook."""
    path, _, call = part.point.partition(":call")
    path = path.removesuffix(":input")
    owner = module.get_submodule(path.removesuffix(".out_proj"))
    if isinstance(owner, nn.MultiheadAttention) and path.endswith(".out_proj"):
        return of_attention(module, batch, owner, part, method)
    is_input, seen = ":input" in part.point, [0]

    def hook(layer: nn.Module, inputs: Any, output: Any = None) -> Any:
        seen[0] += 1
        if call and seen[0] - 1 != int(call):
            return None
        if is_input:
            return (filled(inputs[0], part, method), *inputs[1:])
        if not isinstance(output, tuple):
            return filled(output, part, method)
        first = output[0]
        turned = not getattr(layer, "batch_first", True)
        first = filled(first.transpose(0, 1) if turned else first, part, method)
        rest = output[1:]
        if isinstance(layer, nn.GRU):
            rest = (first[:, -1][None],)
        return (first.transpose(0, 1) if turned else first, *rest)

    layer = module.get_submodule(path)
    handle = layer.register_forward_pre_hook(hook) if is_input else layer.register_forward_hook(hook)
    losses = module.per_example_loss(batch)
    handle.remove()
    return losses


def filled(value: Tensor, part: Component, method: str) -> Tensor:
    """Returns an activation with the entries of a component replaced."""
    axis = part.unit_axis if part.unit_axis < 0 else 1
    units = list(range(value.shape[axis])) if part.units is None else list(part.units)
    other = torch.zeros_like(value) if method == "zero" else value.mean(0, keepdim=True).expand_as(value)
    at = torch.tensor(units)
    return value.index_copy(axis if axis > 0 else value.ndim + axis, at, other.index_select(axis, at))


def of_attention(module: Any, batch: Any, layer: nn.MultiheadAttention, part: Component, method: str) -> Tensor:
    """Returns the losses with heads of torch's attention, or what projects them, replaced: torch calls no submodule."""
    weight, bias = layer.out_proj.weight.clone(), layer.out_proj.bias.clone()

    def hook(_: nn.Module, inputs: Any, output: Any) -> Any:
        heads = output[0] if layer.batch_first else output[0].transpose(0, 1)
        heads = filled(heads, part, method) if ":input" in part.point else heads
        given = nn.functional.linear(heads, weight, bias)
        given = given if ":input" in part.point else filled(given, part, method)
        return (given if layer.batch_first else given.transpose(0, 1), *output[1:])

    layer.out_proj.weight.copy_(torch.eye(len(weight)))
    layer.out_proj.bias.zero_()
    handle = layer.register_forward_hook(hook)
    losses = module.per_example_loss(batch)
    handle.remove()
    layer.out_proj.weight.copy_(weight)
    layer.out_proj.bias.copy_(bias)
    return losses
