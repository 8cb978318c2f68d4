"""A copy of a LightningModule knows where the training stands, and nothing else of it."""

from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from llc_lightning.components.loss import ModuleLoss, loss_fn
from llc_lightning.components.still import stand_at
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.runtime.errors import SettingError

X = torch.ones(2)


class Reads(L.LightningModule):
    """Its loss is what a function of it gives."""

    def __init__(self, read: Any, child: "Reads | None" = None) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(1.0))
        self.read = read
        self.child = child

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return self.w * batch * self.read(self)


class Live:
    """A trainer in the middle of its work."""

    current_epoch = 3
    global_step = 40
    max_epochs = 10


def attached(module: Reads) -> Reads:
    for part in module.modules():
        if isinstance(part, L.LightningModule):
            vars(part)["_trainer"] = Live()
    return module


def measured(module: Reads, *, step: int = 70, epoch: int = 5) -> float:
    snapshot = Snapshot.of(module, X, run="r", seed=0, step=step, epoch=epoch)
    return float(snapshot.loss(snapshot.params, snapshot.data)[0])


def value(loss: ModuleLoss) -> float:
    return float(loss({}, X)[0].detach())


READS: dict[str, tuple[Any, float]] = {
    "epoch": (lambda module: module.current_epoch, 5),
    "step": (lambda module: module.global_step, 70),
    "epoch of the trainer": (lambda module: module.trainer.current_epoch, 5),
    "step of the trainer": (lambda module: module.trainer.global_step, 70),
    "rank": (lambda module: 1 + module.global_rank + module.local_rank, 1),
    "no logger": (lambda module: 2.0 if module.logger is None and not module.loggers else 0.0, 2),
    "the first process": (lambda module: 3.0 if module.trainer.is_global_zero else 0.0, 3),
}


@pytest.mark.parametrize("name", READS)
def test_a_measurement_knows_its_own_moment_live_and_offline(name: str) -> None:
    read, value = READS[name]
    assert measured(attached(Reads(read))) == value
    assert measured(Reads(read)) == value, "offline the module has no trainer"


def test_a_module_within_knows_it_too() -> None:
    def read(module: Reads) -> float:
        assert module.child is not None
        return module.child.current_epoch + module.child.trainer.global_step

    assert measured(attached(Reads(read, Reads(None)))) == 75


def caught(module: Any) -> float:
    """A loss that goes on with something else."""
    try:
        return module.trainer.max_epochs
    except Exception:  # as a user writes it
        return 1.0


@pytest.mark.parametrize(
    "read",
    [
        caught,
        lambda module: module.current_epoch / module.trainer.max_epochs,
        lambda module: module.trainer.callback_metrics["val"],
        lambda module: module.optimizers().param_groups[0]["lr"],
        lambda module: getattr(module.trainer, "datamodule", None) is None,
        lambda module: module.all_gather(module.w),
    ],
)
def test_the_rest_is_refused_in_one_sentence(read: Any) -> None:
    for module in (Reads(read), attached(Reads(read))):
        with pytest.raises(
            SettingError, match=r"the loss reads trainer\.\w+, which a measurement does not know: .*keep"
        ):
            measured(module)


def test_outside_of_a_run_a_copy_stands_where_the_module_does(monkeypatch: pytest.MonkeyPatch) -> None:
    module = attached(Reads(lambda module: module.current_epoch + module.global_step / 100))
    loss = loss_fn(module)
    monkeypatch.setattr(Live, "current_epoch", 9)
    assert value(loss) == pytest.approx(3.4)
    assert value(loss_fn(loss.module)) == pytest.approx(3.4), "a copy of the copy too"
    assert value(loss_fn(module)) == pytest.approx(9.4)
    assert isinstance(vars(module)["_trainer"], Live)
    assert value(loss_fn(Reads(lambda module: module.current_epoch))) == 0.0


def test_plain_modules_get_nothing() -> None:
    module = nn.Linear(1, 1)
    stand_at(module, epoch=1, step=2)
    assert "_trainer" not in vars(module)
