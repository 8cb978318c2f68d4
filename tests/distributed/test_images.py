"""Two gloo processes train an image net: the same images on both, each example once, one table."""

import json
from pathlib import Path

import pytest

from llc_lightning.results.run import Run
from tests.processes import run as run_script

ROOT = Path(__file__).parents[2]
ARGUMENTS = [
    *("fit", "-c", str(ROOT / "configs/smoke/mnist_fashion.yaml"), "-c", str(ROOT / "configs/overlays/ddp2_cpu.yaml")),
    *("--trainer.max_steps", "4", "--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "2"),
    *("--data.init_args.train_size", "600", "--data.init_args.validation_size", "50", "--llc.when", "null"),
    *("--data.init_args.analysis_size", "1024", "--data.init_args.batch_size", "50", "--llc_units.when", "null"),
    *("--snapshots.when.init_args.first", "2", "--ablation.when.init_args.first", "2", "--model.init_args.width", "4"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run of two processes, and what they said."""
    folder = tmp_path_factory.mktemp("command")
    done = run_script(str(ROOT / "train.py"), *ARGUMENTS, folder=folder, processes=2)
    assert done.returncode == 0, done.stderr
    return folder / "checkpoints" / "smoke_mnist_fashion" / "version_0", done.stdout


def test_the_choice_is_said_once_and_noted_with_the_run(run: tuple[Path, str]) -> None:
    folder, said = run
    assert said.count("images: two drawn tasks, segments and gratings, not MNIST and Fashion-MNIST") == 1
    (session,) = json.loads((folder / "provenance.json").read_text())["sessions"]
    assert session["data"]["images"] == "embedded"


def test_both_measure_the_tasks_of_their_data(run: tuple[Path, str]) -> None:
    rows = Run.open(run[0]).measurements()
    effects = rows.loc[rows["quantity"] == "ablation_effect"]
    assert set(effects["loss"]) == {"train", "task:segments", "task:gratings"}
    assert set(rows["status"]) <= {"ok", "too-few-examples"}
    assert list(Run.open(run[0]).snapshots) == [0, 2, 3, 4]
