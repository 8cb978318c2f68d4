"""The image model: losses per task that add up, selectivity, its components, its training, and its copies."""

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from llc_lightning.ablation.effects import ablation_effects
from llc_lightning.analysis.selectivity import selectivity
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.images import MNISTFashionData
from llc_lightning.data.layouts import LAYOUTS
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.measurements import measure
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.models.image import ImageModel
from llc_lightning.runtime.errors import DataError, SettingError

Batch = tuple[torch.Tensor, torch.Tensor]
ARCHITECTURES = ("mlp", "cnn")


def trainer(**settings: Any) -> L.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return L.Trainer(**{**quiet, "enable_model_summary": False, "accelerator": "cpu", "devices": 1, **settings})


def small(layout: str = "mix20", architecture: str = "mlp", **settings: Any) -> ImageModel:
    sizes = {"mini": True, "width": 6, "channels": [3, 4]}
    return ImageModel(layout, architecture=architecture, **{**sizes, **settings})


@pytest.fixture(scope="module")
def drawn() -> MNISTFashionData:
    """Small data, drawn once."""
    made = MNISTFashionData(
        source="embedded", mini=True, batch_size=20, train_size=100, validation_size=50, analysis_size=150
    )
    made.setup("fit")
    return made


def data(drawn: MNISTFashionData, layout: str = "mix20", **settings: Any) -> MNISTFashionData:
    """Returns data of another layout with the images that are drawn already."""
    sizes = {"batch_size": 20, "train_size": 100, "validation_size": 50, "analysis_size": 100, "mini": True}
    made = MNISTFashionData(layout, source="embedded", **{**sizes, **settings})
    made._images = drawn.images
    return made


@pytest.fixture
def batch(drawn: MNISTFashionData) -> Batch:
    """149 examples, one more of the first task than of the second."""
    return drawn.analysis_set(149)


def batch_of(layout: str, drawn: MNISTFashionData) -> Batch:
    return data(drawn, layout).analysis_set()


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


class TestLosses:
    @pytest.mark.parametrize("layout", ["mix20", "share10"])
    def test_an_example_of_one_task_has_the_cross_entropy_of_its_label(
        self, layout: str, drawn: MNISTFashionData
    ) -> None:
        model, (images, labels) = small(layout), batch_of(layout, drawn)
        expected = torch.nn.functional.cross_entropy(model.net(images), labels.amax(dim=1), reduction="none")
        assert torch.allclose(model.per_example_loss((images, labels)), expected)

    @pytest.mark.parametrize("layout", ["super", "concat"])
    def test_an_example_of_both_tasks_has_the_mean_of_two(self, layout: str, drawn: MNISTFashionData) -> None:
        model, (images, labels) = small(layout), batch_of(layout, drawn)
        outputs = model.net(images)
        each = [
            torch.nn.functional.cross_entropy(outputs[:, 10 * task : 10 * task + 10], labels[:, task], reduction="none")
            for task in (0, 1)
        ]
        assert torch.allclose(model.per_example_loss((images, labels)), (each[0] + each[1]) / 2)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_equal_outputs_have_the_trivial_loss(self, layout: str, drawn: MNISTFashionData) -> None:
        model = small(layout)
        for parameter in model.net.head.parameters():
            torch.nn.init.zeros_(parameter)
        assert model.trivial_loss == pytest.approx(math.log(20 if layout == "mix20" else 10))
        assert model.per_example_loss(batch_of(layout, drawn)).mean().item() == pytest.approx(model.trivial_loss)

    def test_the_training_loss_is_the_mean_of_the_examples(self, batch: Batch) -> None:
        model = small()
        model.trainer = trainer()
        assert model.training_step(batch, 0).item() == pytest.approx(model.per_example_loss(batch).mean().item())


def measured(model: ImageModel, batch: Batch, *methods: str) -> pd.DataFrame:
    """Returns the rows that a live measurement would store."""
    plan = AblationPlan(components=("neurons", "layers"), methods=methods)
    snapshot = Snapshot.of(model, batch, run="images/version_0", seed=0, step=0, epoch=0)
    return pd.DataFrame([vars(row) for row in measure(plan, snapshot).rows])


