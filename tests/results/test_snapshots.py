"""Snapshots survive the way to disk and back bit for bit, and damage is found."""

from pathlib import Path

import pytest
import torch

from llc_lightning.results.files import MANIFEST
from llc_lightning.results.snapshots import list_snapshots, load_snapshot, save_snapshot, snapshot_epoch, snapshot_step
from llc_lightning.runtime.errors import SettingError, SnapshotError

REMEDY = "restore it from a copy, or delete it and train again"


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    weights = torch.arange(12.0).reshape(3, 4)
    weights[0, 0] = float("nan")
    return {
        "net.weight": weights,
        "net.transposed": weights.T,
        "net.half": torch.ones(2, dtype=torch.bfloat16),
        "net.count": torch.tensor(7),
        "net.empty": torch.zeros(0, 3),
    }


def test_there_and_back_again(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    path = save_snapshot(tmp_path, 500, tensors)
    assert path == tmp_path / "snapshots" / "step=00000500.safetensors"
    loaded = load_snapshot(path)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name].nan_to_num(-1), tensor.nan_to_num(-1))


def test_parameters_are_detached_and_left_alone(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    loaded = load_snapshot(save_snapshot(tmp_path, 0, {"w": parameter}))["w"]
    assert not loaded.requires_grad
    loaded.zero_()
    assert parameter.tolist() == [1.0, 1.0]


def test_equal_tensors_give_equal_bytes(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    one, other = save_snapshot(tmp_path, 1, tensors), save_snapshot(tmp_path, 2, tensors)
    assert one.read_bytes() == other.read_bytes()


def test_listed_by_step(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    for step in (3000, 0, 123456789):
        save_snapshot(tmp_path, step, tensors)
    (tmp_path / "snapshots" / "other.safetensors").write_bytes(b"")
    (tmp_path / "snapshots" / "step=1.safetensors").write_bytes(b"")
    assert list(list_snapshots(tmp_path)) == [0, 3000, 123456789]
    assert list_snapshots(tmp_path / "nowhere") == {}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [flip, lambda path: path.write_bytes(path.read_bytes()[:-1]), lambda path: path.write_bytes(b"")],
    ids=["payload bit", "truncated", "empty"],
)
def test_damage_is_found(tmp_path: Path, tensors: dict[str, torch.Tensor], damage: object) -> None:
    path = save_snapshot(tmp_path, 1, tensors)
    assert callable(damage)
    damage(path)
    with pytest.raises(SnapshotError) as caught:
        load_snapshot(path)
    assert str(caught.value) == f"{path} is damaged: its SHA-256 is not the one in manifest.jsonl; {REMEDY}."


def test_missing(tmp_path: Path) -> None:
    path = tmp_path / "snapshots" / "step=00000001.safetensors"
    with pytest.raises(SnapshotError) as caught:
        load_snapshot(path)
    assert str(caught.value) == f"there is no file {path}; give the path of one that the run wrote."


def test_unlisted(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    path = save_snapshot(tmp_path, 1, tensors)
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(SnapshotError) as caught:
        load_snapshot(path)
    assert str(caught.value) == (
        f"{path} is not listed in the manifest.jsonl of its run, so it cannot be verified; {REMEDY}."
    )


def test_another_file(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError) as caught:
        snapshot_step(tmp_path / "last.ckpt")
    assert str(caught.value) == (
        f"{tmp_path / 'last.ckpt'} is no snapshot; give a file such as RUN/snapshots/step=00000500.safetensors."
    )


@pytest.mark.parametrize(("step", "names"), [(-1, ["w"]), (3, [])])
def test_nothing_to_save(tmp_path: Path, step: int, names: list[str]) -> None:
    with pytest.raises(SettingError) as caught:
        save_snapshot(tmp_path, step, {name: torch.ones(1) for name in names})
    assert str(caught.value) == (
        f"a snapshot of step {step} with {len(names)} tensors; give a step >= 0 and at least one."
    )


def test_a_snapshot_knows_its_epoch(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    assert snapshot_epoch(save_snapshot(tmp_path, 3, tensors, epoch=12)) == 12
    assert snapshot_epoch(save_snapshot(tmp_path, 4, tensors)) == 0
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name in ("text", "missing"):
        with pytest.raises(SnapshotError, match="is damaged") as raised:
            snapshot_epoch(tmp_path / f"{name}.safetensors")
        assert REMEDY in str(raised.value)
