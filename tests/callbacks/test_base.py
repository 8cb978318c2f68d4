"""Measuring callbacks on a plain LightningModule, without the command line and without a datamodule."""

import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.llc.revision import llc_revision
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.results.run import Run
from llc_lightning.runtime.cadence import AtStart, AtSteps, Every
from llc_lightning.runtime.errors import AddressError, DataError, SettingError
from tests.callbacks.plain import Digests, PlainModule, examples, fit, loader, trainer, validation

REVISED = f"-revision={llc_revision(ChainSettings())}"

SHORT: dict[str, Any] = {
    "n_beta": 100.0,
    "gamma": 100.0,
    "chains": 2,
    "draws": 4,
    "burn_in": 2,
    "batch_size": 16,
    "step_size": 1e-5,
}


def llc(**settings: Any) -> LLCCallback:
    return LLCCallback(**{"when": AtSteps([3]), "data": examples(), **SHORT, **settings})


def ablation(**settings: Any) -> AblationCallback:
    defaults = {"when": AtSteps([3]), "data": examples(), "methods": "zero", "components": "neurons"}
    return AblationCallback(**{**defaults, **settings})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training that measures both, at steps 0, 3 and the end."""
    folder = tmp_path_factory.mktemp("run")
    when = AtSteps([3], at_start=True, at_end=True)
    both = [llc(when=when, components=["all", "layers"]), ablation(when=when, methods=["zero", "mean"])]
    fit(trainer(folder, both))
    return Run.open(folder / "llc_lightning")


def test_rows_are_in_the_run_folder(run: Run) -> None:
    rows = run.measurements()
    assert set(rows["step"]) == {0, 3, 24}
    assert set(rows["seed"]) == {3}
    assert set(rows["epoch"]) == {0, 1}
    assert set(rows["run"]) == {run.name}
    assert set(rows.loc[rows["quantity"] == "llc", "component"]) == {"", "conv", "norm", "out"}
    assert set(rows.loc[rows["quantity"] == "ablation_effect", "method"]) == {"zero", "mean"}
    assert (rows["n_examples"] > 0).all()


def test_parts_traces_timings_and_provenance_are_there(run: Run) -> None:
    ablated = f"ablation-revision={ablation(methods=['zero', 'mean']).plan.revision}"
    parts = [f"step={step:08d}-{name}" for step in (0, 3, 24) for name in (ablated, f"llc{REVISED}")]
    assert sorted(run.store.parts()) == parts
    assert sorted(run.traces) == [part for part in parts if "llc" in part]
    assert sorted(run.timings()["part"]) == parts
    assert run.provenance[0]["seeds"] == {"run": 3}


def test_an_effect_is_that_of_the_live_weights(tmp_path: Path) -> None:
    class Kept(L.Callback):
        effects: dict[int, float]

        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
            if trainer.global_step == 3:
                twin = PlainModule()
                twin.load_state_dict(pl_module.state_dict())
                twin.eval()
                with torch.no_grad():
                    intact = twin.per_example_loss(examples()).mean()
                    h = torch.relu(twin.norm(twin.conv(examples()[0]))).flatten(1)
                    logits = twin.out(h)
                    logits[:, 1] = 0
                    ablated = torch.nn.functional.cross_entropy(logits, examples()[1])
                self.effects = {1: float(ablated - intact)}

    kept = Kept()
    fit(trainer(tmp_path, [kept, ablation(components="out[1]")], max_steps=4))
    rows = Run.open(tmp_path / "llc_lightning").measurements()
    measured = rows.loc[rows["quantity"] == "ablation_effect", "value"].item()
    assert measured == pytest.approx(kept.effects[1], abs=1e-6)


def test_nothing_is_read_from_the_training_loader(tmp_path: Path) -> None:
    drawn: list[int] = []
    train = loader()
    batch = train.source.batch
    train.source.batch = lambda numbers: (drawn.append(1), batch(numbers))[1]
    trainer(tmp_path, [llc(when=Every(steps=6)), ablation()], max_epochs=1).fit(PlainModule(), train, validation())
    assert len(drawn) == 12


def test_without_data_it_says_what_to_give_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as raised:
        fit(trainer(tmp_path, [llc(data=None)]))
    assert str(raised.value) == (
        "LLCCallback has no examples to measure on; give it data=, or give the datamodule a method analysis_set()."
    )
    assert not list(tmp_path.iterdir())


def test_the_datamodule_gives_the_data(tmp_path: Path) -> None:
    class Data(L.LightningDataModule):
        def train_dataloader(self) -> Any:
            return loader()

        def val_dataloader(self) -> Any:
            return validation()

        def analysis_set(self) -> tuple[Tensor, Tensor]:
            return examples(40)

    trainer(tmp_path, [llc(data=None)], max_epochs=1).fit(PlainModule(), datamodule=Data())
    rows = Run.open(tmp_path / "llc_lightning").measurements()
    assert set(rows.loc[rows["quantity"] == "loss", "n_examples"]) == {40}


@pytest.mark.parametrize(
    ("callback", "error", "message"),
    [
        (lambda: llc(components="convv"), AddressError, "convv"),
        (lambda: ablation(components="conv[9]"), AddressError, "conv"),
        (lambda: llc(data=(torch.zeros(3), torch.zeros(4))), DataError, "disagree"),
    ],
)
def test_what_cannot_be_measured_is_told_before_anything_is_trained(
    tmp_path: Path, callback: Any, error: type[Exception], message: str
) -> None:
    digests = Digests(tmp_path / "digests")
    with pytest.raises(error, match=message):
        fit(trainer(tmp_path, [callback(), digests]))
    assert not digests.path.exists()


def test_a_module_without_a_loss_for_every_example_is_told(tmp_path: Path) -> None:
    class Without(PlainModule):
        per_example_loss = None

    with pytest.raises(SettingError, match="Without has no per_example_loss"):
        fit(trainer(tmp_path, [llc()]), module=Without())


def test_switched_off_it_does_nothing(tmp_path: Path) -> None:
    off = LLCCallback(None, n_beta=1.0, gamma=1.0)
    fit(trainer(tmp_path, [off], max_steps=2))
    assert not list(tmp_path.iterdir())
    assert off.state_dict() == {"replicated": -1}


def test_skip_writes_rows_with_the_error_and_trains_on(tmp_path: Path) -> None:
    broken = Broken(examples())
    end = trainer(tmp_path, [llc(when=AtSteps([2]), on_error="skip", components=["all", "conv"])], max_steps=5)
    fit(end, module=broken)
    assert end.global_step == 5
    rows = Run.open(tmp_path / "llc_lightning").measurements()
    assert list(rows["status"]) == ["error", "error"]
    assert all(math.isnan(value) for value in rows["value"])
    assert all("chain 3 diverged" in details for details in rows["details"])


def test_raise_stops_the_training_with_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="FloatingPointError: chain 3 diverged"):
        fit(trainer(tmp_path, [llc(when=AtSteps([2]))], max_steps=5), module=Broken(examples()))


class Broken(PlainModule):
    """Fails when its loss is computed on the analysis set, after a hook was added and random numbers were drawn."""

    def __init__(self, data: tuple[Tensor, Tensor]) -> None:
        super().__init__()
        self.n = len(data[0])

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        if not self.training:
            torch.rand(3)
            self.conv.register_forward_hook(lambda *args: None)
            raise FloatingPointError("chain 3 diverged")
        return super().per_example_loss(batch)


def test_values_are_logged_at_their_own_step(tmp_path: Path) -> None:
    class Recorder(L.pytorch.loggers.CSVLogger):
        seen: list[tuple[int, str]]

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            self.seen += [(step or 0, name) for name in metrics]

    logger = Recorder(str(tmp_path))
    logger.seen = []
    fit(trainer(tmp_path, [llc(when=AtSteps([1, 2, 7]))], logger=logger, log_every_n_steps=5))
    assert {step for step, name in logger.seen if name.startswith(("llc", "flagged/llc"))} == {1, 2, 7}


def test_the_folder_is_that_of_the_logger(tmp_path: Path) -> None:
    fit(trainer(tmp_path, [llc(when=AtStart())], logger=L.pytorch.loggers.CSVLogger(str(tmp_path)), max_steps=1))
    run = Run.open(tmp_path / "lightning_logs" / "version_0")
    assert set(run.measurements()["run"]) == {"lightning_logs/version_0"}


def test_replicates_are_parts_of_their_own(tmp_path: Path) -> None:
    fit(trainer(tmp_path, [llc(when=Every(steps=10), replicates=3)], max_steps=12))
    run = Run.open(tmp_path / "llc_lightning")
    ends = [
        f"step=00000012-llc{REVISED}",
        f"step=00000012-llc-replicate=1{REVISED}",
        f"step=00000012-llc-replicate=2{REVISED}",
    ]
    assert set(run.store.parts()) == {f"step=00000010-llc{REVISED}", *ends}
    rows = run.measurements()
    last = rows.loc[(rows["quantity"] == "llc") & (rows["step"] == 12)]
    assert last["settings"].nunique() == 3
    assert last["value"].nunique() == 3
    assert set(last["epoch"]) == {0}


def test_two_of_one_name_are_told_apart_or_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SettingError, match=r"two callbacks of one trainer are LLCCallback with name='llc'; give .*name="
    ):
        trainer(tmp_path, [llc(), llc()])
    with pytest.raises(SettingError, match=r"LLCCallback and AblationCallback have the same name 'x'.*with name="):
        fit(trainer(tmp_path, [llc(name="x"), ablation(name="x")]))
    fit(trainer(tmp_path, [llc(), llc(name="again"), ablation(name="third")], max_steps=3))
    assert len(Run.open(tmp_path / "llc_lightning").store.parts()) == 3
