"""What may be done to every model of the zoo: pickle, copy, call with other weights, stack, share, save and load."""

import copy
import pickle
from importlib import import_module
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data import drawn
from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.models.hand_built import TASK, hand_built_induction
from llc_lightning.models.planted import PlantedModel
from tests.processes import FORKED

ROOT = Path(__file__).parents[2]
SMOKE = sorted((ROOT / "configs" / "smoke").glob("*.yaml"))
CONFIGS = {path.stem: yaml.safe_load(path.read_text()) for path in SMOKE}
BUILT = ("planted", "hand_built")
NAMES = (*CONFIGS, *BUILT)


def made(described: dict[str, Any]) -> Any:
    """Returns what a class_path and its init_args describe."""
    module, _, name = described["class_path"].rpartition(".")
    arguments = described.get("init_args", {})
    # As jsonargparse does, lists become what they are declared to be.
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    nested = {key: made(value) for key, value in arguments.items() if isinstance(value, dict) and "class_path" in value}
    return getattr(import_module(module), name)(**{**arguments, **nested})


def model_and_batch(name: str) -> tuple[L.LightningModule, Any]:
    """Returns the model of a configuration, or one that is built and not trained, and eight examples of its data."""
    if name == "planted":
        planted = PlantedModel()
        return planted, planted.sample(8, torch.Generator().manual_seed(0))
    if name == "hand_built":
        return hand_built_induction(), SequenceData(TASK, analysis_size=8).analysis_set()
    model, data = CONFIGS[name]["model"], CONFIGS[name]["data"]
    fewer = {key: 8 for key in ("analysis_size", "train_size") if key in data["init_args"]}
    return made(model), made({**data, "init_args": {**data["init_args"], **fewer}}).analysis_set()


@pytest.fixture(autouse=True)
def _few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in ("TRAIN", "TEST"):
        monkeypatch.setattr(f"llc_lightning.data.drawn.{size}", 16)


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest) -> tuple[L.LightningModule, Any]:
    return model_and_batch(request.param)


def test_copies_calls_and_stacks_agree_and_leave_it_as_it_was(
    case: tuple[L.LightningModule, Any], tmp_path: Path
) -> None:
    model, batch = case
    losses, before = model.per_example_loss(batch).detach(), snapshot_params(model)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):  # noqa: S301
        assert torch.equal(other.per_example_loss(batch), losses)
        with torch.no_grad():
            next(other.parameters()).add_(1.0)

    loss = loss_fn(model)
    assert torch.equal(loss(before, batch), losses)
    halved = {name: value / 2 for name, value in before.items()}
    stacked = {name: torch.stack((value, halved[name])) for name, value in before.items()}
    together = torch.func.vmap(lambda weights: loss(weights, batch))(stacked)
    assert torch.allclose(together[0], losses, rtol=1e-4, atol=1e-5)
    assert torch.allclose(together[1], loss(halved, batch), rtol=1e-4, atol=1e-5)

    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "saved.ckpt", weights_only=True)
    again = type(model).load_from_checkpoint(tmp_path / "saved.ckpt", weights_only=True)
    assert torch.equal(again.per_example_loss(batch), losses)
    assert all(torch.equal(value, before[name]) for name, value in snapshot_params(model).items())


class MeanLoss(nn.Module):
    """The mean loss of a model, as DDP wants to see it."""

    def __init__(self, model: L.LightningModule) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self.model.per_example_loss(batch).mean()


def share(rank: int, folder: str) -> None:
    """Runs on each of two processes: the gradient of half of the examples each is that of all of them."""
    drawn.TRAIN = drawn.TEST = 16  # in this process
    distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    torch.set_num_threads(1)
    for name in NAMES:
        model, batch = model_and_batch(name)
        model.per_example_loss(batch).mean().backward()
        whole = {key: value.grad.clone() for key, value in model.named_parameters() if value.grad is not None}
        model.zero_grad()
        shared = DistributedDataParallel(MeanLoss(model))
        shared(tuple(part[rank::2] for part in batch)).backward()
        for key, value in model.named_parameters():
            assert torch.allclose(value.grad, whole[key], rtol=1e-3, atol=1e-5), f"{name}: {key}"
    del shared  # which waits for ever for a group that is gone
    distributed.destroy_process_group()


def test_two_processes_share_every_model(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(share, (str(tmp_path),), nprocs=2, start_method=FORKED)
