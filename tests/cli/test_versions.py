"""Numbered folders of runs."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llc_lightning.cli.versions import checked_experiment, claim_version, newest_version
from llc_lightning.runtime.errors import SettingError, SnapshotError, StoreError


def test_versions_are_counted_up(tmp_path: Path) -> None:
    assert [claim_version(tmp_path / "cis") for _ in range(3)] == [0, 1, 2]
    (tmp_path / "cis" / "version_7").mkdir()
    (tmp_path / "cis" / "version_x").mkdir()
    (tmp_path / "cis" / "notes").write_text("mine")
    assert claim_version(tmp_path / "cis") == 8


def test_runs_that_start_at_once_get_different_versions(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: claim_version(tmp_path / "cis"), range(40)))
    assert sorted(numbers) == list(range(40))


def test_the_newest_version_with_a_checkpoint_is_continued(tmp_path: Path) -> None:
    for _ in range(12):
        claim_version(tmp_path)
    (tmp_path / "version_2" / "last.ckpt").touch()
    (tmp_path / "version_10" / "last.ckpt").touch()
    with pytest.warns(UserWarning, match=r"^version_11 of .* ended before the first checkpoint, and is passed over\.$"):
        assert newest_version(tmp_path) == 10


@pytest.mark.parametrize("made", [False, True])
def test_nothing_to_continue_is_told(tmp_path: Path, made: bool) -> None:
    if made:
        claim_version(tmp_path / "cis")
    with pytest.raises(SnapshotError) as raised:
        newest_version(tmp_path / "cis")
    assert str(raised.value) == (f"there is no run in {tmp_path / 'cis'} to continue; start one without --ckpt_path.")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "cis").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot make a folder in .*cis: .*; make it writable, or choose another"):
        claim_version(tmp_path / "cis")


@pytest.mark.parametrize("name", ["cis", "smoke_cis", "xor T=32 +2.5", "größe-2"])
def test_names_that_are_folders(name: str) -> None:
    assert checked_experiment(name) == name


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 101, "a\nb", "/tmp"])  # noqa: S108 - a bad name
def test_names_that_are_not(name: str) -> None:
    with pytest.raises(SettingError, match="experiment is "):
        checked_experiment(name)
