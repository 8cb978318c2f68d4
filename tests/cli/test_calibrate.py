"""The command ``analyze.py calibrate``."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from llc_lightning.cli.analyze import main
from llc_lightning.cli.train import main as train
from llc_lightning.results.run import Run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SMOKE = Path(__file__).parents[2] / "configs" / "smoke" / "cis.yaml"
SMALL = ("--chains", "2", "--budget", "2400", "--batch_size", "32", "--n_beta", "100", "--gamma", "100")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("runs") / "checkpoints"
    off = ["--llc.when", "null", "--llc_units.when", "null", "--ablation.when", "null"]
    few = [
        "--trainer.max_steps",
        "300",
        "--trainer.enable_progress_bar",
        "false",
        "--data.init_args.analysis_size",
        "2048",
    ]
    assert train(["fit", "-c", str(SMOKE), *off, *few, "--trainer.default_root_dir", str(root)]) == 0
    return root / "smoke_cis" / "version_0"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "smoke_cis" / "version_0"))


def told(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> str:
    got = main([str(one) for one in argv])
    out, err = capsys.readouterr()
    assert got == code, err
    return err if code else out


def test_it_draws_and_writes_a_block_for_a_configuration(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    out = told(capsys, "calibrate", run, *SMALL)
    assert "R-hat" in out
    assert "\nplateau: |d ln" in out or "\nno plateau" in out
    assert "beside the run's own value" not in out
    assert ("\naccepted\n" in out) == ("next: train" in out) == ("do not use the block" not in out)
    folder = run / "calibration"
    assert (folder / "step=00000300.png").stat().st_size > 20_000
    block = yaml.safe_load((folder / "step=00000300.yaml").read_text())
    assert (block["llc"]["n_beta"], block["llc"]["gamma"], block["llc"]["sampler"]) == (100.0, 100.0, "lm")
    assert (folder / "step=00000300.yaml").read_text() in out


def test_a_run_is_measured_with_the_block_of_a_snapshot_and_gives_its_value(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    (snapshot,) = (run / "snapshots").glob("step=00000055*")
    found = json.loads(told(capsys, "calibrate", snapshot, *SMALL, "--out", tmp_path / "there", "--json"))
    assert found["accepted"] == (found["refusal"] == "")
    assert not (run / "calibration").exists()
    _, block = map(Path, found["written"])
    when = "  when:\n    class_path: llc_lightning.AtEnd\n"
    block.write_text(block.read_text() + when)
    told(capsys, "measure", run, "--config", block, "--steps", 55, 300, "--json")
    rows = Run(run).measurements()
    rows = rows[rows["quantity"] == "llc"].set_index("step")
    assert sorted(rows.index) == [55, 300]
    assert rows["settings"].nunique() == 1
    assert (rows["value"][55], rows["stderr"][55]) == (found["record"]["value"], found["record"]["stderr"])


def test_a_value_at_another_resolution_than_the_runs_own_is_explained(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    block = tmp_path / "block.yaml"
    at = {"n_beta": 30.0, "gamma": 300.0, "chains": 2, "draws": 200, "burn_in": 100, "batch_size": 64}
    block.write_text(yaml.safe_dump({"llc": {**at, "when": {"class_path": "llc_lightning.AtEnd"}}}))
    told(capsys, "measure", run, "--config", block, "--steps", 300, "--json")
    coarser = ("--chains", "2", "--budget", "2400", "--batch_size", "64", "--n_beta", "30", "--gamma", "900")
    found = json.loads(told(capsys, "calibrate", run, *coarser, "--json"))
    assert found["record"]["status"] == "ok"
    _, said = found["said"]
    assert said.startswith("beside the run's own value: ")
    assert "(n_beta 30, gamma 300) and " in said
    assert "which is 10 for the first and 30 for the second, so that more directions count" in said
    assert "directions count, which makes " in said


def test_what_is_wrong_is_one_sentence(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    assert "has no snapshot of step 7; there are: 0, 10, 55, 300." in told(
        capsys, "calibrate", run, "--step", 7, code=1
    )
    assert "unknown sampler 'lmm'" in told(capsys, "calibrate", run, "--sampler", "lmm", code=1)
    assert "chains is 1; give an integer of at least 2" in told(capsys, "calibrate", run, "--chains", 1, code=1)
    assert "the first trial alone takes" in told(capsys, "calibrate", run, "--budget", 10, code=1)
    nothing = run / "snapshots" / "nothing.safetensors"
    assert "is no snapshot; give a file such as" in told(capsys, "calibrate", nothing, code=1)
    assert "cannot be made: " in told(capsys, "calibrate", run, "--out", run / "config.yaml", code=1)