def train_in_blocks(model: ImageModel, batch: Batch) -> None:
    """Trains a net whose first half sees the left image and feeds the first head, and the second half the others."""
    first, left = torch.arange(24) < 12, (torch.arange(14 * 28) % 28) < 14
    own = {"hidden.0.weight": (first, left), "hidden.1.weight": (first, first),
           "head.weight": (torch.arange(20) < 10, first)}  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        with torch.no_grad():
            for name, (rows, columns) in own.items():
                model.net.get_parameter(name).mul_(rows[:, None] == columns)
        optimizer.zero_grad()
        model.per_example_loss(batch).mean().backward()
        optimizer.step()
    with torch.no_grad():
        for name, (rows, columns) in own.items():
            model.net.get_parameter(name).mul_(rows[:, None] == columns)


class TestTasks:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_effects_on_the_tasks_weighted_by_their_size_sum_to_the_effect(
        self, layout: str, drawn: MNISTFashionData, batch: Batch
    ) -> None:
        examples = batch if layout == "mix20" else batch_of(layout, drawn)
        model = small(layout, tasks=["mnist", "fashion"])
        rows = measured(model, examples, "mean", "zero", "resample")
        effects = rows.loc[rows["quantity"].isin(["ablation_effect", "loss"])]
        by_loss = {
            name: effects.loc[effects["loss"] == name].sort_values(["component", "method"])
            for name in ("train", "task:mnist", "task:fashion")
        }
        parts = [by_loss[name] for name in ("task:mnist", "task:fashion")]
        if layout == "mix20":
            assert [set(part["n_examples"]) for part in parts] == [{75}, {74}]
        sizes, values = (
            sum(part[column].to_numpy() * factor for part, factor in pairs)
            for column, pairs in (
                ("n_examples", [(part, 1.0) for part in parts]),
                ("value", [(part, part["n_examples"].to_numpy(dtype=float)) for part in parts]),
            )
        )
        assert len(by_loss["train"]) == 1 + 3 * (12 + 3)
        assert abs(by_loss["train"]["value"].to_numpy() - values / sizes).max() < 1e-5
        assert abs(by_loss["train"]["value"]).max() > 1e-3

    def test_a_block_diagonal_net_has_selectivity_plus_and_minus_one(self, drawn: MNISTFashionData) -> None:
        model, batch = small("concat", width=24, tasks=["mnist", "fashion"]), batch_of("concat", drawn)
        train_in_blocks(model, batch)
        rows = measured(model, batch, "mean", "zero").assign(status="ok")  # some are flagged at so few examples
        for method in ("mean", "zero"):
            found = selectivity(rows, methods=[method])
            units = found.loc[(found["kind"] == "neuron") & found["clear"]]
            serves_first = units["component"].str.extract(r"\[(\d+)\]")[0].astype(int) < 12
            assert min(serves_first.sum(), (~serves_first).sum()) >= 6
            assert set(units.loc[serves_first, "value"]) == {1.0}
            assert set(units.loc[~serves_first, "value"]) == {-1.0}
            assert (units["stderr"] == 0).all()
            layers = found.loc[found["kind"] == "layer"]
            assert (layers["value"].abs() < 0.9).all()

    def test_quantities_are_the_accuracies_of_the_tasks_and_of_all_labels(self, batch: Batch) -> None:
        model = small(tasks=["mnist", "fashion"])
        images, labels = batch
        hits = model.net(images).argmax(dim=1) == labels.amax(dim=1)
        first, second, both = model.task_quantities(batch)
        assert [(one.quantity, one.loss, one.n) for one in (first, second, both)] == [
            ("accuracy", "task:mnist", 75), ("accuracy", "task:fashion", 74), ("accuracy", "train", 149)
        ]  # fmt: skip
        assert first.value == pytest.approx(hits[labels[:, 0] >= 0].double().mean().item())
        assert both.value == pytest.approx(hits.double().mean().item())
        assert 0 < first.stderr < 0.1
        assert math.isnan(model.task_quantities((images[:1], labels[:1]))[1].value)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
