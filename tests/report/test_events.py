"""The training curve from event files."""

from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from llc_lightning.report.events import read_events


def log(folder: Path, values: dict[int, float], *, tag: str = "train/loss", start: float = 1e9) -> None:
    with SummaryWriter(str(folder)) as writer:
        for step, value in values.items():
            writer.add_scalar(tag, value, step, walltime=start + step)
        writer.add_scalar("other/tag", 5.0, 0, walltime=start)


def test_the_curve_is_read(tmp_path: Path) -> None:
    log(tmp_path, {0: 1.0, 10: 0.5})
    found = read_events(tmp_path)
    assert found.loss.to_dict("list") == {"step": [0, 10], "value": [1, 0.5]}
    assert found.metrics["other/tag"].to_dict("list") == {"step": [0], "value": [5]}


def test_a_resumed_run_has_the_value_logged_last(tmp_path: Path) -> None:
    log(tmp_path, {0: 1.0, 10: 0.5, 20: 0.4})
    log(tmp_path, {20: 0.3, 30: 0.2}, start=2e9)
    found = read_events(tmp_path).loss
    assert found["step"].tolist() == [0, 10, 20, 30]
    assert found["value"].tolist() == pytest.approx([1, 0.5, 0.3, 0.2])


def test_losses_of_other_names_are_found_and_others_ignored(tmp_path: Path) -> None:
    log(tmp_path, {0: 2.0}, tag="train_loss")
    assert read_events(tmp_path).loss["value"].tolist() == [2]


def test_values_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    log(tmp_path, {0: 1.0, 1: float("nan"), 2: 3.0})
    assert read_events(tmp_path).loss["step"].tolist() == [0, 2]


def test_without_events_the_curve_is_empty(tmp_path: Path) -> None:
    found = read_events(tmp_path)
    assert len(found.loss) == 0
    assert list(found.loss.columns) == ["step", "value"]
    assert found.seconds == 0


def test_files_cut_off_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    log(tmp_path, {0: 1.0, 10: 0.5})
    (path,) = tmp_path.glob("events.*")
    path.write_bytes(path.read_bytes()[:-7])
    assert read_events(tmp_path).loss["step"].tolist() == [0, 10]


def test_damaged_files_are_read_up_to_the_damage(tmp_path: Path) -> None:
    log(tmp_path, dict.fromkeys(range(50), 1.0))
    (path,) = tmp_path.glob("events.*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    steps = read_events(tmp_path).loss["step"].tolist()
    assert 10 < len(steps) < 40
    assert steps == list(range(len(steps)))
