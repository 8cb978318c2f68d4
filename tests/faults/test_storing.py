"""What cannot be written is told in one sentence, and nothing that was written is lost."""

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.results import files
from llc_lightning.results.run import Run
from llc_lightning.runtime.cadence import AtSteps
from llc_lightning.runtime.errors import MeasurementError
from tests.callbacks.plain import examples, fit, trainer


def ablation(on_error: Any = "raise") -> AblationCallback:
    return AblationCallback(AtSteps([1, 2, 3]), methods="zero", components="conv", data=examples(), on_error=on_error)


@pytest.fixture
def full_at_step_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the disk full when the measurements of step 2 are written."""
    publish = files.publish

    def full(run: Path, name: str, write: Any) -> Path:
        def fail(path: Path) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return publish(run, name, fail if name.startswith("measurements/step=00000002") else write)

    monkeypatch.setattr("llc_lightning.results.store.publish", full)


@pytest.mark.usefixtures("full_at_step_2")
def test_a_full_disk_stops_the_training_with_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError) as raised:
        fit(trainer(tmp_path, [ablation()], max_steps=4))
    found = re.fullmatch(
        r"ablation at step 2: cannot write (.*): the disk is full; free some space and measure again, what was written "
        r"before is complete\.",
        str(raised.value),
    )
    assert found
    assert Path(found[1]).parent == tmp_path / "llc_lightning" / "measurements"
    assert Path(found[1]).name.startswith("step=00000002-ablation")
    assert set(Run.open(tmp_path / "llc_lightning").measurements()["step"]) == {1}
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.usefixtures("full_at_step_2")
def test_a_full_disk_is_told_and_passed_over_where_asked_to(tmp_path: Path) -> None:
    end = trainer(tmp_path, [ablation("skip")], max_steps=4)
    with pytest.warns(UserWarning, match="ablation at step 2: cannot write .* the disk is full"):
        fit(end)
    assert end.global_step == 4
    assert set(Run.open(tmp_path / "llc_lightning").measurements()["step"]) == {1, 3}


@pytest.mark.parametrize("callback", [ablation(), SnapshotCallback(AtSteps([1]))], ids=["ablation", "snapshots"])
def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path, callback: Any) -> None:
    (tmp_path / "llc_lightning").write_text("in the way")
    with pytest.raises(MeasurementError, match="llc_lightning"):
        fit(trainer(tmp_path, [callback], max_steps=2))


def test_a_dry_run_leaves_nothing(tmp_path: Path) -> None:
    callbacks = [ablation(), SnapshotCallback(AtSteps([0, 1]))]
    fit(trainer(tmp_path, callbacks, fast_dev_run=3))
    assert not list(tmp_path.iterdir())
