"""The hand-built induction head: it solves its task, and its truth is exact."""

from dataclasses import replace

import pytest
import torch

from llc_lightning.ablation.effects import ablation_effects
from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.models.hand_built import DECOY, TASK, hand_built_induction
from llc_lightning.runtime.errors import SettingError

TRUE = {"net.blocks.0.attn.hook_z[1]": "previous-token", "net.blocks.1.attn.hook_z[2]": "induction"}


def test_it_solves_its_task_without_training() -> None:
    model, data = hand_built_induction(), SequenceData(TASK, analysis_size=256)
    batch = data.analysis_set()
    accuracy = model.task_quantities(batch)[0]
    assert (accuracy.quantity, accuracy.value) == ("accuracy", 1.0)
    with torch.no_grad():
        assert model.per_example_loss(batch).mean().item() < 2e-4


def test_its_truth_names_two_heads_and_not_the_decoy() -> None:
    truth = hand_built_induction().ground_truth()
    assert len(truth) == 8
    assert {address: role for address, role in truth.items() if role} == TRUE
    assert truth[DECOY] == ""


def test_effects_are_large_for_the_true_heads_and_exactly_0_for_all_others() -> None:
    model, batch = hand_built_induction(), SequenceData(TASK, analysis_size=64).analysis_set()
    table = ablation_effects(model, batch, "heads", ["zero", "mean", "resample"])
    # What a head adds when replaced by 0 or the mean is a guess among tokens; a donor's answer is confidently wrong.
    least = {"zero": 2.5, "mean": 2.5, "resample": 6.0}
    for row in table.itertuples():
        if row.component in TRUE:
            assert row.value > least[row.method]
        else:
            assert row.value == 0.0


def test_scrubbing_accepts_that_the_period_says_where_an_induction_head_looks_and_not_what_it_says() -> None:
    task = replace(TASK, shortest=4)
    model, data = hand_built_induction(), SequenceData(task, analysis_size=512)
    pattern, head = "net.blocks.1.attn.hook_pattern[2]", "net.blocks.1.attn.hook_z[2]"
    with pytest.raises(SettingError, match=r"unknown label 'period'\. Use one of: 0, 1"):
        ablation_effects(model, data.analysis_set(), [head], ["resample(label=period)"])
    model.fit_to(data)
    with pytest.raises(SettingError, match="unknown label 'perod'; did you mean 'period'"):
        ablation_effects(model, data.analysis_set(), [head], ["resample(label=perod)"])
    table = ablation_effects(model, data.analysis_set(), [pattern, head], ["resample", "resample(label=period)"])
    effects = table.pivot(index="component", columns="method", values="value")
    assert effects["resample"].min() > 2.5
    assert abs(effects.loc[pattern, "resample(label=period)"]) < 1e-3
    assert effects.loc[head, "resample(label=period)"] > 6.0
