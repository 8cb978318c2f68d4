"""``analyze.py patch``: the procedures on a run's examples."""

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest
import torch

from llc_lightning.ablation.engine.influence import donors
from llc_lightning.ablation.procedures.patching import patching
from llc_lightning.ablation.procedures.tracing import tracing
from llc_lightning.cli.analyze import main as analyze
from llc_lightning.cli.offline import restored
from llc_lightning.cli.train import main as train
from llc_lightning.runtime.batches import take

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SMOKE = Path(__file__).parents[2] / "configs" / "smoke" / "cis.yaml"
KL = "kl(output=net.hook_out)"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run."""
    root = tmp_path_factory.mktemp("runs") / "checkpoints"
    short = [
        *("--trainer.max_steps", "4", "--trainer.enable_progress_bar", "false"),
        *("--trainer.default_root_dir", str(root)),
        *("--data.init_args.batches_per_epoch", "5", "--data.init_args.analysis_size", "128"),
        *("--llc.when", "null", "--llc_units.when", "null", "--ablation.methods", "[zero]"),
        *("--ablation.examples", "64"),
    ]
    assert train(["fit", "-c", str(SMOKE), *short]) == 0
    return root / "smoke_cis" / "version_0"


def told(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> str:
    capsys.readouterr()
    assert analyze(["patch", *map(str, argv)]) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err


def test_a_call_gives_the_table_of_the_procedure(capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path) -> None:
    snapshot = restored(run)
    clean = take(snapshot.data, slice(64))
    assert isinstance(clean, tuple)
    other = take(clean, donors(64, seed=snapshot.seed, draw=0))
    assert isinstance(other, tuple)
    partners = (other[0], *clean[1:])
    runs, some = (snapshot.loss, snapshot.params, clean, partners), [run, "--examples", 64, "--metrics", KL]
    units = [f"net.hook_hidden[{unit}]" for unit in range(3)]
    with torch.no_grad():
        expected = patching(*runs, units, metrics=KL, noising=False)
    out = tmp_path / "patches.csv"
    said = told(capsys, *some, "--components", *units, "--restore", "--out", out)
    assert f"wrote {out}" in said
    pd.testing.assert_frame_equal(pd.read_csv(out).fillna({"fitted_to": ""}), expected, check_dtype=False)
    shown = told(capsys, *some, "--components", *units, "--restore")
    assert "Effects of patching, the largest first" in shown
    again = ["--components", *units, "--restore", "--metrics", KL, "--examples", "64", "--out", "patches.csv"]
    assert f"next: llc-lightning analyze patch {shlex.join([str(run), *again])}" in shown
    traced = json.loads(told(capsys, *some, "--components", *units, "--window", 3, "--json"))
    expected = tracing(*runs, units, window=3, metrics=KL)
    assert [row["value"] for row in traced] == pytest.approx(expected["value"].tolist())
    assert {row["method"] for row in traced} == {"tracing(window=3)"}


def test_paths(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    path = [run, "--examples", 32, "--sender", "net.hook_hidden[1]", "--receivers", "net.hook_out[0]", "--json"]
    rows = json.loads(told(capsys, *path))
    assert [(row["component"], row["method"]) for row in rows] == [
        ("net.hook_hidden[1]->net.hook_out[0]", "path_patching")
    ]
    behind = told(capsys, run, "--sender", "net.hook_out[0]", "--receivers", "net.hook_hidden[1]", code=1)
    assert "the receiver 'net.hook_hidden[1]' does not lie behind the sender 'net.hook_out[0]'" in behind


def test_options_that_do_not_go_together(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    assert "give its --sender too" in told(capsys, run, "--receivers", "net.hook_out", code=1)
    assert "give one of them" in told(capsys, run, "--sender", "net.hook_hidden", "--restore", code=1)
    assert "unknown entry of the examples 'x'" in told(capsys, run, "--inputs", "x", code=1)
    assert "window is 2; give an odd number" in told(capsys, run, "--window", 2, code=1)
    assert "examples" in told(capsys, run, "--examples", 0, code=1)
