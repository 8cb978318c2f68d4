"""The verdict on nets whose answer is known: trained by two losses, wired by hand, and the negative control.

`python -m benchmarks.zoo cis_xor cis_xor_mse --seeds 0 1 2 3 4` trains more of them.
"""

import lightning as L
import pandas as pd
import pytest
import torch

from llc_lightning.analysis.cis import Verdict, effect_matrix, superposition_verdict
from llc_lightning.data.cis import CISData
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.measurements import measure
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.models.cis import CISModel
from llc_lightning.results.schema import to_table
from tests.data.tasks.sizes import settings

SIZES = settings(24)


def measured(model: CISModel, data: CISData) -> pd.DataFrame:
    """Returns the rows of a net's ablations and quantities, as a run stores them."""
    plan = AblationPlan(components=("neurons",), methods=("mean",))
    place = {"run": "cis/version_0", "seed": 0, "step": 0, "epoch": 0}
    return to_table(measure(plan, Snapshot.of(model, data.analysis_set(), **place)).rows).to_pandas()


def trained(model: CISModel, data: CISData) -> Verdict:
    """Returns what is said of a model after 3000 steps, which draw nothing from the global generator."""
    trainer = L.Trainer(max_steps=3000, limit_val_batches=0, accelerator="cpu", devices=1, barebones=True)
    before = torch.get_rng_state()
    trainer.fit(model, data)
    assert torch.equal(before, torch.get_rng_state())
    verdict = superposition_verdict(measured(model, data))
    assert verdict is not None
    return verdict


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_with_a_fourth_power_the_net_computes_in_superposition(seed: int) -> None:
    verdict = trained(CISModel(seed=seed), CISData(seed=seed, analysis_size=65_536))
    assert verdict.superposition
    assert verdict.loss.value <= 0.18
    assert verdict.circuits_solved.value == 32
    assert verdict.accuracy is not None
    assert verdict.accuracy.value >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_with_a_squared_error_the_same_net_shares_less(seed: int) -> None:
    verdict = trained(CISModel(seed=seed, loss_power=2.0), CISData(seed=seed, analysis_size=65_536))
    assert verdict.superposition
    assert verdict.shared < 0.5
    assert not verdict.trained.below
    assert 0.9 * 0.5 <= verdict.loss.value <= 0.56
    assert 17 <= verdict.circuits_solved.value <= 24
    assert verdict.accuracy is not None
    assert verdict.accuracy.value <= 0.90


@pytest.mark.slow
def test_the_negative_control_ties_with_the_naive_nets_and_is_refused() -> None:
    data, model = CISData("relu", 100, analysis_size=65_536), CISModel("relu", 100, width=50, loss_power=2.0)
    verdict = trained(model, data)
    assert verdict.loss.value / model.task.dedicated_loss(2.0, 50) == pytest.approx(1.0, abs=0.04)
    assert not verdict.superposition


@pytest.mark.parametrize("task", SIZES)
def test_each_neuron_of_a_net_wired_by_hand_has_exactly_one_circuit_and_the_net_is_refused(task: str) -> None:
    size, width = SIZES[task]
    model = CISModel(task, size, width=width).dedicated()
    rows = measured(model, CISData(task, size, analysis_size=8192))
    verdict, matrix = superposition_verdict(rows), effect_matrix(rows)
    assert verdict is not None
    assert matrix is not None
    assert (matrix.circuits_per_unit == 1).all()
    truth = model.ground_truth()
    found = [matrix.circuits[circuit] for circuit in matrix.effects.argmax(axis=1)]
    assert found == [truth[unit] for unit in matrix.units]
    assert not verdict.superposition
    assert verdict.loss_ratio.value >= 0.98