class TestCopies:
    def test_pickle_and_deepcopy_give_the_same_losses(self, architecture: str, batch: Batch) -> None:
        model = small(architecture=architecture)
        for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):  # noqa: S301
            assert torch.equal(other.per_example_loss(batch), model.per_example_loss(batch))

    def test_functional_call_and_vmap_agree_with_backward(self, architecture: str, batch: Batch) -> None:
        model = small(architecture=architecture)
        loss = loss_fn(model)
        params = {name: value.detach() for name, value in model.named_parameters()}
        assert torch.equal(loss(params, batch), model.per_example_loss(batch))
        stacked = {name: torch.stack((value, value * 0.5)) for name, value in params.items()}
        together = torch.func.vmap(torch.func.grad(lambda p: loss(p, batch).mean()))(stacked)
        model.per_example_loss(batch).mean().backward()
        for name, parameter in model.named_parameters():
            assert torch.allclose(together[name][0], parameter.grad, atol=1e-6)

    def test_a_checkpoint_gives_the_model_and_the_names_of_its_tasks_back(
        self, architecture: str, drawn: MNISTFashionData, tmp_path: Path
    ) -> None:
        model = small(architecture=architecture, seed=3)
        assert model.task_names == ("task:first", "task:second")
        fitted = trainer(max_steps=2)
        fitted.fit(model, data(drawn))
        fitted.save_checkpoint(tmp_path / "model.ckpt")
        stored = torch.load(tmp_path / "model.ckpt", weights_only=True)
        assert stored["hyper_parameters"]["channels"] == [3, 4]
        again = ImageModel.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
        assert same(snapshot_params(model), snapshot_params(again))
        assert again.task_names == model.task_names == ("task:segments", "task:gratings")
        trainer(max_steps=3).fit(model, data(drawn), ckpt_path=tmp_path / "model.ckpt", weights_only=True)

    def test_the_seed_alone_decides_the_first_weights(self, architecture: str) -> None:
        before = torch.get_rng_state()
        one, two, other = (small(architecture=architecture, seed=seed) for seed in (1, 1, 2))
        assert torch.equal(before, torch.get_rng_state())
        assert same(snapshot_params(one), snapshot_params(two))
        assert not same(snapshot_params(one), snapshot_params(other))


class TestComponents:
    def test_a_neuron_has_its_row_bias_and_column_and_layers_partition_the_weights(self) -> None:
        model = small()
        neurons = find_components(model, "neurons")
        assert [one.address for one in neurons[:7:6]] == ["net.hook_hidden.0[0]", "net.hook_hidden.1[0]"]
        params = dict(model.named_parameters())
        sizes = [sum(int(mask.sum()) for mask in one.moved(params).values()) for one in neurons]
        assert sizes == [196 + 1 + 6] * 6 + [6 + 1 + 20] * 6
        masks = [mask for one in find_components(model, "layers") for mask in one.moved(params).values()]
        assert sum(int(mask.sum()) for mask in masks) == sum(value.numel() for value in params.values())

    def test_a_channel_has_its_kernels_bias_and_readers(self) -> None:
        model = small(architecture="cnn")
        channels = find_components(model, "channels")
        assert [one.address for one in channels[::3]] == [
            "net.hook_channels.0[0]", "net.hook_channels.1[0]", "net.hook_channels.1[3]"
        ]  # fmt: skip
        params = dict(model.named_parameters())
        sizes = [sum(int(mask.sum()) for mask in one.moved(params).values()) for one in channels]
        assert sizes == [25 + 1 + 4 * 9] * 3 + [3 * 9 + 1 + 20 * 4 * 4] * 4
        masks = [mask for one in find_components(model, "layers") for mask in one.moved(params).values()]
        assert sum(int(mask.sum()) for mask in masks) == sum(value.numel() for value in params.values())

    def test_zero_ablating_a_channel_is_zeroing_what_reads_it(self, batch: Batch) -> None:
        model = small(architecture="cnn")
        edited = copy.deepcopy(model)
        with torch.no_grad():
            edited.net.W_out[:, 2] = 0
        expected = (edited.per_example_loss(batch) - model.per_example_loss(batch)).mean().item()
        table = ablation_effects(model, batch, "net.hook_channels.1[2]", "zero")
        assert table.loc[table["loss"] == "train", "value"].item() == pytest.approx(expected, abs=1e-6)


