"""The transformer as it is trained and measured."""

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy

from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.data.sequences.base import NO_TARGET
from llc_lightning.data.sequences.induction import Induction
from llc_lightning.data.sequences.regression import LinearRegression
from llc_lightning.data.sequences.text import Text
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.runtime.errors import AddressError, DataError, SettingError
from tests.processes import FORKED

TASK = Induction(tokens=9, positions=8, shortest=2, longest=4)
SMALL: dict[str, Any] = {"d_vocab": 9, "n_ctx": 8, "d_model": 8, "d_mlp": 6}


def trainer(**settings: object) -> L.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return L.Trainer(**{**quiet, "enable_model_summary": False, "accelerator": "cpu", "devices": 1, **settings})


def small_data(**settings: int) -> SequenceData:
    return SequenceData(TASK, **{"batch_size": 16, "batches_per_epoch": 5, "validation_size": 256, **settings})


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return small_data(analysis_size=20).analysis_set()


class TestLosses:
    def test_a_sequence_has_the_mean_cross_entropy_over_its_targets(
        self, batch: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        model = TransformerModel(**SMALL)
        losses = model.per_example_loss(batch)
        logs = model(batch[0]).log_softmax(-1)
        for row in range(20):
            places = [t for t in range(8) if batch[1][row, t] != NO_TARGET]
            expected = -sum(logs[row, t, batch[1][row, t]] for t in places) / len(places)
            assert losses[row].item() == pytest.approx(expected.item(), rel=1e-5)

    def test_numbers_have_a_squared_error_at_their_places(self) -> None:
        model = TransformerModel(**SMALL, d_input=3)
        inputs, targets = torch.randn(4, 8, 3), torch.randn(4, 8)
        targets[:, ::2] = math.nan
        expected = (model(inputs)[:, 1::2, 0] - targets[:, 1::2]).square().mean(1)
        assert torch.allclose(model.per_example_loss((inputs, targets)), expected, rtol=1e-5)
        assert model.task_quantities((inputs, targets)) == []

    def test_without_a_target_the_loss_is_0(self) -> None:
        tokens = torch.zeros(2, 8, dtype=torch.int64)
        losses = TransformerModel(**SMALL).per_example_loss((tokens, torch.full_like(tokens, NO_TARGET)))
        assert losses.tolist() == [0.0, 0.0]

    def test_it_can_be_measured_through_the_loss_function(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        model = TransformerModel(**SMALL)
        loss, params = loss_fn(model), snapshot_params(model)
        assert torch.equal(loss(params, batch), model.per_example_loss(batch))
        assert [head.address for head in find_components(model, "heads")] == [
            f"net.blocks.{layer}.attn.hook_z[{head}]" for layer in range(2) for head in range(2)
        ]
        (row,) = [row for row in model.task_quantities(batch) if row.quantity == "accuracy"]
        hits = (model(batch[0]).argmax(-1) == batch[1]).sum(1) / (batch[1] != NO_TARGET).sum(1)
        assert (row.quantity, row.value, row.n) == ("accuracy", pytest.approx(hits.mean().item()), 20)

    def test_ablations_can_be_conditioned_on_what_the_task_knows(
        self, batch: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        model = TransformerModel(**SMALL)
        assert model.labels(batch) == {}
        model.fit_to(small_data())
        assert torch.equal(model.labels(batch)["period"], TASK.labels(batch)["period"])
        vectors = TransformerModel(**SMALL, d_input=3)
        vectors.fit_to(SequenceData(LinearRegression(pairs=4)))
        assert vectors.labels(batch) == {}

    def test_a_text_is_no_part_of_the_net(self, tmp_path: Path) -> None:
        source = tmp_path / "text"
        source.write_text("abcde" * 40_000, encoding="utf-8")
        model = TransformerModel(**SMALL)
        model.fit_to(SequenceData(Text(str(source), positions=4)))
        assert len(pickle.dumps(model)) < 200_000

    def test_survives_pickle_and_deepcopy(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        model = TransformerModel(**SMALL)
        for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):  # noqa: S301
            assert torch.equal(other.per_example_loss(batch), model.per_example_loss(batch))


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"d_model": 0}, "d_model is 0"),
            ({"norm": "batch"}, "unknown norm 'batch'"),
            ({"learning_rate": 0.0}, "learning_rate is 0.0"),
            ({"weight_decay": -1.0}, "weight_decay is -1.0"),
            ({"betas": (0.9, 1.0)}, r"betas is \(0.9, 1.0\)"),
            ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'"),
            ({"warmup_steps": -1}, "warmup_steps is -1"),
            ({"total_steps": 0}, "total_steps is 0"),
        ],
    )
    def test_refuses_what_is_out_of_range(self, settings: dict[str, Any], says: str) -> None:
        with pytest.raises(SettingError, match=says):
            TransformerModel(**settings)

    @pytest.mark.parametrize("name", ["2.0", "0.2", "0", "a.b", "0.-1", "00.1"])
    def test_refuses_a_circuit_of_heads_that_are_not_there(self, name: str) -> None:
        with pytest.raises(AddressError, match=r"write layer\.head, from '0.0' to '1.1'"):
            TransformerModel(circuit={name: "induction"})

    def test_refuses_a_circuit_without_heads(self) -> None:
        with pytest.raises(AddressError, match="the circuit names no head"):
            TransformerModel(circuit={})

    def test_refuses_data_that_it_cannot_read(self) -> None:
        with pytest.raises(DataError, match="need d_vocab to be at least 9, but the model has 8; raise it"):
            trainer(max_steps=1).fit(TransformerModel(**{**SMALL, "d_vocab": 8}), small_data())
        with pytest.raises(DataError, match="need n_ctx to be at least 8, but the model has 7"):
            trainer(max_steps=1).fit(TransformerModel(**{**SMALL, "n_ctx": 7}), small_data())
        with pytest.raises(DataError, match="are tokens, but the model reads vectors of 3 numbers; set d_input"):
            trainer(max_steps=1).fit(TransformerModel(**SMALL, d_input=3), small_data())

    def test_needs_to_know_how_long_the_cosine_is(self) -> None:
        with pytest.raises(SettingError, match="set the trainer's max_steps, or total_steps"):
            trainer(max_epochs=1).fit(TransformerModel(**SMALL), small_data())
        trainer(max_epochs=1).fit(TransformerModel(**SMALL, schedule="constant"), small_data())


