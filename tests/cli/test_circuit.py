"""``analyze.py circuit``: the most important edges of a run, as a table and as a file."""

import json
import re
import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from llc_lightning.circuits.base import Question, edge_scores
from llc_lightning.circuits.circuit import Circuit
from llc_lightning.circuits.graph import Graph
from llc_lightning.cli import circuit
from llc_lightning.cli.analyze import main as analyze
from llc_lightning.cli.offline import restored
from llc_lightning.cli.train import main as train
from llc_lightning.results.run import CONFIG, Run
from llc_lightning.runtime.batches import take
from llc_lightning.runtime.errors import SettingError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SMOKE = Path(__file__).parents[2] / "configs" / "smoke" / "induction.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run."""
    root = tmp_path_factory.mktemp("runs") / "checkpoints"
    short = [
        *("--trainer.max_steps", "4", "--trainer.enable_progress_bar", "false"),
        *("--trainer.default_root_dir", str(root)),
        *("--data.init_args.batches_per_epoch", "5", "--data.init_args.analysis_size", "64"),
        *("--data.init_args.validation_size", "256"),
        *("--llc.when", "null", "--llc_units.when", "null", "--ablation.methods", "[zero]"),
        *("--ablation.examples", "16"),
    ]
    assert train(["fit", "-c", str(SMOKE), *short]) == 0
    return next((root / "smoke_induction").iterdir())


