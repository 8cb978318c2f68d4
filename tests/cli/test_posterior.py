"""``analyze.py posterior``: a table, a picture, and what is told where there is nothing to show."""

import json
from pathlib import Path

import pytest

from llc_lightning.cli.analyze import main
from llc_lightning.measure.keep import keep
from tests.measure.small import POSTERIOR, alone


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints" / "net" / "version_0"
    folder.mkdir(parents=True)
    keep(folder, "step=00000030-posterior", alone(POSTERIOR), step=30)
    return folder


def test_it_tells_and_draws(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["posterior", str(run)]) == 0
    told = capsys.readouterr().out
    assert "net/version_0 at step 30: 16 watched examples, n_beta 10, gamma 5" in told
    assert "hook_two[1]" in told
    assert "rank correlation with zero" in told
    assert "Examples that the posterior moves most" in told
    assert "the kernel is not to be trusted yet: its chains are not-" in told
    assert (run / "posterior.png").stat().st_size > 5000


def test_it_tells_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["posterior", str(run), "--json", "--out", str(run / "other.svg")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tasks"] == ["circuit:0", "circuit:1"]
    assert -1 <= told["adjusted_rand"] <= 1
    assert (run / "other.svg").exists()


def test_another_step_and_another_run_are_told(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["posterior", str(run), "--step", "31"]) != 0
    assert "holds no posterior structure of step 31; use one of: 30." in capsys.readouterr().err
    keep(tmp_path / "checkpoints" / "net" / "version_1", "step=00000030-llc", alone(POSTERIOR), step=30)
    for path in (tmp_path / "checkpoints" / "net" / "version_1" / "posterior").iterdir():
        path.unlink()
    assert main(["posterior", str(tmp_path / "checkpoints" / "net" / "version_1")]) != 0
    assert "holds no posterior structure; train with a PosteriorCallback" in capsys.readouterr().err
