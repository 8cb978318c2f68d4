"""Ablations of weights are what copies of the module with edited weights lose."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

from llc_lightning import AblationCallback, ablation_effects
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.cis import CISData
from llc_lightning.data.sequences.base import NO_TARGET
from llc_lightning.models.cis import CISModel
from llc_lightning.models.image import ImageModel
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.results.run import Run
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.cadence import AtSteps
from tests.ablation.edited_copies import METHODS, edited_copies
from tests.ablation.nets import Branching
from tests.callbacks.plain import examples, fit, trainer

N = 70
TOKENS = torch.randint(0, 7, (N, 6), generator=torch.Generator().manual_seed(0))


def cis() -> tuple[nn.Module, Batch, list[str]]:
    pair = "net.hook_hidden[2]+net.hook_out[1]"
    batch = CISData(size=3, active=1.5).analysis_set(N)
    return CISModel(size=3, width=5), batch, ["all", "layers", "neurons", "net.hook_hidden[0,3]", pair, "parameters"]


def cnn() -> tuple[nn.Module, Batch, list[str]]:
    module = ImageModel(mini=True, architecture="cnn", channels=(3, 4))
    stream = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 10, (N, 2), generator=stream)
    labels[::3, 0] = NO_TARGET
    return module, (torch.rand(N, *module.image_shape, generator=stream), labels), ["all", "layers", "channels"]


def transformer() -> tuple[nn.Module, Batch, list[str]]:
    module = TransformerModel(7, 6, d_model=8, d_mlp=6, norm="layer", act="gelu")
    stream = torch.Generator().manual_seed(2)
    with torch.no_grad():  # weights and biases that matter
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=stream))
    targets = torch.cat([TOKENS[:, 1:], torch.full((N, 1), NO_TARGET)], dim=1)
    return module, (TOKENS, targets), ["all", "heads", "layers", "net.blocks.0.mlp.hook_post[*]"]


FAMILIES = {"cis": cis, "cnn": cnn, "transformer": transformer}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Callable[[], tuple[nn.Module, Batch, list[str]]]:
    """An architecture, examples, and what to ablate of it."""
    return FAMILIES[request.param]


@torch.no_grad()
def test_effects_are_those_of_edited_copies(family: Callable[[], tuple[nn.Module, Any, list[str]]]) -> None:
    module, batch, names = family()
    table = ablation_effects(module, batch, names, METHODS, seed=4)
    assert set(table["vmapped"]) == {True}
    assert set(table["status"]) <= {"ok", "too-few-examples"}
    plain, state = copy.deepcopy(module).eval(), torch.get_rng_state()
    tasks = getattr(module, "task_names", ())
    for component in find_components(module, names):
        for method in METHODS:
            copies = edited_copies(module, component, method, seed=4)
            rows = table[(table["component"] == component.address) & (table["method"] == method)].set_index("loss")
            rise = torch.stack([one.per_example_loss(batch) - plain.per_example_loss(batch) for one in copies]).mean(0)
            assert rows.loc["train", "value"] == pytest.approx(float(rise.mean()), abs=1e-6), (component, method)
            assert rows.loc["train", "stderr"] == pytest.approx(float(rise.std()) / N**0.5, abs=1e-6)
            for task, name in enumerate(tasks):
                counted = plain.per_task_loss(batch)[1][:, task]
                losses = [one.per_task_loss(batch)[0] - plain.per_task_loss(batch)[0] for one in copies]
                rise = torch.stack(losses).mean(0)[:, task][counted]
                assert rows.loc[name, "value"] == pytest.approx(float(rise.mean()), abs=1e-6)
                assert rows.loc[name, "n_examples"] == int(counted.sum())
    assert torch.equal(torch.get_rng_state(), state)


def test_effects_have_the_same_bits_alone_and_beside_others(
    family: Callable[[], tuple[nn.Module, Any, list[str]]],
) -> None:
    module, batch, names = family()
    loss, params, components = loss_fn(module), snapshot_params(module), find_components(module, names)
    methods = [METHODS[0], METHODS[-1]]
    together = sweep(loss, params, batch, components, methods, seed=0)
    for chunk in (1, 3, 100):
        assert sweep(loss, params, batch, components, methods, seed=0, chunk=chunk) == together
    for component in components[::5]:
        alone = sweep(loss, params, batch, [component], methods[1], seed=0)[-1]
        assert alone in [one for one in together if one.component == component.address]


@torch.no_grad()
def test_metrics_and_mixed_methods_share_the_unablated_loss() -> None:
    module, batch, _ = transformer()
    methods = ["weight_zero", "zero", "weight_noise", "mean"]
    (head,) = find_components(module, "net.blocks.1.attn.hook_z[1]")
    loss, params = loss_fn(module), snapshot_params(module)
    found = sweep(loss, params, batch, [head], methods, seed=0, metrics="kl", per_example=True)
    assert [(one.quantity, one.loss) for one in found[:2]] == [("loss", "train"), ("loss", "metric:kl")]
    assert [one.method for one in found[2::2]] == methods
    (edited,) = edited_copies(module, head, "weight_zero", seed=0)
    answers = [one.eval().logits(batch).log_softmax(-1) for one in (copy.deepcopy(module), edited)]
    kl = (answers[0].exp() * (answers[0] - answers[1])).sum(-1).mean(-1)
    assert found[3].loss == "metric:kl"
    torch.testing.assert_close(found[3].per_example, kl, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_what_vmap_refuses_runs_one_by_one_with_the_same_values() -> None:
    module, batch = Branching(), torch.randn(N, 3, generator=torch.Generator().manual_seed(0))
    names = ["first", "first[2]", "first.bias"]
    table = ablation_effects(module, batch, names, METHODS[:2])
    assert set(table["vmapped"]) == {False}
    for component in find_components(module, names):
        for method in METHODS[:2]:
            (edited,) = edited_copies(module, component, method, seed=0)
            rise = (edited.per_example_loss(batch) - module.per_example_loss(batch)).mean()
            rows = table[(table["component"] == component.address) & (table["method"] == method)]
            assert list(rows["value"]) == pytest.approx([float(rise)], abs=1e-6)


def test_the_callback_measures_them(tmp_path: Path) -> None:
    names = ["all", "conv", "out", "conv[2]"]
    callback = AblationCallback(AtSteps([3]), methods=METHODS, components=names, data=examples(), seed=7)
    module: L.LightningModule = fit(trainer(tmp_path, [callback], max_steps=3))
    rows = Run.open(tmp_path / "llc_lightning").measurements()
    effects = rows[rows["quantity"] == "ablation_effect"].set_index(["component", "method"])
    plain, batch = copy.deepcopy(module).eval(), examples()
    for component in find_components(module, names):
        for method in METHODS:
            copies = edited_copies(module, component, method, seed=7)
            with torch.no_grad():
                losses = [one.per_example_loss(batch) - plain.per_example_loss(batch) for one in copies]
            rise = torch.stack(losses).mean(0)
            row = effects.loc[(component.address, method)]
            assert row["value"] == pytest.approx(float(rise.mean()), abs=1e-6), (component, method)
            assert row["status"] in ("ok", "too-few-examples")
            assert (row["kind"], row["draws"]) == (component.kind, len(copies))
