"""What cannot be measured is told before the first step, and examples that change are told as well."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.results.run import Run
from llc_lightning.runtime.cadence import AtEnd, AtSteps, Every
from llc_lightning.runtime.errors import MeasurementError, SettingError
from tests.callbacks.plain import trainer
from tests.callbacks.test_cadenced import Recorder
from tests.callbacks.test_frame import Small, X, data, fit, measuring

LLC: dict[str, Any] = {"n_beta": 10.0, "gamma": 10.0, "chains": 2, "draws": 3, "burn_in": 1, "data": (X,)}


class Forbids(Small):
    """Its loss must not be changed at one hook point."""

    def per_example_loss(self, batch: Any) -> Tensor:
        if len(self.out._forward_hooks) > 0:
            raise RuntimeError("no hooks here")
        return super().per_example_loss(batch)


class Cannot(Small):
    """Its loss has no gradient."""

    def per_example_loss(self, batch: Any) -> Tensor:
        loss = super().per_example_loss(batch)
        return loss if self.training else loss.detach()


class Ready(Small):
    """Its loss needs what is made when the training begins."""

    def on_train_epoch_start(self) -> None:
        self.weight = 2.0

    def per_example_loss(self, batch: Any) -> Tensor:
        return super().per_example_loss(batch) * self.weight


class Asks(Small):
    """Its loss asks the trainer for more than where it stands."""

    def per_example_loss(self, batch: Any) -> Tensor:
        return super().per_example_loss(batch) * self.trainer.max_epochs


@pytest.mark.parametrize(
    ("module", "callback", "said"),
    [
        (
            Forbids,
            lambda: measuring(AtEnd(), components=["up", "out"]),
            "out: RuntimeError: no hooks here; leave it out",
        ),
        (Asks, lambda: measuring(AtEnd()), r"cannot measure this: the loss reads trainer\.\w+, which"),
        (Asks, lambda: LLCCallback(AtEnd(), **LLC), r"cannot measure this: the loss reads trainer\.\w+, which"),
        (Cannot, lambda: LLCCallback(AtEnd(), **LLC), "llc cannot measure this: all: "),
        (Small, lambda: measuring(AtEnd(), data=(X[:, :2],)), "mat1 and mat2 shapes cannot be multiplied"),
    ],
)
def test_it_is_told_before_the_first_step(tmp_path: Path, module: Any, callback: Any, said: str) -> None:
    seen = Recorder(Every(steps=1))
    with pytest.raises(MeasurementError, match=said):
        fit(tmp_path, [callback(), seen], module())
    assert not seen.acted


def test_the_others_keep_their_rows_where_errors_are_skipped(tmp_path: Path) -> None:
    fit(tmp_path, [measuring(AtSteps([4]), components=["up", "out"], on_error="skip")], Forbids())
    rows = Run.open(tmp_path / "llc_lightning").measurements()
    rows = rows[rows["quantity"] == "ablation_effect"].set_index("component")
    assert rows.loc["out", "status"] == "error"
    assert rows.loc["up", "status"] != "error"
    assert "no hooks here" in rows.loc["out", "details"]


def test_a_module_that_is_made_ready_by_its_own_hooks_is_not_refused(tmp_path: Path) -> None:
    fit(tmp_path, [measuring(AtSteps([4]))], Ready())
    assert len(Run.open(tmp_path / "llc_lightning").measurements()) == 2


def test_a_trial_leaves_the_training_as_it_was(tmp_path: Path) -> None:
    weights = [
        fit(tmp_path, callbacks) for callbacks in ([], [measuring(AtSteps([99])), LLCCallback(AtSteps([99]), **LLC)])
    ]
    for one, other in zip(*(module.state_dict().values() for module in weights), strict=True):
        assert torch.equal(one, other)


def test_both_callbacks_measure_what_can_be_found_unless_they_are_told() -> None:
    assert AblationCallback(AtEnd()).plan.components == ("layers",)
    assert LLCCallback(AtEnd(), n_beta=1.0, gamma=1.0).plan.components == ("all",)
    conv = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    assert [one.address for one in AblationCallback(AtEnd()).plan.components_of(conv)]


class Data(L.LightningDataModule):
    """Gives the examples that it is told to."""

    def __init__(self, *examples: Tensor) -> None:
        super().__init__()
        self.examples = list(examples)

    def train_dataloader(self) -> Any:
        return data()

    def analysis_set(self) -> tuple[Tensor]:
        return (self.examples.pop(0) if len(self.examples) > 1 else self.examples[0],)


def run(folder: Path, examples: Data, **settings: Any) -> None:
    class Quiet(Small):
        validation_step = None

    trainer(folder, [measuring(Every(steps=4), data=None)], **settings).fit(Quiet(), datamodule=examples)


def test_examples_drawn_anew_each_time_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"analysis_set\(\) gives other examples each time.*from a seed"):
        run(tmp_path, Data(X, X + 1))


@pytest.mark.filterwarnings("ignore:.*num_workers", "ignore:.*log_every_n_steps", "ignore:.*logging interval")
def test_examples_that_change_while_training_are_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="examples that ablation measures on are others than before"):
        run(tmp_path, Data(X, X, X, X + 1), max_epochs=2)


def test_examples_that_a_continued_training_changes_are_told(tmp_path: Path) -> None:
    ours = measuring(Every(steps=4))
    fit(tmp_path, [ours], max_epochs=1)
    state = ours.state_dict()
    again = measuring(Every(steps=4), data=(X + 1,))
    again.load_state_dict(state)
    with pytest.warns(UserWarning, match="others than before"):
        fit(tmp_path / "other", [again], max_epochs=1)
