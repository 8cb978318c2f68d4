"""The CIS model: its losses, its quantities, its training, and a resume in the middle of an epoch."""

import copy
import pickle
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.cis import CISData
from llc_lightning.data.tasks import TASKS
from llc_lightning.models.cis import CISModel
from llc_lightning.runtime.errors import DataError, SettingError

SMALL = {"size": 4, "active": 2.0}
EVERY = [*({"task": task} for task in TASKS), {"task": "xor", "embedding": 5}]


def trainer(**settings: object) -> L.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return L.Trainer(**{**quiet, "enable_model_summary": False, "accelerator": "cpu", "devices": 1, **settings})


def small_data(**settings: Any) -> CISData:
    return CISData(**SMALL, **{"batch_size": 16, "batches_per_epoch": 5, "validation_size": 1024, **settings})


@pytest.fixture
def model() -> CISModel:
    return CISModel(**SMALL, width=6)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return CISData(**SMALL, analysis_size=200).analysis_set()


class TestLosses:
    @pytest.mark.parametrize("power", [1.0, 2.0, 3.0, 4.0])
    @pytest.mark.parametrize("task", TASKS)
    def test_the_loss_is_the_mean_power_over_outputs_divided_by_q(self, task: str, power: float) -> None:
        model = CISModel(task, **SMALL, loss_power=power)
        x, y = model.task.sample(50, torch.Generator().manual_seed(0))
        expected = ((model.net(x) - y).abs() ** power).mean(dim=1) / (2 / model.task.n_circuits)
        assert torch.allclose(model.per_example_loss((x, y)), expected, rtol=1e-5)

    @pytest.mark.parametrize("task", TASKS)
    def test_circuit_losses_average_to_the_loss_and_count_where_active(self, task: str) -> None:
        model = CISModel(task, **SMALL)
        batch = model.task.sample(200, torch.Generator().manual_seed(0))
        losses, counted = model.per_task_loss(batch)
        assert losses.shape == counted.shape == (200, len(model.task_names))
        assert torch.allclose(losses.mean(dim=1) / model.task.q, model.per_example_loss(batch), rtol=1e-5)
        assert torch.equal(counted, model.task.is_active(*batch))

    @pytest.mark.parametrize("task", ["xor", "relu"])
    def test_always_zero_has_the_trivial_loss_in_total_and_on_every_circuit(self, task: str) -> None:
        model = CISModel(task, **SMALL)
        for parameter in model.net.W_out.parameters():
            torch.nn.init.zeros_(parameter)
        batch = model.task.sample(100_000, torch.Generator().manual_seed(0))
        losses, counted = model.per_task_loss(batch)
        assert model.per_example_loss(batch).mean().item() == pytest.approx(model.trivial_loss, rel=0.03)
        for circuit in range(4):
            assert losses[counted[:, circuit], circuit].mean().item() == pytest.approx(model.trivial_loss, rel=0.03)

    def test_it_can_be_measured_through_the_loss_function(
        self, model: CISModel, batch: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        loss, params = loss_fn(model), snapshot_params(model)
        assert torch.equal(loss(params, batch), model.per_example_loss(batch))
        assert loss.task_names == ("circuit:00", "circuit:01", "circuit:02", "circuit:03")
        assert torch.equal(loss.per_task(params, batch)[0], model.per_task_loss(batch)[0])
        assert loss.task_quantities(params, batch) == model.task_quantities(batch)
        assert len(find_components(model, "neurons")) == 6
        assert find_components(model, "neurons")[0].address == "net.hook_hidden[0]"

    @pytest.mark.parametrize("settings", EVERY, ids=str)
    def test_survives_pickle_and_deepcopy(self, settings: dict[str, Any]) -> None:
        model = CISModel(**settings, **SMALL)
        batch = model.task.sample(50, torch.Generator().manual_seed(0))
        for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):  # noqa: S301
            assert torch.equal(other.per_example_loss(batch), model.per_example_loss(batch))

    @pytest.mark.parametrize("settings", EVERY, ids=str)
    def test_vmap_of_grad_over_stacked_weights_agrees_with_backward(self, settings: dict[str, Any]) -> None:
        model = CISModel(**settings, **SMALL)
        batch = model.task.sample(50, torch.Generator().manual_seed(0))
        loss = loss_fn(model)
        params = {name: value.detach() for name, value in model.named_parameters()}
        stacked = {name: torch.stack((value, value * 0.5)) for name, value in params.items()}
        together = torch.func.vmap(torch.func.grad(lambda p: loss(p, batch).mean()))(stacked)
        model.per_example_loss(batch).mean().backward()
        for name, parameter in model.named_parameters():
            assert torch.allclose(together[name][0], parameter.grad, atol=1e-5)


