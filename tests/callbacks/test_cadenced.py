"""Callbacks act at the steps that their cadence names, once each."""

import json
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.cadenced import CadencedCallback
from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.runtime.cadence import AtEnd, AtStart, AtSteps, Cadence, Every, LogSpaced, Moment
from llc_lightning.runtime.errors import SettingError
from tests.callbacks.plain import fit, trainer


class Recorder(CadencedCallback):
    """Notes when it acts."""

    def __init__(self, when: Cadence | None, *, name: str = "recorder", at: Any = "batch") -> None:
        super().__init__(when, name=name, at=at)
        self.acted: list[tuple[int, int, str]] = []

    def act(self, trainer: L.Trainer, pl_module: L.LightningModule, moment: Moment) -> None:
        self.acted.append((moment.step, moment.epoch, moment.event))


def steps(when: Cadence, folder: Path, *, at: str = "batch", **settings: Any) -> list[int]:
    """Returns the steps at which a callback acts in a training of 12 batches per epoch."""
    recorder = Recorder(when, at=at)
    fit(trainer(folder, [recorder], **settings))
    return [step for step, _, _ in recorder.acted]


def test_accumulation_counts_steps_and_not_batches(tmp_path: Path) -> None:
    assert steps(Every(steps=2), tmp_path, accumulate_grad_batches=3) == [2, 4, 6, 8]
    assert steps(AtSteps([1, 3, 100]), tmp_path, accumulate_grad_batches=5) == [1, 3]


def test_start_and_end(tmp_path: Path) -> None:
    assert steps(AtStart(), tmp_path) == [0]
    assert steps(AtEnd(), tmp_path) == [24]
    assert steps(Every(steps=12, at_start=True, at_end=True), tmp_path) == [0, 12, 24]


def test_log_spaced_ends_where_the_training_ends(tmp_path: Path) -> None:
    assert steps(LogSpaced(4, first=3), tmp_path) == [3, 6, 12, 24]
    assert steps(LogSpaced(3), tmp_path, max_steps=9) == [1, 3, 9]


def test_epochs(tmp_path: Path) -> None:
    recorder = Recorder(Every(epochs=2))
    fit(trainer(tmp_path, [recorder], max_epochs=5))
    assert recorder.acted == [(24, 1, "epoch_end"), (48, 3, "epoch_end")]


def test_after_validations_alone(tmp_path: Path) -> None:
    assert steps(Every(steps=4), tmp_path / "one", at="validation", val_check_interval=6) == [6, 12, 18, 24]
    assert steps(AtSteps([7]), tmp_path / "other", at="validation", val_check_interval=6) == [12]


def test_the_sanity_check_is_no_validation(tmp_path: Path) -> None:
    assert steps(AtSteps([0, 6]), tmp_path, at="validation", num_sanity_val_steps=2, val_check_interval=6) == [0, 6]


def test_the_epoch_is_the_one_in_progress(tmp_path: Path) -> None:
    recorder = Recorder(AtSteps([5, 12, 13], at_start=True, at_end=True))
    fit(trainer(tmp_path, [recorder]))
    assert [epoch for _, epoch, _ in recorder.acted] == [0, 0, 0, 1, 1]


def test_a_callback_that_is_off_never_acts(tmp_path: Path) -> None:
    recorder = Recorder(None)
    fit(trainer(tmp_path, [recorder], max_steps=2))
    assert not recorder.acted
    assert recorder.fired_at == -1
    recorder.load_state_dict({"seen": 3, "fired": 3})


def test_a_second_training_starts_anew(tmp_path: Path) -> None:
    recorder = Recorder(AtSteps([1, 2]))
    for _ in range(2):
        fit(trainer(tmp_path, [recorder], max_steps=2))
    assert [step for step, _, _ in recorder.acted] == [1, 2, 1, 2]


def test_what_fails_stays_due(tmp_path: Path) -> None:
    class Failing(Recorder):
        def act(self, *args: Any) -> None:
            raise RuntimeError("no")

    failing = Failing(AtSteps([3]))
    with pytest.raises(RuntimeError, match=r"^no$"):
        fit(trainer(tmp_path, [failing]))
    assert failing.fired_at == -1
    assert failing.state_dict() == {"seen": 2, "fired": -1}


@pytest.mark.parametrize(
    "callback",
    [
        Recorder(Every(steps=1)),
        SnapshotCallback(Every(steps=1)),
        LLCCallback(Every(steps=1), n_beta=1.0, gamma=1.0),
        AblationCallback(Every(steps=1), methods="zero", components="neurons"),
    ],
)
def test_states_are_whole_numbers(callback: CadencedCallback) -> None:
    state = callback.state_dict()
    assert all(type(value) is int for value in state.values())
    assert json.loads(json.dumps(state)) == state


def test_instances_have_states_of_their_own() -> None:
    keys = {LLCCallback(AtEnd(), n_beta=1.0, gamma=1.0, name=name).state_key for name in ("llc", "llc_units")}
    assert keys == {"LLCCallback[llc]", "LLCCallback[llc_units]"}


def test_a_name_must_be_able_to_name_a_file() -> None:
    with pytest.raises(SettingError, match="the name of a callback 'a/b' cannot name a file; use 1 to 200 letters"):
        Recorder(AtEnd(), name="a/b")
