"""``analyze.py measure``: the snapshots of a run, measured as its configuration says."""

import hashlib
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from llc_lightning.cli import offline
from llc_lightning.cli.analyze import main as analyze
from llc_lightning.cli.train import main as train
from llc_lightning.results.claims import TRAINING, Claim, take
from llc_lightning.results.left_out import read_left_out, write_left_out
from llc_lightning.results.run import Run
from llc_lightning.results.training import has_ended, mark_ended
from tests.processes import run as run_script

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SMOKE = Path(__file__).parents[2] / "configs" / "smoke" / "cis.yaml"
SHORT = [
    *("--trainer.max_steps", "12", "--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "5"),
    *("--data.init_args.batches_per_epoch", "5", "--data.init_args.analysis_size", "1024"),
    *(
        "--llc.draws",
        "4",
        "--llc.burn_in",
        "2",
        "--llc.step_size",
        "1e-5",
        "--llc.preconditioner",
        "none",
        "--llc.seed",
        "5",
    ),
    *("--llc_units.when", "null", "--ablation.methods", "[zero]", "--ablation.examples", "512"),
    *("--snapshots.when.init_args.first", "3", "--llc.when.init_args.first", "3"),
    *("--ablation.when.init_args.first", "3"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run, measured while it trained."""
    root = tmp_path_factory.mktemp("runs") / "checkpoints"
    assert train(["fit", "-c", str(SMOKE), *SHORT, "--trainer.default_root_dir", str(root)]) == 0
    return root / "smoke_cis" / "version_0"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it under the same name."""
    return Path(shutil.copytree(trained, tmp_path / "checkpoints" / "smoke_cis" / "version_0"))


def digests(folder: Path) -> dict[str, str]:
    parts = sorted((folder / "measurements").glob("*.parquet"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in parts}


def told(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> str:
    assert analyze(["measure", *map(str, argv)]) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err


def test_measuring_again_gives_the_same_bytes(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    before = digests(run)
    assert len(before) == 2 * len(Run.open(run).snapshots)
    assert told(capsys, run).startswith("nothing to do: all of it was there already\n")
    assert told(capsys, run, "--again").startswith(f"wrote {run}/measurements/")
    assert digests(run) == before


def test_what_is_missing_is_measured(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    before = digests(run)
    (part,) = (run / "measurements").glob("step=00000012-ablation*.parquet")
    part.unlink()
    said = told(capsys, run, "--only", "ablation")
    assert said.splitlines()[0] == f"wrote {part}"
    assert digests(run) == before


def test_more_can_be_measured_elsewhere(capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "more.yaml"
    overlay.write_text("llc:\n  n_beta: [10.0, 20.0]\n")
    out = tmp_path / "checkpoints" / "more" / "version_0"
    told(capsys, run, "--only", "llc", "--steps", "12", "--config", overlay, "--out", out)
    rows = Run.open(out).measurements()
    llc = rows.loc[rows["quantity"] == "llc"]
    assert sorted(llc["n_beta"]) == [10, 20]
    assert set(llc["step"]) == {12}


def test_other_settings_are_not_mixed_in_by_accident(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    overlay = tmp_path / "more.yaml"
    overlay.write_text("llc:\n  n_beta: 10.0\n")
    before = digests(run)
    assert "was measured with other settings" in told(capsys, run, "--only", "llc", "--config", overlay, code=1)
    assert digests(run) == before


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--only", "lcl"], "error: unknown key 'lcl'; did you mean 'llc'?"),
        (["--only", "llc_units"], "error: llc_units is switched off in "),
        (["--steps", "7"], "has no snapshot of step 7; it has those of 0, "),
    ],
)
def test_what_cannot_be_measured_is_said(
    capsys: pytest.CaptureFixture[str], run: Path, argv: list[str], said: str
) -> None:
    assert said in told(capsys, run, *argv, code=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("llc:\n  n_bta: 3\n", "unknown key 'llc.n_bta'; did you mean 'llc.n_beta'"),
        (
            "ablated_llc:\n  complment: true\n",
            "unknown key 'ablated_llc.complment'; did you mean 'ablated_llc.complement'",
        ),
        ("posterior:\n  wen: null\n", "unknown key 'posterior.wen'; did you mean 'posterior.when'"),
        ("llc:\n  gamma: much\n", "llc.gamma"),
        ("- 1\n", "holds no keys"),
        ("llc: 3\n", "gives llc: 3; give keys below it, such as 'llc: {n_beta: 3000}'."),
        ("a: [\n", "is not YAML"),
    ],
)
def test_a_wrong_file_is_a_wrong_command(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path, text: str, said: str
) -> None:
    overlay = tmp_path / "wrong.yaml"
    overlay.write_text(text)
    with pytest.raises(SystemExit) as stop:
        analyze(["measure", str(run), "--config", str(overlay)])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_damaged_snapshot_is_named(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    path = Run.open(run).snapshots[12]
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    assert path.name in told(capsys, run, "--again", code=1)


def test_a_snapshot_that_is_gone_is_told(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    Run.open(run).snapshots[12].unlink()
    with pytest.warns(UserWarning, match="is measured without some steps: the manifest lists .* gone, of 12; restore"):
        told(capsys, run)
    assert "no snapshot of step 12: the manifest lists snapshots that are gone" in told(
        capsys, run, "--steps", "12", code=1
    )


def test_a_run_without_configuration_says_what_to_do(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    (run / "config.yaml").unlink()
    assert "or use measure_snapshots in Python" in told(capsys, run, code=1)


def noted(run: Path, part: Path) -> str:
    """Takes a part away as if a budget had left it out, and returns its name."""
    part.unlink()
    name = part.name.removesuffix(".parquet")
    write_left_out(run, name, name="ablation", step=12, left=1, asked=1)
    return name


def test_following_waits_for_a_training_to_begin_and_ends_with_it(
    capsys: pytest.CaptureFixture[str], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(run)
    (run / ".ended").unlink()
    (first,) = (run / "measurements").glob("step=00000012-ablation*.parquet")
    (second,) = (run / "measurements").glob("step=00000006-ablation*.parquet")
    second.unlink()
    seen: list[bool] = []
    claims: list[Claim] = []
    nicer: list[int] = []

    def looked(_: float) -> None:
        """Stands for what happens while nothing is to be done."""
        seen.append(first.exists())
        if len(seen) == 2:
            claims.append(take(run, TRAINING))
            noted(run, first)
        if len(seen) == 5:
            assert not second.exists(), "it is not noted, and comes last"
            mark_ended(run, ended=True)

    monkeypatch.setattr(offline, "time", SimpleNamespace(sleep=looked))
    monkeypatch.setattr(os, "nice", nicer.append)
    assert analyze(["measure", str(run), "--follow", "--only", "ablation"]) == 0
    err = capsys.readouterr().err
    assert nicer == [10], "the training goes first"
    assert seen == [True, True, True, True, True]
    assert [line for line in err.splitlines() if line] == [
        f"waiting for the training of {run} to begin or go on; Ctrl-C ends it"
    ]
    assert digests(run) == before
    assert read_left_out(run) == []
    claims[0].release()


def test_following_leaves_what_it_is_not_asked_for_and_does_not_spin(
    capsys: pytest.CaptureFixture[str], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / ".ended").unlink()
    (part,) = (run / "measurements").glob("step=00000012-ablation*.parquet")
    name, calls = noted(run, part), [0, 0]
    measure = offline.measure_snapshots

    def counting(*given: Any, **more: Any) -> list[Path]:
        calls[0] += 1
        return measure(*given, **more)

    def looked(_: float) -> None:
        calls[1] += 1
        if calls[1] == 3:
            mark_ended(run, ended=True)

    monkeypatch.setattr(offline, "time", SimpleNamespace(sleep=looked))
    monkeypatch.setattr(os, "nice", lambda more: more)
    monkeypatch.setattr(offline, "measure_snapshots", counting)
    told(capsys, run, "--follow", "--only", "llc")
    assert calls == [2, 3]
    assert [record["part"] for record in read_left_out(run)] == [name]


def test_a_training_that_is_stopped_is_waited_for_and_one_that_has_ended_is_not(run: Path) -> None:
    assert has_ended(run)
    assert list(run.glob(".*.claim")) == []
    mark_ended(run, ended=False)
    assert not has_ended(run)


@pytest.mark.parametrize("more", [["--again"], ["--out", "elsewhere"]])
def test_following_goes_with_neither_again_nor_another_folder(
    capsys: pytest.CaptureFixture[str], run: Path, more: list[str]
) -> None:
    assert f"error: got --follow with {more[0]}; it measures" in told(capsys, run, "--follow", *more, code=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_devices_that_are_not_there_are_an_error_of_one_sentence(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    said = told(capsys, run, "--accelerator", "cuda", code=1)
    assert said.startswith("error: cannot compute on 1 of accelerator 'cuda': ")
    assert len(said.splitlines()) == 1
    with pytest.raises(SystemExit):
        analyze(["measure", str(run), "--accelerator", "foo"])


def test_two_processes_write_the_bytes_of_one(run: Path, tmp_path: Path) -> None:
    before = digests(run)
    for part in (run / "measurements").glob("step=00000012-*"):
        part.unlink()
    command = ("measure", str(run), "--steps", "12", "--devices", "2")
    done = run_script(str(SMOKE.parents[2] / "analyze.py"), *command, folder=tmp_path, processes=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote ") == 1
    assert digests(run) == before
    timings = Run.open(run).timings()
    assert set(timings.loc[timings["step"] == 12, "processes"]) == {2}


def test_examples_to_watch_are_refused_where_nothing_watches(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    said = told(capsys, run, "--on", "others.pt", code=1)
    assert said.startswith(
        "error: --on others.pt is of examples to watch, and nothing that is measured here watches any"
    )
    assert len(said.splitlines()) == 1
