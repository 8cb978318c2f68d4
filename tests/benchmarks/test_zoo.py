"""The zoo's table: what is in it, what it reads from a run, and what it says."""

from math import isnan, nan
from pathlib import Path

import pytest

from benchmarks.zoo import CIS, LOSS_RATIO, ROOT, ZOO, Metric, Row, Trained, command, logged, main, stored, table_line
from llc_lightning.analysis.cis import superposition_verdict
from llc_lightning.results.run import Run
from tests.analysis.synthetic import SyntheticRun

ONE = Metric("one", lambda run: 1.0)
NOTHING = Trained(Run(Path("nowhere")), 10.0)


def test_every_row_has_a_configuration_and_a_bound() -> None:
    assert all((ROOT / "configs" / f"{row.config}.yaml").is_file() for row in ZOO)
    assert all(row.expectation != ">= -inf" and row.low <= row.high for row in ZOO)


def test_rows_of_one_training_are_one_command() -> None:
    for row in ZOO:
        same = [other for other in ZOO if other.training == row.training]
        assert all(command(other, 0, ROOT) == command(row, 0, ROOT) for other in same)
    made = command(ZOO[0], 7, Path("runs"))
    assert made[made.index("--seed_everything") + 1] == "7"
    assert made[made.index("--experiment") + 1] == f"zoo_{ZOO[0].training}"


@pytest.mark.parametrize(
    ("bounds", "said", "kept"),
    [
        ({"high": 0.16}, "<= 0.16", [0.1, 0.16]),
        ({"low": 32}, ">= 32", [32, 33]),
        ({"low": 0.96, "high": 1.04}, "0.96 .. 1.04", [1.0]),
        ({"low": 0, "high": 0}, "0", [0.0]),
    ],
)
def test_expectations(bounds: dict[str, float], said: str, kept: list[float]) -> None:
    row = Row("a", "cis", ONE, **bounds)
    assert row.expectation == said
    assert all(row.kept(value) for value in kept)
    assert not row.kept(nan)
    assert not row.kept(-0.01 if row.low >= 0 else 0.17)


def test_a_line_holds_every_seed_and_a_single_miss_or_failure_shows() -> None:
    row = Row("a", "cis", ONE, high=1.0)
    assert table_line(row, [NOTHING, NOTHING]) == ("| a | one | <= 1 | 1 | 1 | 10 | kept |", True)
    assert table_line(row, [NOTHING, None]) == ("| a | one | <= 1 | 1 | no value | 10 | **missed** |", False)
    assert not table_line(Row("a", "cis", ONE, high=0.9), [NOTHING])[1]


def test_numbers_are_read_from_what_a_run_stored_and_logged(tmp_path: Path) -> None:
    run = Run(SyntheticRun(steps=(300, 3000)).write(tmp_path))
    verdict = superposition_verdict(run.measurements())
    assert verdict is not None
    assert stored("loss").of(run) == verdict.loss.value
    assert stored("circuits_solved").of(run) == 32
    assert stored("circuits_solved", method="dedicated").of(run) == 16
    assert stored("sign_accuracy", loss="circuit:03").of(run) > 0.9
    assert (stored("loss") / stored("baseline_loss", method="dedicated")).of(run) == verdict.loss.value / 0.5
    assert (CIS.of(run), LOSS_RATIO.of(run)) == (1.0, verdict.loss_ratio.value)
    assert logged("train/loss").of(run) < 0.2 < 1 < logged("train/loss", max).of(run)
    assert isnan(logged("val/nothing").of(run))
    assert isnan(stored("llc_shift").of(run))
    names = [stored("loss").name, stored("baseline_loss", method="zero").name, logged("val/loss", min).name]
    assert names == ["loss", "baseline_loss (zero)", "min of val/loss"]


def test_an_unknown_training_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cis_xro"]) == 2
    assert "unknown training 'cis_xro'; did you mean 'cis_xor'" in capsys.readouterr().err
