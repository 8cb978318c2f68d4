"""The command ``analyze.py calibrate``."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from llc_lightning.cli.analyze import main
from llc_lightning.cli.train import main as train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SMOKE = Path(__file__).parents[2] / "configs" / "smoke" / "cis.yaml"
SMALL = ("--chains", "2", "--budget", "9000", "--batch_size", "32", "--n_beta", "100", "--gamma", "100")


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
    folder = run / "calibration"
    assert (folder / "step=00000300.png").stat().st_size > 20_000
    block = yaml.safe_load((folder / "step=00000300.yaml").read_text())
    assert (block["llc"]["n_beta"], block["llc"]["gamma"], block["llc"]["sampler"]) == (100.0, 100.0, "lm")
    assert (folder / "step=00000300.yaml").read_text() in out


def test_it_answers_in_json_and_takes_a_file_of_a_snapshot(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    (snapshot,) = (run / "snapshots").glob("step=00000055*")
    out = json.loads(told(capsys, "calibrate", snapshot, *SMALL, "--out", tmp_path / "there", "--json"))
    assert out["record"]["n_beta"] == 100.0
    assert out["accepted"] == (out["refusal"] == "")
    assert all(Path(path).is_file() for path in out["written"])
    assert not (run / "calibration").exists()


def test_what_is_wrong_is_one_sentence(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    assert "has no snapshot of step 7; there are: 0, 10, 55, 300." in told(
        capsys, "calibrate", run, "--step", 7, code=1
    )
    assert "unknown sampler 'lmm'" in told(capsys, "calibrate", run, "--sampler", "lmm", code=1)
    assert "chains is 1; give an integer of at least 2" in told(capsys, "calibrate", run, "--chains", 1, code=1)
    assert "the first trial alone takes" in told(capsys, "calibrate", run, "--budget", 10, code=1)