class TestSettings:
    @pytest.mark.parametrize(
        "settings",
        [
            {"width": 0},
            {"embedding": 0},
            {"loss_power": 0.5},
            {"loss_power": float("nan")},
            {"learning_rate": 0.0},
            {"learning_rate": float("nan")},
            {"weight_decay": -1.0},
            {"total_steps": 0},
            {"size": 0},
            {"active": 40.0},
        ],
    )
    def test_refuses_numbers_out_of_range(self, settings: dict[str, float]) -> None:
        with pytest.raises(SettingError, match=next(iter(settings))):
            CISModel(**settings)

    def test_refuses_an_unknown_task(self) -> None:
        with pytest.raises(SettingError, match="unknown task 'xro'; did you mean 'xor'"):
            CISModel("xro")

    def test_refuses_data_of_another_task(self, model: CISModel) -> None:
        with pytest.raises(DataError, match=r"made for XorTask\(size=4.* data are of XorTask\(size=5"):
            trainer(max_steps=1).fit(model, CISData(size=5, active=2.0))

    def test_needs_to_know_how_long_the_cosine_is(self, model: CISModel) -> None:
        with pytest.raises(SettingError, match="set the trainer's max_steps, or total_steps"):
            trainer(max_epochs=1).fit(model, small_data())
        trainer(max_epochs=1).fit(CISModel(**SMALL, total_steps=5), small_data())


class TestQuantities:
    def test_they_are_those_of_the_net_and_of_its_baselines(
        self, model: CISModel, batch: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        rows = model.task_quantities(batch)
        assert [(row.quantity, row.loss, row.method) for row in rows] == [
            *(("sign_accuracy", name, "") for name in model.task_names),
            ("sign_accuracy", "train", ""),
            ("circuits_solved", "train", ""),
            *(("baseline_loss", "train", method) for method in ("zero", "affine", "dedicated_net", "dedicated")),
            ("circuits_solved", "train", "dedicated"),
            ("sign_accuracy", "train", "dedicated"),
            ("loss", "power:2", ""),
            *(("baseline_loss", "power:2", method) for method in ("zero", "affine", "dedicated_net", "dedicated")),
        ]
        x, y = batch
        assert {row.unit for row in rows if row.loss == "power:2"} == {"error^2 / q"}
        (square,) = (row.value for row in rows if (row.quantity, row.loss) == ("loss", "power:2"))
        assert square == pytest.approx(((model(x) - y) ** 2).mean().item() / model.task.q)
        first = y[:, 0] != 0
        assert rows[0].value == pytest.approx((model(x)[first, 0] * y[first, 0] > 0).double().mean().item())
        assert rows[0].n == int(first.sum())

    def test_the_dedicated_copy_has_the_baseline_for_its_loss(
        self, model: CISModel, batch: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        dedicated = model.dedicated()
        (row,) = (row for row in model.task_quantities(batch) if (row.method, row.loss) == ("dedicated_net", "train"))
        assert dedicated.per_example_loss(batch).mean().item() == pytest.approx(row.value)
        solved = [row.value for row in dedicated.task_quantities(batch) if row.quantity == "circuits_solved"]
        assert solved == [3.0, 3.0]
        assert not torch.equal(model.per_example_loss(batch), dedicated.per_example_loss(batch))


class TestGroundTruth:
    def test_outputs_belong_to_their_circuits_and_trained_neurons_to_none(self) -> None:
        truth = CISModel("circ", **SMALL).ground_truth()
        assert truth == {f"net.hook_out[{output}]": f"circuit:0{output // 2}" for output in range(8)}

    @pytest.mark.parametrize("settings", EVERY, ids=str)
    def test_of_a_net_that_is_wired_by_hand_all_is_known(self, settings: dict[str, Any]) -> None:
        model = CISModel(**settings, **SMALL, width=8).dedicated()
        truth = model.ground_truth()
        components = find_components(model, ["neurons", "net.hook_out[*]"])
        assert list(truth) == [component.address for component in components]
        each = model.task.relus_per_circuit
        assert truth["net.hook_hidden[0]"] == truth["net.hook_out[0]"] == "circuit:00"
        assert truth[f"net.hook_hidden[{each}]"] == "circuit:01"


class Weights(Callback):
    """Keeps the weights after every step."""

    def __init__(self) -> None:
        self.after: dict[int, dict[str, torch.Tensor]] = {}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object) -> None:
        self.after[trainer.global_step] = snapshot_params(pl_module)


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("stop", [7, 10])
def test_a_resume_continues_exactly_in_the_middle_and_at_the_end_of_an_epoch(tmp_path: Path, stop: int) -> None:
    def run(checkpoint: Path | None = None) -> dict[int, dict[str, torch.Tensor]]:
        weights = Weights()
        saving = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=stop, save_top_k=-1)
        fitted = trainer(max_steps=13, callbacks=[weights, saving], enable_checkpointing=True)
        fitted.fit(CISModel(**SMALL, width=6), small_data(), ckpt_path=checkpoint, weights_only=True)
        return weights.after

    whole, resumed = run(), run(tmp_path / f"step={stop}.ckpt")
    assert list(resumed) == list(range(stop + 1, 14))
    assert all(same(whole[step], weights) for step, weights in resumed.items())


