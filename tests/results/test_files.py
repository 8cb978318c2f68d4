"""Files of a run appear whole or not at all, and are verified."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llc_lightning.results import files
from llc_lightning.results.files import checked_name, listed, publish, verify
from llc_lightning.runtime.errors import SettingError, SnapshotError, StoreError


def put(run: Path, name: str, content: str) -> Path:
    return publish(run, name, lambda path: path.write_text(content))


def check(run: Path, name: str) -> None:
    verify(run / name, listed(run).get(name, []), remedy="write it again")


def test_a_file_is_there_and_listed(tmp_path: Path) -> None:
    path = put(tmp_path / "run", "part/a.txt", "hello")
    assert path == tmp_path / "run" / "part" / "a.txt"
    assert path.read_text() == "hello"
    (line,) = (tmp_path / "run" / files.MANIFEST).read_text().splitlines()
    assert json.loads(line) == {
        "path": "part/a.txt",
        "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        "bytes": 5,
        "check": "a6a22060",
    }
    check(tmp_path / "run", "part/a.txt")
    assert sorted(p.name for p in (tmp_path / "run" / "part").iterdir()) == ["a.txt"]


def test_the_last_entry_is_that_of_the_newest_file(tmp_path: Path) -> None:
    put(tmp_path, "a", "1")
    put(tmp_path, "b", "2")
    put(tmp_path, "a", "3")
    known = listed(tmp_path)
    assert list(known) == ["b", "a"]
    assert len(known["a"]) == 2
    check(tmp_path, "a")


def test_the_same_content_again_leaves_the_manifest_as_it_is(tmp_path: Path) -> None:
    put(tmp_path, "a", "1")
    before = (tmp_path / files.MANIFEST).read_bytes()
    put(tmp_path, "a", "1")
    assert (tmp_path / files.MANIFEST).read_bytes() == before


def test_a_line_cut_off_by_a_crash_harms_nothing(tmp_path: Path) -> None:
    put(tmp_path, "a", "1")
    with (tmp_path / files.MANIFEST).open("a") as manifest:
        manifest.write('{"path": "b", "sha')
    put(tmp_path, "c", "3")
    assert list(listed(tmp_path)) == ["a", "c"]
    check(tmp_path, "a")
    check(tmp_path, "c")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
    ],
    ids=["flipped bit", "truncated", "empty"],
)
def test_damage_is_found(tmp_path: Path, damage: object) -> None:
    path = put(tmp_path, "a", "hello")
    assert callable(damage)
    damage(path)
    with pytest.raises(StoreError) as caught:
        check(tmp_path, "a")
    assert str(caught.value) == f"{path} is damaged: its SHA-256 is not the one in manifest.jsonl; write it again."


@pytest.mark.parametrize("at", ["2cf24", "part/a"])
def test_damage_of_the_manifest_is_not_taken_for_damage_of_a_file(tmp_path: Path, at: str) -> None:
    path = put(tmp_path, "part/a.txt", "hello")
    put(tmp_path, "part/b.txt", "good")
    manifest = tmp_path / files.MANIFEST
    manifest.write_text(manifest.read_text().replace(at, "3" + at[1:], 1))
    assert files.damaged_lines(tmp_path) == [1]
    with pytest.warns(UserWarning, match=rf"manifest.jsonl is damaged in line 1, and {path} is not listed elsewhere"):
        check(tmp_path, "part/a.txt")
    check(tmp_path, "part/b.txt")
    # What is listed anew is verified again.
    put(tmp_path, "part/a.txt", "hello, world")
    check(tmp_path, "part/a.txt")


def test_missing_and_unlisted_files(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        check(tmp_path, "a")
    assert str(caught.value) == f"there is no file {tmp_path / 'a'}; give the path of one that the run wrote."
    (tmp_path / "a").write_text("foreign")
    with pytest.raises(StoreError) as caught:
        check(tmp_path, "a")
    assert str(caught.value) == (
        f"{tmp_path / 'a'} is not listed in the manifest.jsonl of its run, so it cannot be verified; write it again."
    )


def test_the_error_is_of_the_kind_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError):
        verify(tmp_path / "a", [], remedy="write it again", error=SnapshotError)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "the disk is full; free some space and measure again, what was written before is complete."),
        (errno.EROFS, "Read-only file system; make the folder writable or choose another one."),
        (errno.EACCES, "Permission denied; make the folder writable or choose another one."),
        (errno.EIO, "Input/output error; check the folder, or choose another one."),
    ],
)
def test_a_write_that_fails_says_what_to_do_and_keeps_the_old_file(tmp_path: Path, number: int, remedy: str) -> None:
    old = put(tmp_path, "a", "old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(StoreError) as caught:
        publish(tmp_path, "a", fail)
    assert str(caught.value) == f"cannot write {tmp_path / 'a'}: {remedy}"
    assert old.read_text() == "old"
    check(tmp_path, "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", files.MANIFEST]


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(StoreError) as caught:
        put(tmp_path / "run", "a", "1")
    assert (
        str(caught.value)
        == f"cannot write {tmp_path / 'run' / 'a'}: File exists; check the folder, or choose another one."
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_really_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match=r"Permission denied; make the folder writable or choose another one\.$"):
        put(tmp_path, "a", "1")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("moment", ["_flush", "_list"])
def test_an_interrupt_leaves_the_old_file_and_no_scraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    put(tmp_path, "a", "old")

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, moment, interrupt)
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path, "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    check(tmp_path, "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", files.MANIFEST]


def test_an_interrupt_between_listing_and_moving_leaves_a_valid_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a", "old")

    def interrupt(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            put(tmp_path, "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    check(tmp_path, "a")


WRITE_FOREVER = """
import itertools, sys
from pathlib import Path
from llc_lightning.results.files import publish
for i in itertools.count():
    publish(Path(sys.argv[1]), f"part-{i % 7}", lambda path: path.write_text(str(i) * 20000))
"""


def test_files_survive_a_kill_at_any_moment(tmp_path: Path) -> None:
    for repeat in range(5):
        process = subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, str(tmp_path)])
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("part-6")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.013 * repeat)
        process.kill()
        process.wait()
        written = sorted(path.name for path in tmp_path.glob("part-*"))
        assert len(written) == 7
        for name in written:
            check(tmp_path, name)


def test_reading_the_files_module_needs_no_heavy_import() -> None:
    code = "import sys, llc_lightning.results.files; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "ä", "x" * 201, "a\n"])
def test_hostile_names_are_refused(name: str) -> None:
    with pytest.raises(SettingError) as caught:
        checked_name("part", name)
    assert str(caught.value) == (
        f"the part {name!r} cannot name a file; use 1 to 200 letters, digits and . _ = + -, and begin with a letter or "
        "digit."
    )


def test_good_names_are_handed_back() -> None:
    assert checked_name("part", "step=00000500-llc_1.2+x") == "step=00000500-llc_1.2+x"


def test_damage_of_the_manifest_hides_no_damage_of_a_file(tmp_path: Path) -> None:
    put(tmp_path, "part/a.txt", "hello")
    path = put(tmp_path, "part/b.txt", "good")
    manifest = tmp_path / files.MANIFEST
    manifest.write_text(manifest.read_text().replace("2cf24", "3cf24", 1))
    path.write_text("evil")
    with pytest.raises(StoreError, match="is damaged: its SHA-256 is not the one in manifest"):
        check(tmp_path, "part/b.txt")
