"""Of two processes that claim a part one gets it; the claim of one that has ended counts for nothing."""

import json
import os
import subprocess
import sys
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

from llc_lightning.results import claims, files
from llc_lightning.results.claims import claim, is_held, take

WAITS = (
    "import sys, llc_lightning.results.claims as c; c.claim(c.Path(sys.argv[1]), 'part'); print(1, flush=True); input()"
)


def path(run: Path) -> Path:
    return run / ".part.claim"


def write(run: Path, **told: object) -> None:
    """Writes what a claim of this process would be but for what is told."""
    held = claim(run, "own")
    assert held
    text = (run / ".own.claim").read_text(encoding="utf-8")
    held.release()
    path(run).write_text(json.dumps(json.loads(text) | told), encoding="utf-8")


def no_lock(*given: object) -> None:
    """Stands for what a file system does that has no locks."""
    raise OSError("no locks available")


def age(run: Path, seconds: float) -> None:
    os.utime(path(run), times=(time.time() - seconds, time.time() - seconds))


def test_one_process_gets_it_until_it_lets_go(tmp_path: Path) -> None:
    first = claim(tmp_path, "part")
    assert first
    assert is_held(tmp_path, "part")
    assert claim(tmp_path, "part") is None
    assert claim(tmp_path, "other") is not None
    first.release()
    first.release()
    assert not is_held(tmp_path, "part")
    again = claim(tmp_path, "part")
    assert again
    assert is_held(tmp_path, "part")
    again.release()
    assert not path(tmp_path).exists()


def test_that_of_a_living_process_is_not_taken_and_that_of_a_killed_one_is(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WAITS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        age(tmp_path, 1e6)
        assert claim(tmp_path, "part") is None
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # nobody has asked for its end yet
        assert claim(tmp_path, "part") is not None


@pytest.mark.parametrize("locks", [True, False])
def test_of_many_at_once_one_gets_it_also_a_dead_ones(
    tmp_path: Path, locks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not locks:  # as on a file system that has none; then one after the other
        monkeypatch.setattr("fcntl.flock", no_lock)
    with ThreadPool(8 if locks else 1) as pool:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        for _ in range(50):
            write(tmp_path, pid=gone.pid)
            got = [one for one in pool.map(lambda _: claim(tmp_path, "part"), range(8)) if one]
            assert len(got) == 1
            got[0].release()
    assert list(tmp_path.iterdir()) == []


def test_on_another_host_one_counts_while_it_is_renewed(tmp_path: Path) -> None:
    write(tmp_path, where="elsewhere", pid=1)
    assert claim(tmp_path, "part") is None
    age(tmp_path, 601)
    assert claim(tmp_path, "part") is not None


def test_another_process_of_the_same_number_does_not_count(tmp_path: Path) -> None:
    write(tmp_path)
    assert is_held(tmp_path, "part")
    write(tmp_path, began="1")
    assert not is_held(tmp_path, "part")


def test_one_that_is_being_written_counts(tmp_path: Path) -> None:
    path(tmp_path).write_text("")
    assert claim(tmp_path, "part") is None
    age(tmp_path, 31)
    assert claim(tmp_path, "part") is not None


def test_one_that_cannot_be_read_counts_while_it_is_renewed(tmp_path: Path) -> None:
    path(tmp_path).mkdir()
    assert is_held(tmp_path, "part")
    age(tmp_path, 601)
    assert not is_held(tmp_path, "part")


def test_it_is_renewed_by_itself_until_it_is_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_FRESH", 0.01)
    held = claim(tmp_path, "part")
    assert held
    for _ in range(2):
        age(tmp_path, 1e6)
        end = time.monotonic() + 10
        while path(tmp_path).stat().st_mtime < time.time() - 1e5:
            assert time.monotonic() < end
            time.sleep(0.01)
    held.release()
    assert not path(tmp_path).exists()


def test_what_is_ones_own_is_taken_from_whoever_held_it_who_leaves_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_FRESH", 0.01)
    first = claim(tmp_path, "part")
    assert first
    monkeypatch.setattr(claims, "_FRESH", 1000.0)
    second = take(tmp_path, "part")
    text = path(tmp_path).read_text()
    age(tmp_path, 1e6)
    time.sleep(0.1)
    assert path(tmp_path).stat().st_mtime < time.time() - 1e5
    first.release()
    assert path(tmp_path).read_text() == text
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_files_are_listed_where_nothing_can_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", no_lock)
    files.publish(tmp_path, "a.txt", lambda path: path.write_text("a"))
    assert list(files.listed(tmp_path)) == ["a.txt"]


@pytest.mark.parametrize("act", ["hardlink_to", "replace"])
def test_a_claim_is_whole_or_not_there_whenever_its_process_is_killed(tmp_path: Path, act: str) -> None:
    kills = f"import os, sys, llc_lightning.results.claims as c; c.Path.{act} = lambda *_: os.kill(os.getpid(), 9); "
    does = f"c.{'claim' if act == 'hardlink_to' else 'take'}(c.Path(sys.argv[1]), 'part')"
    subprocess.run([sys.executable, "-c", kills + does, str(tmp_path)])
    (left,) = tmp_path.iterdir()
    assert not is_held(tmp_path, "part")
    held = claim(tmp_path, "part")
    assert held
    held.release()
    take(tmp_path, "part").release()
    assert list(tmp_path.iterdir()) == [left], "it may be another's who is about to make a claim"
    os.utime(left, times=(time.time() - 601, time.time() - 601))
    take(tmp_path, "part").release()
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_was_made_though_the_file_system_says_it_was_there_is_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = Path.hardlink_to

    def repeated(path: Path, new: Path) -> None:
        link(path, new)
        raise FileExistsError

    monkeypatch.setattr(Path, "hardlink_to", repeated)
    held = claim(tmp_path, "part")
    assert held
    held.release()
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_links_holds_claims_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", unable)
    assert claim(tmp_path, "part")
    assert is_held(tmp_path, "part")
    assert claim(tmp_path, "part") is None
    assert len(list(tmp_path.iterdir())) == 1
