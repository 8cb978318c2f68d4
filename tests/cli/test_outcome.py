"""What a finished training says of its time."""

import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from llc_lightning import AblationCallback, BudgetCallback, SnapshotCallback
from llc_lightning.cli.console import analyze
from llc_lightning.cli.outcome import Stopwatch, outcome
from llc_lightning.results.timings import write_timing
from llc_lightning.runtime.cadence import AtEnd
from tests.callbacks.plain import PlainModule, examples, fit, trainer


class Watch:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_time_of_all_sessions_counts_up_to_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, given = Watch(), (L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu"), PlainModule())
    monkeypatch.setattr(time, "perf_counter", watch)
    first = Stopwatch()
    first.on_fit_start(*given)
    watch.now += 30
    saved: dict[str, Any] = first.state_dict()
    watch.now += 500  # lost, since no checkpoint tells of it
    again = Stopwatch()
    again.load_state_dict(saved)
    again.on_fit_start(*given)
    watch.now += 12
    assert again.state_dict() == {"seconds": 42}
    again.on_fit_end(*given)
    assert again.seconds == 42


def test_a_checkpoint_without_a_time_counts_from_0() -> None:
    watch = Stopwatch()
    watch.load_state_dict({})
    assert watch.state_dict()["seconds"] < 60


def test_what_is_measured_beside_a_budget_is_no_time_of_the_training(tmp_path: Path) -> None:
    ablation = AblationCallback(AtEnd(), methods=["zero"], components=["conv[0]"], data=examples(32))
    made = trainer(tmp_path, [Stopwatch(), BudgetCallback(0.0), ablation], max_epochs=1)
    fit(made)
    folder = tmp_path / "llc_lightning"
    write_timing(folder, "step=00000012-ablation", seconds=1e4)  # another process has filled it in
    told = outcome(folder, made)
    assert "time: " in told
    assert "measuring" not in told


@pytest.mark.parametrize("share", [0.0, None])
def test_a_training_that_has_measured_nothing_is_measured_next(
    tmp_path: Path, share: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    ablation = AblationCallback(AtEnd(), methods=["zero"], components=["conv[0]"], data=examples(32))
    budget = [] if share is None else [BudgetCallback(share)]
    made = trainer(tmp_path, [SnapshotCallback(AtEnd()), ablation, *budget], max_epochs=1)
    fit(made)
    folder = tmp_path / "llc_lightning"
    then = outcome(folder, made).splitlines()[-1]
    assert then.split() == ["next:", *analyze("report" if share is None else "measure", folder).split()]
    assert ("the only moment of ablation" in capsys.readouterr().out) == (share is not None)
