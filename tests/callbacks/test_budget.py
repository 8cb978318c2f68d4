"""A budget bounds what measuring takes; what it leaves out is noted, and filled in with the rows that were missing."""

import io
import json
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

from llc_lightning import AblationCallback, BudgetCallback, LLCCallback
from llc_lightning.callbacks import base, budget
from llc_lightning.callbacks.base import MeasurementCallback
from llc_lightning.callbacks.budget import TrainingClock
from llc_lightning.measure.budget import Purse
from llc_lightning.measure.measurements import Outcome
from llc_lightning.measure.offline import measure_snapshots
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.left_out import read_left_out
from llc_lightning.results.run import Run
from llc_lightning.results.schema import KEY
from llc_lightning.runtime.cadence import AtEnd, Cadence, Every
from llc_lightning.runtime.errors import DataError, SettingError
from tests.callbacks.plain import PlainModule, examples, fit, trainer

SHARE = 0.2
STEPS = 24
UNITS = [f"conv[{number}]" for number in range(4)]


class Module(PlainModule):
    """Draws from torch alone: the checks of types that tests run with draw from ``random`` themselves."""

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        return self.per_example_loss((batch[0] + 0.1 * torch.randn_like(batch[0]), batch[1])).mean()


class Watch(L.Callback):
    """A clock that a training moves by a second for each batch, and a row by a tenth."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> float:
        """Lets seconds pass, and returns them."""
        self.now += seconds
        return seconds

    def on_train_batch_end(self, *given: Any, **more: Any) -> None:
        self.now += 1.0


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """The clock; measuring moves it too."""
    made, measure = Watch(), base.measure

    def measured(*given: Any, **more: Any) -> Any:
        outcome = measure(*given, **more)
        made.now += 0.1 * len(outcome.rows)
        return outcome

    monkeypatch.setattr(base, "measure", measured)
    return made


def callbacks(when: Cadence | None = None) -> list[MeasurementCallback]:
    """An LLC ladder, and ablations by two methods."""
    when = when or Every(steps=12)
    chains: dict[str, Any] = {"chains": 2, "draws": 6, "burn_in": 2, "batch_size": 8, "step_size": 1e-4}
    llc = LLCCallback(when, n_beta=[10.0, 30.0], gamma=5.0, components=["all", "out"], replicates=2,
                      data=examples(), **chains)  # fmt: skip
    return [llc, AblationCallback(when, methods=["resample", "zero"], components=UNITS, data=examples(32))]


def trained(folder: Path, watch: Watch, share: float | None) -> tuple[PlainModule, Path]:
    more = [] if share is None else [BudgetCallback(share, clock=watch)]
    return fit(trainer(folder, [watch, *more, *callbacks()], max_epochs=2), module=Module()), folder / "llc_lightning"


@pytest.fixture
def unbounded(tmp_path: Path, watch: Watch) -> tuple[PlainModule, pd.DataFrame]:
    """A module that was trained without measuring, and the rows of the same training with all of it."""
    module = fit(trainer(tmp_path / "plain", [], max_epochs=2), module=Module())
    return module, table(trained(tmp_path / "unbounded", watch, None)[1])


def table(run: Path) -> pd.DataFrame:
    rows = Run.open(run).measurements()
    return rows.assign(run="").set_index(list(KEY)).sort_index()


def text(rows: pd.DataFrame) -> str:
    return rows.to_csv(float_format="%.17g")


def test_measuring_keeps_to_it_and_the_rest_is_filled_in(
    tmp_path: Path, watch: Watch, unbounded: tuple[PlainModule, pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    watch.now = 0.0
    module, run = trained(tmp_path / "bounded", watch, SHARE)
    for name, value in unbounded[0].state_dict().items():
        assert torch.equal(value, module.state_dict()[name])
    some, every = table(run), unbounded[1]
    assert 0.5 * SHARE < (watch.now - STEPS) / STEPS <= 1.1 * SHARE
    assert 0 < len(some) < len(every)
    assert text(every.loc[some.index]) == text(some)
    last = some.reset_index()
    zeros = last[(last["step"] == STEPS) & (last["method"] == "zero") & (last["loss"] == "train")]
    assert set(zeros["component"]) == set(UNITS)

    said = capsys.readouterr().out
    assert all(words in said for words in ("budget 0.2: measuring took", "values of llc", "analyze measure"))
    left = {record["part"]: record for record in read_left_out(run)}
    assert any("llc-replicate=1" in part for part in left)
    assert all(0 < record["left"] <= record["asked"] for record in left.values())

    plans = {one.name: one for one in callbacks()}
    for name, one in plans.items():
        data = examples() if name == "llc" else examples(32)
        measure_snapshots(module, data, {name: one.plan}, Run.open(run), seed=3, replicates=one.replicates)
    assert text(table(run)) == text(every)
    assert read_left_out(run) == []


def test_a_budget_of_nothing_keeps_what_is_needed_to_measure_later(
    tmp_path: Path, watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, run = trained(tmp_path, watch, 0.0)
    assert watch.now == STEPS
    assert len(Run.open(run).measurements()) == 0
    assert list(Run.open(run).snapshots) == [12, 24]
    assert {record["step"] for record in read_left_out(run)} == {12, 24}
    assert "left out: all 2 moments of ablation, all 3 moments of llc; " in capsys.readouterr().out


def test_what_is_too_long_for_one_value_is_told_after_the_first_steps(tmp_path: Path, watch: Watch) -> None:
    class Slow(BudgetCallback):
        def prepare(self, callback: Any, take: Any, **more: Any) -> None:
            super().prepare(callback, take, **more)
            self.accounts[callback.name].costs.once = 1000.0

    made: list[L.Callback] = [watch, Slow(SHARE, clock=watch), callbacks(AtEnd())[0]]
    with pytest.warns(UserWarning, match=r"llc: one value takes about 17 min, and 0.2 of this training .* none is"):
        fit(trainer(tmp_path, made, max_epochs=2))
    assert len(Run.open(tmp_path / "llc_lightning").measurements()) == 0


def ablation(when: Cadence, **more: Any) -> AblationCallback:
    """The effects of zero on one unit."""
    return AblationCallback(when, methods=["zero"], components=UNITS[:1], data=examples(32), **more)


def test_the_last_moment_is_known_where_epochs_are_followed(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    purses: list[Purse] = []

    def decide(name: str, accounts: Any, purse: Purse) -> None:
        purses.append(purse)

    monkeypatch.setattr(budget, "decide", decide)
    fit(trainer(tmp_path, [watch, BudgetCallback(SHARE, clock=watch), ablation(Every(epochs=1))]), module=Module())
    assert [purse.last for purse in purses] == [False, True]


def test_a_loss_that_fails_is_skipped_as_without_a_budget(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*given: Any) -> None:
        raise ValueError("no such loss")

    monkeypatch.setattr(budget, "rough", failing)
    one = ablation(Every(steps=12), on_error="skip")
    made = BudgetCallback(SHARE, clock=watch)
    fit(trainer(tmp_path, [watch, made, one]), module=Module())
    assert made.accounts["ablation"].done == 2
    assert len(table(tmp_path / "llc_lightning"))


def test_what_has_failed_is_paid_and_teaches_nothing(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*given: Any, **more: Any) -> None:
        watch.wait(0.5)
        raise DataError("lost")

    monkeypatch.setattr(base, "measure", failing)
    made = BudgetCallback(SHARE, clock=watch)
    with pytest.warns(UserWarning, match="lost"):
        fit(trainer(tmp_path, [watch, made, ablation(AtEnd(), on_error="skip")]), module=Module())
    assert (made.clock.measuring, made.accounts["ablation"].done) == (0.5, 0)
    assert made.accounts["ablation"].costs.points == {}


def test_keeping_what_is_needed_later_is_no_training(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = budget.save_snapshot

    def saving(*given: Any, **more: Any) -> Path:
        watch.wait(0.25)
        return save(*given, **more)

    monkeypatch.setattr(budget, "save_snapshot", saving)
    made = BudgetCallback(0.0, clock=watch)
    fit(trainer(tmp_path, [watch, made, ablation(Every(steps=12))]), module=Module())
    assert (made.clock.measuring, made.clock.training) == (0.5, STEPS)


def test_averaged_weights_that_are_left_out_are_told_and_not_noted(tmp_path: Path, watch: Watch) -> None:
    made: list[L.Callback] = [watch, BudgetCallback(0.0, clock=watch), EMAWeightAveraging(decay=0.8), ablation(AtEnd())]
    with pytest.warns(UserWarning, match=r"ablation: of the averaged weights of step 24 all values are left out"):
        fit(trainer(tmp_path, made), module=Module())
    (record,) = read_left_out(tmp_path / "llc_lightning")
    assert "averaged" not in record["part"]


def test_rows_that_depend_on_those_before_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"ablation has warm_start, .* set warm_start to false, or the budget to 0"):
        fit(trainer(tmp_path, [BudgetCallback(SHARE), ablation(Every(steps=12), warm_start=True)]))


def test_its_state_is_plain_and_goes_on() -> None:
    made, watch = BudgetCallback(SHARE), Watch()
    made.clock = TrainingClock(watch)
    made.clock.begin()
    watch.now = 7.0
    made.clock.measuring = 2.0
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    plain: dict[str, Any] = {"training": 5.0, "measuring": 2.0, "costs": {}, "moments": {}, "left": False}
    assert json.loads(json.dumps(state)) == plain
    again = TrainingClock(watch)
    again.begin(training=state["training"], measuring=state["measuring"])
    watch.now = 10.0
    assert (again.training, again.measuring) == (8.0, 2.0)


def test_a_training_goes_on_with_what_was_decided_and_a_new_one_without(tmp_path: Path, watch: Watch) -> None:
    made, measuring = BudgetCallback(5.0, clock=watch), ablation(Every(steps=3))
    fit(trainer(tmp_path, [watch, made, measuring], max_steps=9), module=Module())
    state = {**made.state_dict(), "left": True}
    assert state["moments"] == {"ablation": [3, 9]}

    def lost() -> Snapshot:
        raise DataError("lost")

    again, given = BudgetCallback(5.0, clock=watch), trainer(tmp_path / "again", [])
    again.setup(given, PlainModule(), "fit")
    again.load_state_dict(state)
    known = {name: state[name] for name in ("moments", "left", "costs")}
    assert again.state_dict() == {**again.state_dict(), **known}
    again.prepare(measuring, lost)
    assert again.state_dict() == {**again.state_dict(), **known}
    again.setup(given, PlainModule(), "fit")
    assert (again.accounts, again.state_dict()["left"]) == ({}, False)


@pytest.mark.parametrize("share", [-0.1, float("nan"), float("inf")])
def test_a_share_is_a_number(share: float) -> None:
    with pytest.raises(SettingError, match=r"budget is .*; give a share of the training's time, such as 0\.1"):
        BudgetCallback(share)


def test_the_length_of_a_training_is_told_by_its_steps() -> None:
    watch = Watch()
    clock = TrainingClock(watch)
    clock.begin()
    assert clock.until(0, 100) == 0.0
    for step in range(1, 31):
        watch.now += 5.0 if step == 1 else 1.0
        clock.step(step)
    assert clock.until(30, 100) == pytest.approx(34.0 + 0.8 * 70)
    assert clock.until(30, None) == clock.training == 34.0


def test_measuring_that_takes_longer_than_the_training_between_two_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: Watch
) -> None:
    monkeypatch.setattr(base.time, "process_time", watch)

    def measured(*given: Any, **more: Any) -> Outcome:
        return Outcome([], seconds=watch.wait(9.0))

    monkeypatch.setattr(base, "measure", measured)
    with pytest.warns(UserWarning, match=r"llc takes 9 s at step 8, and the training took 4 s since it measured"):
        fit(trainer(tmp_path, [watch, callbacks(Every(steps=4))[0]], max_steps=12))


def test_of_several_processes_what_is_fixed_is_guessed_to_take_longer(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "rough", lambda *_: (0.4, 0.1, 0.0))
    module, fixed = PlainModule(), list[float]()
    at = Snapshot.of(module, examples(), run="a/version_0", seed=0, step=1, epoch=0)
    for processes in (1, 2, 4):
        made = BudgetCallback(SHARE, clock=watch)
        made.clock = TrainingClock(watch)
        made.prepare(ablation(Every(steps=3)), lambda: at, processes=processes)
        fixed.append(made.accounts["ablation"].costs.once)
    assert fixed == pytest.approx([0.6, 0.9, 0.9])
