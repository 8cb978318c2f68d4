"""What heads do: scores and effects side by side, and whether they agree."""

import pandas as pd
import pytest
import torch

from llc_lightning.analysis.head_roles import head_roles
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.measurements import measure
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.models.hand_built import DECOY, TASK, hand_built_induction
from llc_lightning.results.schema import COLUMNS


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    model, batch = hand_built_induction(), SequenceData(TASK, analysis_size=512).analysis_set()
    assert torch.equal(loss_fn(model)(snapshot_params(model), batch), model.per_example_loss(batch))
    snapshot = Snapshot.of(model, batch, run="hand/version_0", seed=0, step=7, epoch=0)
    plan = AblationPlan(components=("heads",), methods=("mean", "resample"), examples=None, tasks=True)
    return pd.DataFrame(measure(plan, snapshot).rows, columns=list(COLUMNS))


def test_the_hand_built_net_has_a_head_that_looks_like_induction_and_does_nothing(rows: pd.DataFrame) -> None:
    found = head_roles(rows)
    assert found is not None
    assert (found.step, found.method, len(found.heads)) == (7, "resample", 8)
    by_address = found.heads.set_index("component")
    assert by_address.loc["net.blocks.0.attn.hook_z[1]", "role"] == "previous_token"
    for address in ("net.blocks.1.attn.hook_z[2]", DECOY):
        assert by_address.loc[address, "role"] == "induction"
    assert by_address.loc[DECOY, "effect"] == 0.0
    assert by_address.loc["net.blocks.1.attn.hook_z[2]", "effect"] > 5
    assert found.top("previous_token") == "net.blocks.0.attn.hook_z[1]"
    assert found.agreement()["previous_token"]
    assert found.top("duplicate_token") == ""


def test_agreement_is_with_the_largest_effect_of_the_layer(rows: pd.DataFrame) -> None:
    changed = rows.copy()
    other = (changed["component"] == "net.blocks.0.attn.hook_z[0]") & (changed["quantity"] == "ablation_effect")
    changed.loc[other, "value"] = 100.0
    found = head_roles(changed)
    assert found is not None
    assert not found.agreement()["previous_token"]


def test_other_methods_and_steps_are_had_by_asking(rows: pd.DataFrame) -> None:
    found = head_roles(rows, method="mean", step=7)
    assert found is not None
    assert found.method == "mean"
    assert head_roles(rows, method="noise") is None
    assert head_roles(rows, step=8) is None
    assert head_roles(rows[rows["quantity"] != "attention_score"]) is None