class TestSettings:
    @pytest.mark.parametrize(
        "settings",
        [
            {"width": 0},
            {"depth": 0},
            {"channels": []},
            {"channels": [4, 0]},
            {"learning_rate": 0.0},
            {"learning_rate": float("nan")},
            {"weight_decay": -1.0},
            {"total_steps": 0},
            {"tasks": ["mnist", "mnist"]},
        ],
    )
    def test_refuses_what_is_out_of_range(self, settings: dict[str, Any]) -> None:
        with pytest.raises(SettingError, match=next(iter(settings))):
            ImageModel(**settings)

    def test_refuses_unknown_names(self) -> None:
        with pytest.raises(SettingError, match="unknown layout 'sper'; did you mean 'super'"):
            ImageModel("sper")
        with pytest.raises(SettingError, match="unknown architecture 'cn'; did you mean 'cnn'"):
            ImageModel(architecture="cn")

    @pytest.mark.parametrize("settings", [{"layout": "share10"}, {"mini": False}])
    def test_refuses_data_of_another_layout_or_size(self, settings: dict[str, Any], drawn: MNISTFashionData) -> None:
        with pytest.raises(DataError, match="give both the same layout and mini"):
            trainer(max_steps=1).fit(small(), data(drawn, **settings))

    def test_refuses_data_of_other_tasks_than_it_is_named_for(self, drawn: MNISTFashionData) -> None:
        with pytest.raises(DataError, match="tasks are mnist and fashion, but the data's are segments and gratings"):
            trainer(max_steps=1).fit(small(tasks=["mnist", "fashion"]), data(drawn))

    def test_needs_to_know_how_long_the_cosine_is(self, drawn: MNISTFashionData) -> None:
        with pytest.raises(SettingError, match="set the trainer's max_steps or max_epochs, or total_steps"):
            trainer(max_epochs=-1).fit(small(), data(drawn))


def test_ablations_can_be_conditioned_on_the_class(batch: Batch, drawn: MNISTFashionData) -> None:
    model = small(tasks=("mnist", "fashion"))
    labels = model.labels(batch)
    assert torch.equal(torch.stack([labels["mnist"], labels["fashion"]], dim=1), batch[1])
    pairs = [tuple(pair) for pair in batch[1].tolist()]
    same = torch.tensor([[one == other for one in pairs] for other in pairs])
    assert torch.equal(labels["class"][:, None] == labels["class"], same)
    parts, methods = ["net.hook_hidden.1"], ["resample(label=class)", "resample(label=mnist)"]
    table = ablation_effects(model, drawn.analysis_set(), parts, methods)
    layer, of_mnist = table["value"][table["loss"] == "train"]
    assert layer == pytest.approx(0, abs=1e-6)  # the whole last layer, exchanged within a class, brings no loss
    assert abs(of_mnist) > 1e-4


def test_every_task_has_its_accuracy_and_loss_logged(drawn: MNISTFashionData, tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="", version="")
    fitted = trainer(max_epochs=2, logger=logger, log_every_n_steps=5)
    model = small()
    fitted.fit(model, data(drawn))
    table = pd.read_csv(tmp_path / "metrics.csv")
    for stage in ("train", "val"):
        logged = table.loc[table[f"{stage}/loss"].notna()]
        assert logged["step"].tolist() == ([4, 9, 14, 19] if stage == "train" else [9, 19])
        for task in ("segments", "gratings"):
            assert logged[f"{stage}/accuracy_{task}"].between(0, 1).all()
            assert (logged[f"{stage}/loss_{task}"] > 0).all()
    images, labels = next(iter(data(drawn, analysis_size=1).val_dataloader()))
    losses, counted = model.per_task_loss((images, labels))
    last = table.loc[table["val/loss"].notna()].iloc[-1]
    assert last["val/loss_segments"] == pytest.approx(losses[counted[:, 0], 0].mean().item(), rel=1e-5)
    assert last["val/accuracy_gratings"] == pytest.approx(model.task_quantities((images, labels))[1].value)
    assert last["val/loss"] == pytest.approx(losses[counted].mean().item(), rel=1e-5)


def test_it_learns_the_drawn_tasks(drawn: MNISTFashionData) -> None:
    fitted = trainer(max_epochs=3)
    made = data(drawn, train_size=2500, validation_size=1000, batch_size=50, mini=False)
    fitted.fit(ImageModel(learning_rate=8e-3), made)
    assert float(fitted.callback_metrics["val/accuracy_segments"]) > 0.8
    assert float(fitted.callback_metrics["val/accuracy_gratings"]) > 0.35
