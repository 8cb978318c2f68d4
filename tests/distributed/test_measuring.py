"""Two gloo processes share the measuring: the same rows, the same training, the same message when one of them fails."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from llc_lightning.results.left_out import read_left_out
from llc_lightning.results.run import Run
from llc_lightning.results.schema import KEY
from tests.processes import run

ROOT = Path(__file__).parents[2]
TRAIN = str(ROOT / "train.py")
VARIANTS = ["without", "shared", "bounded", "not shared", "broken, without", "broken, skipped", "broken, raised"]


def job(folder: Path, processes: int, *variants: str) -> None:
    """Trains variants, one after the other, in one or two processes."""
    script = str(Path(__file__).with_name("measuring_script.py"))
    done = run(script, str(folder), str(processes), *variants, folder=folder, processes=processes)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    job(folder, 2, *VARIANTS)
    return folder


@pytest.fixture(scope="session")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    job(folder, 1, "shared")
    return folder


def parts(folder: Path, variant: str) -> dict[str, bytes]:
    """Returns the bytes of all parts and traces of a run."""
    run = Run.open(folder / variant / "llc_lightning")
    paths = [*run.store.parts().values(), *run.traces.values()]
    return {path.name: path.read_bytes() for path in paths}


def digests(folder: Path, variant: str) -> list[list[str]]:
    """Returns the digests of both processes."""
    return [(folder / variant / f"digests-{rank}").read_text().splitlines() for rank in range(2)]


@pytest.mark.parametrize(
    ("measured", "without"),
    [("shared", "without"), ("bounded", "without"), ("not shared", "without"), ("broken, skipped", "broken, without")],
)
def test_training_is_untouched_on_both(two: Path, measured: str, without: str) -> None:
    assert digests(two, measured) == digests(two, without)
    assert all(len(lines) == 12 for lines in digests(two, measured))


def test_sharing_changes_no_byte_of_the_table(two: Path) -> None:
    shared, alone = parts(two, "shared"), parts(two, "not shared")
    assert len(shared) == 8
    # The name of the run is in every row, and is the only difference.
    rows = [Run.open(two / name / "llc_lightning").measurements() for name in ("shared", "not shared")]
    assert set(rows[0]["run"]) == {"shared/llc_lightning"}
    assert rows[0].drop(columns="run").equals(rows[1].drop(columns="run"))
    assert shared.keys() == alone.keys()


def test_a_budget_leaves_out_the_same_on_both(two: Path) -> None:
    tables = [Run.open(two / name / "llc_lightning").measurements() for name in ("shared", "bounded")]
    every, some = (table.assign(run="").set_index(list(KEY)) for table in tables)
    assert 0 < len(some) < len(every)
    assert every.loc[some.index].equals(some)
    left = read_left_out(two / "bounded" / "llc_lightning")
    assert sorted((record["name"], record["step"]) for record in left) == [
        (name, step) for name in ("ablation", "circuit", "llc") for step in (0, 4)
    ]


def test_one_process_gives_the_same_bytes_where_its_weights_are_the_same(two: Path, one: Path) -> None:
    first = [name for name in parts(one, "shared") if name.startswith("step=00000000")]
    assert len(first) == 4
    assert all(parts(two, "shared")[name] == parts(one, "shared")[name] for name in first)


def test_the_table_is_written_once(two: Path) -> None:
    folder = two / "shared" / "llc_lightning"
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    assert not [name for name in names if "tmp" in name]
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines))
    rows = Run.open(folder).measurements()
    assert set(rows.loc[rows["quantity"] == "llc", "component"]) == {"", "conv", "norm", "out", "conv[1]"}
    assert set(Run.open(folder).timings()["processes"].dropna()) == {2}


def test_both_stop_soon_with_the_same_message_when_one_fails(two: Path) -> None:
    told = [(two / "broken, raised" / f"error-{rank}").read_text() for rank in range(2)]
    times, messages = zip(*(text.split(" ", 1) for text in told), strict=True)
    assert (
        messages == ("llc at step 0: rank 1: FloatingPointError: chain 3 diverged (measuring norm, out, conv[1])",) * 2
    )
    assert abs(float(times[0]) - float(times[1])) < 10


def test_skipping_notes_the_failure_of_the_other_process(two: Path) -> None:
    rows = Run.open(two / "broken, skipped" / "llc_lightning").measurements()
    failed = rows.loc[rows["status"] == "error"]
    assert len(failed)
    assert failed["details"].str.contains("FloatingPointError: chain 3 diverged").all()
    assert len(rows) > len(failed), "the components of the other process keep their rows"


ARGUMENTS = [
    *("fit", "-c", str(ROOT / "configs" / "smoke" / "cis.yaml"), "-c", str(ROOT / "configs/overlays/ddp2_cpu.yaml")),
    *("--trainer.max_steps", "6", "--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "5"),
    *("--data.init_args.batches_per_epoch", "10", "--llc.draws", "4", "--llc.burn_in", "2", "--llc.step_size", "1e-5"),
    *("--llc.preconditioner", "none", "--llc_units.when", "null", "--snapshots.when.init_args.first", "3"),
    *("--llc.when.init_args.first", "3", "--ablation.when.init_args.first", "3", "--ablation.examples", "512"),
    *("--data.init_args.analysis_size", "1024", "--data.init_args.validation_size", "2048"),
]
BROKEN = """
import os, time
from pathlib import Path
from llc_lightning.models.cis import CISModel

class Broken(CISModel):
    def per_example_loss(self, batch):
        if os.environ.get("LOCAL_RANK") == "1":
            Path("raised").write_text(str(time.time()))
            raise FloatingPointError("chain 3 diverged")
        return super().per_example_loss(batch)
"""


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run of the command line on two processes, as a user types it."""
    folder = tmp_path_factory.mktemp("command")
    command = [sys.executable, TRAIN, *ARGUMENTS]
    return folder, subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=240)


def test_the_command_line_makes_one_run_of_two_processes(
    command: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = command
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote checkpoints/smoke_cis/version_0:") == 1
    assert [path.name for path in (folder / "checkpoints" / "smoke_cis").iterdir()] == ["version_0"]
    made = Run.open(folder / "checkpoints" / "smoke_cis" / "version_0")
    assert list(made.snapshots) == [0, 3, 4, 6]
    assert len(list(made.folder.glob("events*"))) == 2  # of the training, and of settings beside what they reached
    config = yaml.safe_load((made.folder / "config.yaml").read_text())
    assert (config["trainer"]["devices"], config["trainer"]["strategy"]) == (2, "ddp")


def test_a_run_of_two_processes_can_be_continued(command: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder = command[0]
    config = folder / "checkpoints" / "smoke_cis" / "version_0" / "config.yaml"
    again = ("fit", "-c", str(config), "--trainer.max_steps", "8", "--ckpt_path", "last")
    done = run(TRAIN, *again, folder=folder, processes=2)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (folder / "checkpoints" / "smoke_cis").iterdir()] == ["version_0"]
    assert 8 in Run.open(config.parent).snapshots


def test_both_processes_exit_soon_with_the_same_sentence_when_one_fails(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    command = (TRAIN, *ARGUMENTS, "--model.class_path", "broken.Broken")
    done = run(*command, folder=tmp_path, processes=2, environment={"PYTHONPATH": str(tmp_path)})
    ended = time.time()
    assert done.returncode == 1
    told = "error: llc at step 0: rank 1: FloatingPointError: chain 3 diverged (measuring all)."
    assert done.stderr.splitlines() == [told] * 2
    assert ended - float((tmp_path / "raised").read_text()) < 30
