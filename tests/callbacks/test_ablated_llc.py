"""The settings of AblatedLLCCallback, and a training with it."""

from pathlib import Path

import torch
from torch import Tensor

from llc_lightning import AblatedLLCCallback
from llc_lightning.results.run import Run
from llc_lightning.runtime.cadence import AtEnd, AtSteps
from tests.callbacks.plain import PlainModule, examples, fit, trainer


def test_its_settings_become_a_plan() -> None:
    plan = AblatedLLCCallback(
        AtEnd(), n_beta=[10.0, 100.0], gamma=1.0, methods="mean", components="layers", chains=3
    ).plan
    assert (plan.n_beta, plan.methods, plan.components) == ((10.0, 100.0), ("mean",), ("layers",))
    assert plan.settings.chains == 3


class Dropping(PlainModule):
    """It draws from torch alone: checks of types, which run in tests, draw from Python's generator."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.per_example_loss(batch).mean()


def test_a_training_is_the_same_with_it_and_has_its_rows(tmp_path: Path) -> None:
    callback = AblatedLLCCallback(
        AtSteps([1]), n_beta=10.0, gamma=1.0, components="conv[0]", chains=2, draws=4, burn_in=2, budget=10,
        data=examples(),
    )  # fmt: skip
    with_it, without = Dropping(), Dropping()
    fit(trainer(tmp_path / "a", [callback], max_steps=2), module=with_it)
    fit(trainer(tmp_path / "b", [], max_steps=2), module=without)
    for name, value in without.state_dict().items():
        assert torch.equal(value, with_it.state_dict()[name]), name
    rows = Run.open(tmp_path / "a" / "llc_lightning").measurements()
    assert {"llc_ablated", "llc_shift", "recovery_gap"} <= set(rows["quantity"])
    assert set(rows["step"]) == {1}
