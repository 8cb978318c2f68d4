"""A report is of what can be read, and says what cannot."""

import shutil
import warnings
from pathlib import Path

import pandas as pd
import pytest

from llc_lightning.report.source import Source
from llc_lightning.results.files import publish
from llc_lightning.results.run import Run
from llc_lightning.results.timings import write_timing
from llc_lightning.runtime.errors import StoreError


def damage(path: Path) -> None:
    """Flips a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.fixture
def broken(run: Run, tmp_path: Path) -> Run:
    """A copy of the finished run."""
    return Run.open(shutil.copytree(run.folder, tmp_path / "checkpoints" / "cis" / "version_0"))


def test_a_whole_run_has_no_damage(source: Source) -> None:
    assert source.damaged == []


def test_what_is_damaged_is_told_and_the_rest_reported(broken: Run, source: Source) -> None:
    part, timing = (
        sorted(broken.store.parts().values())[0],
        write_timing(broken.folder, "step=00000000-llc", seconds=1.0),
    )
    names = ("traces/step=00000000-llc.zarr.zip", "snapshots/step=00000000.safetensors")
    trace, snapshot = (publish(broken.folder, name, lambda path: path.write_bytes(bytes(64))) for name in names)
    for path in (part, trace, snapshot):
        damage(path)
    timing.write_text("{")
    (broken.folder / "config.yaml").write_text("a: [")
    found = Source.of(broken)
    assert 0 < len(found.found.rows) < len(source.found.rows)
    again = "its SHA-256 is not the one in manifest.jsonl; delete it and measure that step again (analyze.py measure)."
    assert f"left out: {part} is damaged: {again}" in found.said()
    assert f"{trace} is damaged: {again}" in found.said()
    for path in (timing, snapshot, broken.folder / "config.yaml"):
        assert any(str(path) in one for one in found.said())
    assert found.said()[: len(found.said()) - len(found.damaged)]


def test_what_else_is_warned_of_while_reading_is_no_damage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Run.measurements

    def warns(self: Run, **how: bool) -> pd.DataFrame:
        warnings.warn("a library changes", FutureWarning, stacklevel=1)
        return read(self, **how)

    monkeypatch.setattr(Run, "measurements", warns)
    with pytest.warns(FutureWarning, match="a library changes"):
        assert Source.of(run).damaged == []


def test_a_run_of_which_nothing_can_be_read_is_an_error(broken: Run) -> None:
    for path in broken.store.parts().values():
        damage(path)
    with pytest.raises(StoreError, match=r"is damaged: its SHA-256 is not the one in manifest\.jsonl; delete it"):
        Source.of(broken)
