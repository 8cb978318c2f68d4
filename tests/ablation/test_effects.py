"""The public table."""

import pandas as pd
import pytest
import torch

from llc_lightning import ablation_effects
from llc_lightning.ablation import sweep
from llc_lightning.ablation.effects import COLUMNS, effects_table
from llc_lightning.ablation.methods.noise import Noise
from llc_lightning.ablation.metrics import Own
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.runtime.errors import AddressError, SettingError
from tests.ablation.nets import Circuits, Tokens, circuits_data, tokens_data


def test_one_tidy_row_per_component_method_and_loss() -> None:
    module, data = Circuits(), circuits_data(80)
    table = ablation_effects(module, data, ["neurons", "hook_hidden[0,1]"], ["zero", Noise(scale=2.0)])
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 6 * 2 * 4
    assert not table.duplicated(["component", "method", "loss"]).any()
    assert not table.isna().any().any()
    assert set(table["kind"]) == {"neuron", "set"}
    clean = module.per_example_loss(data).detach().double().mean().item()
    assert table.query("loss == 'train'")["unablated"].tolist() == pytest.approx([clean] * 12)
    assert set(table["n_examples"][table["loss"] == "train"]) == {80}
    assert table["vmapped"].all()


def test_defaults_and_seeds() -> None:
    module, data = Circuits(), circuits_data(80)
    assert set(ablation_effects(module, data)["method"]) == {"zero"}
    first, again, other = (ablation_effects(module, data, methods="resample", seed=seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first["value"].equals(other["value"])
    assert first.equals(ablation_effects(module, data, methods="resample", seed=1, chunk=2))


def test_columns_are_those_of_the_effects_one_by_one() -> None:
    module, data = Circuits(), circuits_data(80)
    methods = ["optimal(losses=each,steps=3)", "zero", "resample", "weight_zero"]
    largest = Own(output="hook_hidden", function=lambda outputs, clean, batch: outputs.amax(-1), title="largest")
    effects = sweep(loss_fn(module), snapshot_params(module), data, find_components(module, "neurons"), methods, seed=0,
                    tasks=True, metrics=largest, per_example=True)  # fmt: skip
    rows = list(effects)
    assert len(effects) == len(rows) == 5 + 4 * 5 * len(find_components(module, "neurons"))
    assert effects == rows
    assert effects[1:3] == rows[1:3]
    assert [one.loss for one in rows] == [one.loss for one in rows[:5]] * (len(rows) // 5)
    assert all((one.per_example is not None) == one.loss.startswith(("train", "metric")) for one in rows)
    assert all((one.influences is None) == (one.per_example is None) for one in rows if one.method == "resample")
    pd.testing.assert_frame_equal(effects_table(effects), effects_table(rows), check_exact=True)
    told = effects_table(rows)
    for name in ("component", "method", "loss", "status", "value", "stderr"):
        assert told[name].tolist() == [getattr(one, name) for one in rows[5:]]


def test_a_module_without_tasks() -> None:
    table = ablation_effects(Tokens(), tokens_data(70), "hook_z", "mean")
    assert table["loss"].tolist() == ["train"]


def test_the_live_module_is_measured_in_eval_mode_and_left_alone() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5))
    module.per_example_loss = lambda batch: module(batch).sum(-1)

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5))

        def per_example_loss(self, batch: torch.Tensor) -> torch.Tensor:
            return self.body(batch).sum(-1)

    wrapped, batch = Wrapped(), torch.randn(70, 2, generator=torch.Generator().manual_seed(0))
    one, two = (ablation_effects(wrapped, batch, "logits") for _ in "ab")
    assert one.equals(two)
    assert wrapped.body.training
    assert all(not part._forward_hooks for part in wrapped.modules())


def test_unknown_names_say_what_is_near() -> None:
    with pytest.raises(SettingError, match="unknown ablation method 'zeros'; did you mean 'zero'"):
        ablation_effects(Circuits(), circuits_data(9), methods="zeros")
    with pytest.raises(AddressError, match="hook_hidden"):
        ablation_effects(Circuits(), circuits_data(9), "hook_hiden")
