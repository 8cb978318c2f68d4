"""Rows that an earlier version wrote: they are read, reported and measured further, and keep their names."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from llc_lightning.cli.analyze import main as analyze
from llc_lightning.cli.offline import measure_run
from llc_lightning.llc.revision import llc_revision
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.results.run import Run

FIRST = Path(__file__).parent / "first_rows" / "old_cis" / "version_0"
DATA = "0123456789abcdef"
FIRST_CHAINS: list[tuple[dict[str, Any], dict[str, Any], int, tuple[str, str, str]]] = [
    ({}, {"n_beta": (1000.0,), "gamma": 100.0}, 0, ("bd84a0b3cb68118a", "495597c84d695c65", "616dd9197ed0c9b2")),
    (
        {"sampler": "sgld", "step_size": 1e-5, "chains": 4, "draws": 40, "burn_in": 30, "batch_size": 128,
         "preconditioner": "hutchinson"},
        {"n_beta": (30.0, 300.0), "gamma": 10.0, "losses": ("circuit:00", "train")}, 1,
        ("105f58020ef7b079", "bf2c2fa0236fd5dd", "eb2d0c54accc0341"),
    ),
    (
        {"estimator": "first_order", "box": 0.5, "curvature_examples": 64, "watched_examples": 16,
         "step_fraction": 0.2, "batch_size": 32},
        {"n_beta": (5.0,), "gamma": 0.0}, 0, ("466eb1cc3fab1133", "ce3582b9ea7aebfa", "8d7cb08213127706"),
    ),
]  # fmt: skip
FIRST_ABLATIONS: list[tuple[dict[str, Any], str]] = [
    ({}, "9d91f156d630cbd0"),
    ({"examples": 128, "tasks": False}, "9d91f156d630cbd0"),
    ({"metrics": ("kl(output=net.hook_out)",)}, "fbc582a0717a8085"),
    ({"resamples": 99}, "db792b57e5f04852"),
    ({"warm_start": True}, "2404258f9e9b0774"),
    ({"seed": 7}, "801447d907dc7c7b"),
    ({"metrics": ("own",), "resamples": 99, "warm_start": True, "seed": 0}, "02db28aa13343869"),
]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the run, under its name."""
    return Path(shutil.copytree(FIRST, tmp_path / "checkpoints" / "old_cis" / "version_0"))


def digests(folder: Path) -> dict[str, str]:
    """Returns the digest of every file that holds measurements or traces."""
    files = sorted([*folder.glob("measurements/*"), *folder.glob("traces/*")])
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(("chains", "plan", "replicate", "names"), FIRST_CHAINS)
def test_names_of_llc_settings_are_those_of_the_first_rows(
    chains: dict[str, Any],
    plan: dict[str, Any],
    replicate: int,
    names: tuple[str, str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llc_lightning.measure.llc.plan.llc_revision", lambda settings: 1)
    made = LLCPlan(components=("all",), settings=ChainSettings(**{"step_fraction": 0.4, **chains}), **plan)
    rungs = (made.n_beta[0], None, (1.0, 2.0))
    found = [made.settings_at(rung, data=DATA, replicate=replicate, loss=made.losses[0]) for rung in rungs]
    assert tuple(found) == names


@pytest.mark.parametrize(("plan", "name"), FIRST_ABLATIONS)
def test_names_of_ablation_settings_are_those_of_the_first_rows(plan: dict[str, Any], name: str) -> None:
    assert AblationPlan(components=("neurons",), methods=("zero",), **plan).settings_with(DATA) == name


def test_rows_of_the_first_schema_are_read_and_reported(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = Run.open(old).measurements()
    assert len(rows) == 260
    assert set(rows["schema_version"]) == {1}
    assert set(rows["revision"]) == {1}
    assert analyze(["report", str(old), "--static"]) == 0
    assert analyze(["summary", str(old)]) == 0
    assert "old_cis/version_0" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_nothing_is_measured_again_but_by_a_newer_revision(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, rows = digests(old), Run.open(old).measurements()
    with monkeypatch.context() as at_first:
        at_first.setattr("llc_lightning.measure.llc.plan.llc_revision", lambda settings: 1)
        assert measure_run(old, only=["llc", "llc_units"]) == []

    newer = llc_revision(ChainSettings())
    assert newer > 1
    written = measure_run(old, steps=[6], only=["llc", "llc_units"])
    assert [path.name for path in written if path.suffix == ".parquet"] == [
        f"step=00000006-llc-revision={newer}.parquet",
        f"step=00000006-llc_units-revision={newer}.parquet",
        f"step=00000006-llc_units-replicate=1-revision={newer}.parquet",
    ]
    assert measure_run(old, steps=[6], only=["llc", "llc_units"]) == []
    assert digests(old).items() >= before.items(), "rows and traces of the old revision stay as they are"
    after = Run.open(old).measurements()
    kept, new = after[after["revision"] == 1], after[after["revision"] == newer]
    assert kept.reset_index(drop=True).equals(rows)
    same = rows[(rows["step"] == 6) & rows["quantity"].str.startswith("llc")]
    again = new[new["quantity"].str.startswith("llc")]
    assert len(again) == len(same) > 0
    assert not set(again["settings"]) & set(rows["settings"]), "the revision is part of the settings' name"
