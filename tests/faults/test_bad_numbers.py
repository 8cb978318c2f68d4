"""Numbers that break a measurement become rows that say so, and training goes on."""

import math
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.results.run import Run
from llc_lightning.runtime.cadence import AtSteps
from tests.callbacks.plain import PlainModule, examples, fit, trainer

SHORT: dict[str, Any] = {"n_beta": 100.0, "gamma": 100.0, "chains": 2, "draws": 8, "burn_in": 2, "batch_size": 16}


def measured(folder: Path, *callbacks: L.Callback, module: PlainModule | None = None) -> pd.DataFrame:
    """Returns the rows of a training that must reach its end."""
    end = trainer(folder, list(callbacks), max_steps=4)
    fit(end, module=module)
    assert end.global_step == 4
    return Run.open(folder / "llc_lightning").measurements()


def test_a_step_size_that_diverges_is_told_in_the_rows(tmp_path: Path) -> None:
    rows = measured(tmp_path, LLCCallback(AtSteps([2]), data=examples(), step_size=1e6, **SHORT))
    llc = rows.loc[rows["quantity"] == "llc"]
    assert list(llc["status"]) == ["all-diverged"]
    assert math.isnan(llc["value"].item())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_weight_that_is_not_finite_is_told_in_the_rows(tmp_path: Path, bad: float) -> None:
    class Spoiling(PlainModule):
        def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
            if self.trainer.global_step == 1:
                self.out.bias.grad[0] = bad

    both = (
        LLCCallback(AtSteps([2]), data=examples(), components=["all", "out"], **SHORT),
        AblationCallback(AtSteps([2]), methods="zero", components="conv", data=examples()),
    )
    rows = measured(tmp_path, *both, module=Spoiling())
    llc = rows.loc[rows["quantity"] == "llc"]
    assert list(llc["status"]) == ["nan-loss"] * 2
    assert all(math.isnan(value) for value in llc["value"])
    assert set(rows.loc[rows["quantity"] == "ablation_effect", "status"]) == {"nan-loss"}


def test_examples_that_are_not_finite_are_told_in_the_rows(tmp_path: Path) -> None:
    x, y = examples()
    x[3, 0, 0, 0] = math.nan
    rows = measured(tmp_path, LLCCallback(AtSteps([2]), data=(x, y), **SHORT))
    assert list(rows.loc[rows["quantity"] == "llc", "status"]) == ["nan-loss"]
