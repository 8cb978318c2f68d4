"""What measuring cost is kept apart from what was measured."""

import platform
from pathlib import Path

import pytest

from llc_lightning.results.timings import read_timings, write_timing
from llc_lightning.runtime.errors import StoreError


def test_one_line_for_each_part(tmp_path: Path) -> None:
    write_timing(tmp_path, "step=00000020-llc", seconds=2.5, host="h", step=20)
    write_timing(tmp_path, "step=00000003-llc", seconds=1.5, step=3)
    write_timing(tmp_path, "step=00000003-llc", seconds=0.5, step=3)
    frame = read_timings(tmp_path)
    assert frame.to_dict("records") == [
        {"part": "step=00000003-llc", "seconds": 0.5, "host": platform.node(), "step": 3},
        {"part": "step=00000020-llc", "seconds": 2.5, "host": "h", "step": 20},
    ]


def test_none_yet(tmp_path: Path) -> None:
    assert list(read_timings(tmp_path).columns) == ["part", "seconds", "host"]


def test_damage(tmp_path: Path) -> None:
    path = write_timing(tmp_path, "p", seconds=1.0)
    path.write_text("{")
    with pytest.raises(StoreError) as caught:
        read_timings(tmp_path)
    assert str(caught.value).startswith(f"{path} is damaged: ")
    assert str(caught.value).endswith("; delete it, nothing but the timing is lost.")
