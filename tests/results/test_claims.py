"""Of two processes that claim a part one gets it; the claim of one that has ended counts for nothing."""

import json
import os
import platform
import subprocess
import sys
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path

from llc_lightning.results.claims import claim, claimed, is_held


def path(run: Path) -> Path:
    return run / ".part.claim"


def write(run: Path, **told: object) -> None:
    path(run).write_text(json.dumps({"host": platform.node(), "pid": os.getpid(), **told}), encoding="utf-8")


def test_one_process_gets_it_until_it_lets_go(tmp_path: Path) -> None:
    first = claim(tmp_path, "part")
    assert first
    assert is_held(tmp_path, "part")
    assert claim(tmp_path, "part") is None
    assert claim(tmp_path, "other") is not None
    first.release()
    first.release()
    assert not is_held(tmp_path, "part")
    with claimed(tmp_path, "part") as again:
        assert again
        with claimed(tmp_path, "part") as nobody:
            assert nobody is None
        assert is_held(tmp_path, "part")
    assert not path(tmp_path).exists()


def test_of_many_at_once_one_gets_it_also_a_dead_ones(tmp_path: Path) -> None:
    with ThreadPool(8) as pool:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        for _ in range(50):
            write(tmp_path, pid=gone.pid)
            got = [one for one in pool.map(lambda _: claim(tmp_path, "part"), range(8)) if one]
            assert len(got) == 1
            got[0].release()
    assert list(tmp_path.iterdir()) == []


def test_on_another_host_one_counts_while_it_is_renewed(tmp_path: Path) -> None:
    write(tmp_path, host="elsewhere", pid=1)
    assert claim(tmp_path, "part") is None
    os.utime(path(tmp_path), times=(time.time() - 601, time.time() - 601))
    assert claim(tmp_path, "part") is not None


def test_one_that_is_being_written_counts(tmp_path: Path) -> None:
    path(tmp_path).write_text("")
    assert claim(tmp_path, "part") is None
    os.utime(path(tmp_path), times=(time.time() - 31, time.time() - 31))
    assert claim(tmp_path, "part") is not None


def test_it_is_renewed_now_and_then(tmp_path: Path) -> None:
    held = claim(tmp_path, "part")
    assert held
    os.utime(path(tmp_path), times=(1.0, 1.0))
    held.renew()
    assert path(tmp_path).stat().st_mtime == 1.0
    held._renewed -= 31  # pyright: ignore[reportPrivateUsage]
    held.renew()
    assert path(tmp_path).stat().st_mtime > 1.0
