"""A continued training has the bits of an uninterrupted one; a damaged checkpoint is told."""

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from llc_lightning.callbacks.folder import LAST
from llc_lightning.callbacks.last import LastCheckpoint
from llc_lightning.callbacks.resume import ExactResume, read_checkpoint
from llc_lightning.results.run import Run
from llc_lightning.runtime.errors import SnapshotError
from tests.callbacks.plain import fit, trainer
from tests.processes import run

Outcome = tuple[Path, dict[str, list[str]]]
WITH_CHECKPOINTS: dict[str, Any] = {"enable_checkpointing": True, "max_steps": 2}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("resume")
    script = Path(__file__).with_name("resume_script.py")
    done = run(str(script), str(folder), folder=folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_writing_checkpoints_and_measuring_changes_nothing(outcome: Outcome) -> None:
    assert outcome[1]["whole"] == outcome[1]["without"]
    assert len(outcome[1]["whole"]) == 36


# An epoch has 6 steps, so that two of these are at its end and two in its middle.
@pytest.mark.parametrize(("step", "batches"), [(0, 36), (4, 28), (6, 24), (11, 14), (12, 12)])
def test_continuing_has_the_bits_of_the_uninterrupted_training(outcome: Outcome, step: int, batches: int) -> None:
    assert outcome[1][str(step)] == outcome[1]["whole"][-batches:]


@pytest.mark.parametrize("step", [0, 4, 6, 11, 12])
def test_continuing_gives_the_table_of_the_uninterrupted_run(outcome: Outcome, step: int) -> None:
    whole = Run.open(outcome[0] / "whole" / "run" / "llc_lightning")
    continued = Run.open(outcome[0] / f"from {step}" / "run" / "llc_lightning")
    assert len(whole.measurements()) > 15
    assert whole.measurements().equals(continued.measurements())
    assert {part: path.read_bytes() for part, path in whole.store.parts().items()} == {
        part: path.read_bytes() for part, path in continued.store.parts().items()
    }


def checkpoint(folder: Path) -> Path:
    """Returns a small checkpoint of a real training."""
    fit(trainer(folder, [ExactResume(), LastCheckpoint()], **WITH_CHECKPOINTS))
    return folder / "llc_lightning" / LAST


def test_another_number_of_processes_is_told(tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    content = torch.load(path, weights_only=True)
    content["llc_lightning_random_states"] *= 2
    torch.save(content, path)
    with pytest.warns(UserWarning, match="written by 2 processes and is continued by 1"):
        fit(trainer(tmp_path, [ExactResume()], max_steps=3), ckpt_path=path)


def test_a_checkpoint_without_random_states_is_continued(tmp_path: Path) -> None:
    fit(trainer(tmp_path, [LastCheckpoint()], **WITH_CHECKPOINTS))
    end = trainer(tmp_path, [ExactResume()], max_steps=3)
    fit(end, ckpt_path=tmp_path / "llc_lightning" / LAST)
    assert end.global_step == 3


def test_a_sound_checkpoint_is_read(tmp_path: Path) -> None:
    content = read_checkpoint(checkpoint(tmp_path))
    assert content["global_step"] == 2
    assert content["hyper_parameters"] == {"rate": 0.3}


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('executed')",))


def _flip_payload(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        member = max(archive.infolist(), key=lambda info: info.file_size)
    data = bytearray(path.read_bytes())
    data[member.header_offset + len(member.FileHeader()) + member.file_size // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "there is no checkpoint"),
        (lambda path: path.write_bytes(b""), "is no checkpoint or is damaged"),
        (lambda path: path.write_text("weights"), "is no checkpoint or is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "is no checkpoint or is damaged"),
        (_flip_payload, "is damaged"),
        (lambda path: torch.save({"state_dict": {}, "x": Evil()}, path), "cannot load"),
        (lambda path: path.write_bytes(pickle.dumps(Evil())), "is no checkpoint or is damaged"),
        (lambda path: torch.save({"weights": 1}, path), "it has no 'state_dict'"),
    ],
)
def test_a_bad_checkpoint_is_told_with_its_path(tmp_path: Path, damage: Any, message: str) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"w": torch.randn(1000)}}, path)
    damage(path)
    with pytest.raises(SnapshotError) as raised:
        read_checkpoint(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="there is no checkpoint"):
        read_checkpoint(tmp_path)


def test_what_is_saved_loads_without_executing_anything(tmp_path: Path) -> None:
    assert isinstance(ExactResume(), L.Callback)
    states = read_checkpoint(checkpoint(tmp_path))["llc_lightning_random_states"]
    assert set(states[0]) == {"python", "numpy", "torch", "cuda"}
