"""What was measured is kept in the files that a run has for it."""

from pathlib import Path

import pytest

from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.keep import keep, part_of
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.measure.measurements import Outcome
from llc_lightning.results.run import Run
from llc_lightning.results.traces import read_trace
from llc_lightning.runtime.errors import SettingError
from tests.measure.small import ABLATION, LLC, alone


def test_rows_traces_and_timing(tmp_path: Path) -> None:
    measured = alone(LLC)
    part = part_of(30, "llc", replicate=2)
    assert part == "step=00000030-llc-replicate=2"
    written = keep(tmp_path, part, measured, step=30, processes=3)
    assert written == [tmp_path / "measurements" / f"{part}.parquet", tmp_path / "traces" / f"{part}.zarr.zip"]
    run = Run.open(tmp_path)
    assert len(run.measurements()) == len(measured.rows)
    tree = read_trace(run.traces[part])
    assert tree.attrs == {"run": run.name, "step": 30}
    assert tree["posterior"].sizes == {"estimate": 10, "chain": 2, "draw": 6}
    timing = run.timings().iloc[0]
    assert not timing["beside"]
    assert (timing["part"], timing["step"], timing["processes"]) == (part, 30, 3)
    assert timing["seconds"] == measured.seconds > 0


@pytest.mark.parametrize(("plan", "traces"), [(LLC, False), (ABLATION, True)])
def test_traces_may_be_left_out_or_not_be_there(tmp_path: Path, plan: LLCPlan | AblationPlan, traces: bool) -> None:
    assert len(keep(tmp_path, "part", alone(plan), step=30, traces=traces)) == 1
    assert Run.open(tmp_path).traces == {}


def test_keeping_again_changes_nothing(tmp_path: Path) -> None:
    first = {path: path.read_bytes() for path in keep(tmp_path, "part", alone(LLC), step=30)}
    again = {path: path.read_bytes() for path in keep(tmp_path, "part", alone(LLC), step=30)}
    assert first == again


def test_the_same_twice_is_refused(tmp_path: Path) -> None:
    rows = alone(ABLATION).rows
    with pytest.raises(SettingError, match="two rows have the same key"):
        keep(tmp_path, "part", Outcome([*rows, rows[0]]), step=30)


def test_rows_come_last_so_that_what_broke_off_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr("llc_lightning.measure.keep.write_trace", full)
    with pytest.raises(OSError, match="disk full"):
        keep(tmp_path, "part", alone(LLC), step=30)
    assert not list(tmp_path.rglob("*.parquet"))