def test_training_and_validation_are_logged(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="", version="")
    fitted = trainer(max_steps=10, logger=logger, log_every_n_steps=5)
    fitted.fit(CISModel(**SMALL, width=6), small_data())
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    columns = lines[0].split(",")
    assert {"train/loss", "train/sign_accuracy", "val/loss", "val/sign_accuracy"} <= set(columns)
    rows = [dict(zip(columns, line.split(","), strict=True)) for line in lines[1:]]
    assert [int(row["step"]) for row in rows if row["train/loss"]] == [4, 9]
    assert [int(row["step"]) for row in rows if row["val/loss"]] == [4, 9]
    assert all(0 <= float(row["val/sign_accuracy"]) <= 1 for row in rows if row["val/loss"])


def test_model_and_data_may_have_different_seeds_and_data_may_come_without_a_module(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="", version="")
    trainer(max_steps=2, logger=logger, log_every_n_steps=1).fit(CISModel(**SMALL, seed=1), small_data(seed=2))
    data = small_data()
    trainer(max_steps=2).fit(CISModel(**SMALL), data.train_dataloader(), data.val_dataloader())


@pytest.mark.parametrize("settings", EVERY, ids=str)
def test_a_checkpoint_holds_plain_settings_and_gives_the_model_back(settings: dict[str, Any], tmp_path: Path) -> None:
    model = CISModel(**settings, **SMALL, width=6, loss_power=2.0, seed=3)
    fitted = trainer(max_steps=2, limit_val_batches=0)
    fitted.fit(model, small_data(task=settings["task"]))
    fitted.save_checkpoint(tmp_path / "model.ckpt")
    stored = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert stored["hyper_parameters"]["width"] == 6
    again = CISModel.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert same(snapshot_params(model), snapshot_params(again))
    assert (again.loss_power, again.task) == (2.0, model.task)
    batch = model.task.sample(20, torch.Generator().manual_seed(0))
    assert torch.equal(again.per_example_loss(batch), model.per_example_loss(batch))


def test_the_learning_rate_falls_to_zero_along_a_half_cosine() -> None:
    rates: list[float] = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer: L.Trainer, *_: object) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    trainer(max_steps=4, callbacks=[Rates()]).fit(CISModel(**SMALL, learning_rate=1.0), small_data())
    assert rates == pytest.approx([1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2])
