"""The command analyze.py stages."""

import json
from pathlib import Path

import pytest

from llc_lightning.cli.analyze import main
from llc_lightning.results.run import Run
from tests.analysis.synthetic import SyntheticRun


def test_stages_are_told_drawn_and_compared_with_the_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = SyntheticRun(units=2, circuits=2).write(tmp_path / "checkpoints" / "cis" / "version_0")
    assert main(["stages", str(run)]) == 0
    told = capsys.readouterr().out
    assert "cis/version_0 shows 3 stages" in told
    assert "transition half" in told
    assert (run / "stages.png").read_bytes().startswith(b"\x89PNG")
    picture = tmp_path / "new" / "drawn.svg"
    assert main(["stages", str(run), "--json", "--out", str(picture)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["of"] == "LLC samples"
    assert found["written"] == [str(picture)]
    assert "LLC samples" in picture.read_text()
    steps = {int(step) for step in Run.open(run).measurements().query("quantity == 'llc'")["step"]}
    for stage in found["stages"]:
        assert stage["before"] == sum(step <= stage["since"] for step in steps)
        assert stage["after"] == sum(step >= stage["step"] for step in steps)


def test_metrics_of_other_names_are_taken_or_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = SyntheticRun(units=2, circuits=2).write(tmp_path / "checkpoints" / "cis" / "version_0")
    assert main(["stages", str(run), "--loss", "train/loss"]) == 0
    assert "cis/version_0 shows 3 stages" in capsys.readouterr().out
    assert main(["stages", str(run), "--loss", "train/los"]) == 1
    assert "unknown logged metric 'train/los'; did you mean 'train/loss'?" in capsys.readouterr().err


def test_a_run_without_curves_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = SyntheticRun(units=2, circuits=2, steps=(0,)).write(tmp_path / "version_0")
    for path in run.glob("events.*"):
        path.unlink()
    assert main(["stages", str(run)]) == 1
    assert "holds no logged metrics; train with a TensorBoard logger" in capsys.readouterr().err