class TestLearningRate:
    @pytest.mark.parametrize(
        ("schedule", "expected"),
        [("cosine", [0.25, 0.5, 0.75, 1.0, 0.75, 0.25, 0.0]), ("constant", [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0])],
    )
    def test_it_rises_and_then_falls_or_stays(self, schedule: str, expected: list[float]) -> None:
        settings = TransformerModel(schedule=schedule, warmup_steps=3).optimizer_settings
        assert [settings.factor(step, 6) for step in range(7)] == pytest.approx(expected)


class TestCircuit:
    def test_the_truth_is_what_was_enforced(self) -> None:
        assert TransformerModel(**SMALL).ground_truth() == {}
        truth = TransformerModel(**SMALL, circuit={"0.1": "previous-token", "1.0": "induction"}).ground_truth()
        assert truth == {
            "net.blocks.0.attn.hook_z[0]": "",
            "net.blocks.0.attn.hook_z[1]": "previous-token",
            "net.blocks.1.attn.hook_z[0]": "induction",
            "net.blocks.1.attn.hook_z[1]": "",
        }

    def test_interchange_reaches_the_heads_outside_alone(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        from llc_lightning.models.strict import heads_of, interchanged_outputs

        net = TransformerModel(**SMALL).net
        everything = heads_of(net, dict.fromkeys(("0.0", "0.1", "1.0", "1.1"), ""))
        assert torch.equal(interchanged_outputs(net, batch, everything, seed=0, draw=0), net(batch[0]))
        nothing = heads_of(net, None)
        swapped = interchanged_outputs(net, batch, nothing, seed=0, draw=0)
        assert not torch.allclose(swapped, net(batch[0]), atol=1e-4)
        assert torch.equal(swapped, interchanged_outputs(net, batch, nothing, seed=0, draw=0))
        assert not torch.equal(swapped, interchanged_outputs(net, batch, nothing, seed=0, draw=1))

    def test_no_gradient_flows_into_donors(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        from llc_lightning.models import strict

        net = TransformerModel(**{**SMALL, "n_layers": 1, "n_heads": 1}).net
        one = batch[0][:2]
        outputs = strict.interchanged_outputs(net, (one, batch[1][:2]), strict.heads_of(net, None), seed=0, draw=3)
        swapped = (outputs - net(one)).abs().flatten(1).max(1).values > 1e-5
        assert bool(swapped.any())
        outputs[swapped].square().sum().backward()
        assert float(net.blocks[0].attn.W_V.grad.abs().max()) == 0.0
        assert float(net.blocks[0].attn.W_O.grad.abs().max()) > 0


class Weights(Callback):
    """Keeps the weights after every step."""

    def __init__(self) -> None:
        self.after: dict[int, dict[str, torch.Tensor]] = {}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object) -> None:
        self.after[trainer.global_step] = snapshot_params(pl_module)


@pytest.mark.parametrize("circuit", [None, {"0.0": "previous-token"}])
def test_a_resume_continues_exactly(tmp_path: Path, circuit: dict[str, str] | None) -> None:
    def run(checkpoint: Path | None = None) -> dict[int, dict[str, torch.Tensor]]:
        weights = Weights()
        saving = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=7, save_top_k=-1)
        fitted = trainer(max_steps=11, callbacks=[weights, saving], enable_checkpointing=True)
        fitted.fit(TransformerModel(**SMALL, circuit=circuit), small_data(), ckpt_path=checkpoint, weights_only=True)
        return weights.after

    whole = run()
    rest = run(tmp_path / "step=7.ckpt")
    assert list(rest) == [8, 9, 10, 11]
    for step, weights in rest.items():
        assert all(torch.equal(weights[name], whole[step][name]) for name in weights)


def test_a_checkpoint_gives_the_model_back(tmp_path: Path, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = TransformerModel(**SMALL, norm="rms", positions="rotary")
    saving = ModelCheckpoint(tmp_path, filename="end")
    trainer(max_steps=2, callbacks=[saving], enable_checkpointing=True).fit(model, small_data())
    again = TransformerModel.load_from_checkpoint(tmp_path / "end.ckpt", weights_only=True)
    assert torch.equal(again.per_example_loss(batch), model.per_example_loss(batch))


def test_two_processes_train_the_net(tmp_path: Path) -> None:
    fitted = trainer(
        max_steps=2,
        strategy=DDPStrategy(start_method=FORKED),
        devices=2,
        default_root_dir=tmp_path,
        limit_val_batches=0,
    )
    model = TransformerModel(**SMALL)
    before = snapshot_params(model)
    fitted.fit(model, small_data())
    assert not torch.equal(before["net.embed.W_E"], model.net.embed.W_E.detach())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_induction_is_learnt(seed: int) -> None:
    data = SequenceData(Induction(), seed=seed)
    model = TransformerModel(seed=seed)
    trainer(max_steps=500, limit_val_batches=0).fit(model, data)
    with torch.no_grad():
        assert model.per_example_loss(data.analysis_set(1024)).mean().item() < 0.1