def told(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> str:
    capsys.readouterr()
    assert analyze(["circuit", *map(str, argv)]) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err


def test_a_circuit_is_shown_and_stored(capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path) -> None:
    snapshot = restored(run)
    data = take(snapshot.data, slice(0, 32))
    asked = Question.of(
        snapshot.loss, snapshot.params, data, Graph.of(snapshot.loss.module), "mean", seed=snapshot.seed
    )
    expected = sorted(edge_scores(asked, "eap"), key=lambda one: -abs(one.value))[:3]
    some = [run, "--method", "eap", "--donor", "mean", "--edges", 3, "--examples", 32]
    path = tmp_path / "circuit.json"
    assert f"wrote {path}" in told(capsys, *some, "--out", path)
    found = Circuit.load(path)
    assert [str(edge) for edge in found.edges] == [one.component for one in expected]
    assert [one.stderr for one in found.scored] == pytest.approx([one.stderr for one in expected])
    assert found.faithfulness["average"] == "ratio_of_means"
    assert json.loads(told(capsys, *some, "--json")) == json.loads(path.read_text())
    shown = told(capsys, *some)
    assert all(one.component in shown for one in expected)
    assert "of what the network does" in shown
    assert f"circuit {run} --method eap --donor mean --edges 3 --examples 32 --out circuit.json" in shown


def test_a_run_of_a_script_is_told_what_makes_its_model(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    bare, script = tmp_path / "bare", tmp_path / "makes_the_model.py"
    shutil.copytree(run, bare)
    (bare / CONFIG).unlink()
    made = f"restored(Path({str(run)!r}))"
    script.write_text(
        "from pathlib import Path\nfrom llc_lightning.cli.offline import restored\n"
        f"def module(): return {made}.loss.module\ndef data(): return {made}.data\n"
    )
    some, own = ["--method", "eap", "--examples", 8], ["--module", f"{script}:module", "--data", f"{script}:data"]
    assert "give --module FILE:FUNCTION and --data FILE:FUNCTION" in told(capsys, bare, *some, code=1)
    there, here = tmp_path / "there.json", tmp_path / "here.json"
    told(capsys, run, *some, "--out", there)
    told(capsys, bare, *some, *own, "--out", here)
    assert Circuit.load(here).scored == Circuit.load(there).scored
    assert f"--examples 8 {' '.join(own)} --out circuit.json" in told(capsys, bare, *some, *own)


def test_what_is_wrong_is_told_in_a_sentence(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    for more, message in (
        (["--method", "eapp"], "unknown way to score edges 'eapp'; did you mean 'eap'"),
        (["--donor", "counterfactual"], "needs a partner of each example"),
        (["--among", "net.hook_embed -> net.x"], "unknown reader 'net.x'"),
        (["--edges", "0"], "edges is 0"),
        (["--out", "circuit.csv"], "give a file that ends in .json"),
        (["--resamples", "4"], "--resamples is told in pictures, and there is no --out"),
        (["--resamples", "4", "--out", "c.json"], "--resamples is told in pictures, and --out is c.json"),
        (["--resamples", "1", "--out", "c.svg"], "resamples is 1; give an integer of at least 2"),
        (["--over-steps"], "--over-steps makes several pictures, and there is no --out"),
        (["--method", "eap", "--metric", "kl"], "has its minimum at the unablated run"),
    ):
        assert message in told(capsys, run, "--examples", 16, *more, code=1)


def test_a_circuit_is_searched_for(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    some = [run, "--method", "acdc(threshold=0.001,order=random,draw=2)", "--examples", 16, "--metric", "kl"]
    found = Circuit.from_json(told(capsys, *some, "--json"))
    assert found.search["order"] == "random 2"
    assert found.loss == "metric:kl"
    assert found.scored
    assert f"The {len(found.scored)} edges that were found" in told(capsys, *some)
    refused = told(capsys, *some, "--edges", 3, code=1)
    assert "takes what it finds; leave --edges and --among out" in refused


def test_pictures_are_written(capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path) -> None:
    some = [run, "--method", "eap", "--edges", 3, "--examples", 16]
    assert f"wrote {tmp_path / 'c.svg'}" in told(capsys, *some, "--resamples", 2, "--out", tmp_path / "c.svg")
    picture = (tmp_path / "c.svg").read_text()
    assert picture.startswith("<svg")
    assert picture.count("<path") == 3
    told(capsys, *some, "--over-steps", "--out", tmp_path / "c.html")
    page = (tmp_path / "c.html").read_text()
    assert page.count("<section") == len(Run.open(run).snapshots)
    assert "a file that ends in .json, .svg or .html" in told(capsys, *some, "--out", "c.png", code=1)
    assert "--over-steps makes several pictures" in told(capsys, *some, "--over-steps", "--out", "c.svg", code=1)


def test_shares_are_of_circuits_found_as_the_one_that_is_shown(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    path, one = tmp_path / "c.svg", "net.hook_embed -> *hook_q[?]"  # which lead nowhere by themselves
    told(
        capsys, run, "--method", "eap", "--among", one, "--edges", 99, "--examples", 8, "--resamples", 2, "--out", path
    )
    shares = re.findall(r"in (\d+)% of circuits", path.read_text())
    assert shares == ["100"] * path.read_text().count("<path")
    assert shares
    some = ("--method", "exact", "--donor", "optimal(steps=2)", "--edges", 2, "--examples", 8)
    told(capsys, run, *some, "--among", "net.hook_embed -> *post", "--resamples", 2, "--out", path)
    assert "in 100% of circuits" in path.read_text()


def test_a_snapshot_without_a_circuit_leaves_the_others(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, plain = [0, *Run.open(run).snapshots], circuit._question
    some, path = [run, "--method", "eap", "--examples", 8, "--over-steps", "--out"], tmp_path / "c.html"

    def fails(options: Namespace, step: int | None) -> tuple[Question, str]:
        if step in failing:
            raise SettingError("there is nothing.")
        return plain(options, step)

    monkeypatch.setattr(circuit, "_question", fails)
    monkeypatch.setattr(circuit, "Run", Namespace(open=lambda _: Namespace(snapshots=steps)))
    failing = steps[:1]
    told(capsys, *some, path)
    page = path.read_text()
    assert page.count("<section") == len(steps)
    assert page.count("No circuit could be measured: there is nothing.") == 1
    failing = steps
    assert "there is nothing." in told(capsys, *some, path, code=1)
