"""A run that is stopped at any moment can be continued, and then has what an uninterrupted run has."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from llc_lightning.callbacks.resume import read_checkpoint
from llc_lightning.results.files import listed
from llc_lightning.results.run import Run
from tests.processes import Script

ROOT = Path(__file__).parents[2]
COMMAND = [
    *(str(ROOT / "train.py"), "fit", "-c", str(ROOT / "configs" / "smoke" / "cis.yaml")),
    *("--trainer.max_steps", "12", "--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "5"),
    *("--data.init_args.batches_per_epoch", "5", "--llc.draws", "20", "--llc.burn_in", "2", "--llc.step_size", "1e-5"),
    *("--llc.preconditioner", "none", "--llc.replicates", "2", "--llc_units.when", "null"),
    *("--snapshots.when.init_args.first", "3", "--llc.when.init_args.first", "3"),
    *("--ablation.when.init_args.first", "3", "--ablation.examples", "512", "--data.init_args.analysis_size", "1024"),
    *("--data.init_args.validation_size", "1024"),
]


def start(folder: Path, *more: str, resume: bool = False, environment: dict[str, str] | None = None) -> Script:
    """Starts or continues a run."""
    again = ["--ckpt_path", "last"] if resume else []
    return Script(*COMMAND, *more, *again, folder=folder, environment=environment)


def wait_for(script: Script, condition: Callable[[], bool]) -> None:
    """Waits until something is so, or the script ends."""
    while not condition() and not script.ended():
        time.sleep(0.01)


def place(folder: Path) -> Path:
    return folder / "checkpoints" / "smoke_cis" / "version_0"


def content(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of everything measured and of the snapshots."""
    kinds = ("measurements/*.parquet", "traces/*.zip", "snapshots/*.safetensors")
    return {path.name: path.read_bytes() for kind in kinds for path in place(folder).glob(kind)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted run leaves."""
    folder = tmp_path_factory.mktemp("whole")
    done = start(folder).finish()
    assert done.returncode == 0, done.stderr
    return content(folder)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_a_measurement_leaves_a_run_that_can_be_continued(
    tmp_path: Path, whole: dict[str, bytes], number: signal.Signals, code: int
) -> None:
    for _ in range(3):
        script = start(tmp_path)
        # The snapshot of a step is written just before its LLC is measured.
        wait_for(script, (place(tmp_path) / "snapshots" / "step=00000003.safetensors").exists)
        time.sleep(0.2)
        script.send(number)
        stopped = script.finish()
        if stopped.returncode != 0:
            break
        shutil.rmtree(place(tmp_path))  # on a busy machine the signal can come when the run is over
    assert stopped.returncode == code
    assert "Traceback" not in stopped.stdout + stopped.stderr
    assert stopped.stderr.splitlines()[-1] == (
        "stopped; the run can be continued: give the same command again with --ckpt_path last"
    )
    assert read_checkpoint(place(tmp_path) / "last.ckpt")["global_step"] in {0, 3}
    assert not list(place(tmp_path).rglob("*.tmp"))
    continued = start(tmp_path, resume=True).finish()
    assert continued.returncode == 0, continued.stderr
    assert content(tmp_path) == whole


def test_a_run_that_is_killed_again_and_again_ends_like_an_uninterrupted_one(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    for attempt in range(4):
        script = start(tmp_path, resume=attempt > 0)
        before = len(content(tmp_path))
        saved = place(tmp_path) / "last.ckpt"
        wait_for(script, lambda before=before, saved=saved: saved.exists() and len(content(tmp_path)) >= before + 3)
        time.sleep(random.uniform(0, 0.6))  # noqa: S311
        script.send(signal.SIGKILL)
        killed = script.finish()
        if killed.returncode == 0:
            break
        read_checkpoint(place(tmp_path) / "last.ckpt")
        Run.open(place(tmp_path)).measurements()  # every part is whole
    if killed.returncode != 0:
        done = start(tmp_path, resume=True).finish()
        assert done.returncode == 0, done.stderr
    assert content(tmp_path) == whole
    events = EventAccumulator(str(place(tmp_path)), size_guidance={"scalars": 0}).Reload()
    tags = events.Tags()["scalars"]
    assert "analysis/loss_on_1024" in tags
    for tag in tags:
        steps = [event.step for event in events.Scalars(tag)]
        assert steps == sorted(set(steps)), f"{tag} has a point twice"


def slurm(folder: Path, job: str) -> dict[str, str]:
    """Returns the environment of a SLURM job of one process, with a ``scontrol`` that notes what it is asked."""
    scontrol = folder / "bin" / "scontrol"
    scontrol.parent.mkdir(exist_ok=True)
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/asked"\n')
    scontrol.chmod(0o755)
    numbers = {"NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0", "JOB_ID": job, "JOB_NAME": "train"}
    return {f"SLURM_{name}": value for name, value in numbers.items()} | {
        "PATH": f"{scontrol.parent}{os.pathsep}{os.environ['PATH']}"
    }


def test_a_job_whose_time_ends_goes_on_in_its_own_folder_when_it_is_requeued(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    first = start(tmp_path, environment=slurm(tmp_path, "71"))
    wait_for(first, (place(tmp_path) / "snapshots" / "step=00000003.safetensors").exists)
    first.send(signal.SIGUSR1)
    stopped = first.finish()
    assert (stopped.returncode, (tmp_path / "asked").read_text()) == (0, "requeue 71\n"), stopped.stderr
    assert stopped.stderr.splitlines()[-1] == "stopped and requeued; the next job of this number goes on with the run"
    assert (place(tmp_path) / "requeued").read_text() == "71\n"
    assert not list(tmp_path.rglob("hpc_ckpt*"))

    # Another job of the same experiment has nothing to do with it, nor has this job with other settings.
    none = ("--llc.when", "null", "--ablation.when", "null", "--snapshots.when", "null", "--trainer.max_steps", "1")
    for number, more in (("72", none), ("71", (*none, "--seed_everything", "5"))):
        other = start(tmp_path, *more, environment=slurm(tmp_path, number)).finish()
        assert (other.returncode, "continuing" in other.stdout) == (0, False), other.stderr
    assert (place(tmp_path) / "requeued").is_file()

    again = start(tmp_path, environment=slurm(tmp_path, "71")).finish()
    assert again.returncode == 0, again.stderr
    assert "continuing checkpoints/smoke_cis/version_0" in again.stdout
    assert content(tmp_path) == whole
    assert not (place(tmp_path) / "requeued").exists()


HELD = """
import time
from pathlib import Path
import lightning as L

class Held(L.Callback):
    def on_train_batch_end(self, trainer, *rest):
        while trainer.global_step == 8 and not Path("go").exists():
            time.sleep(0.01)
"""


def claimants(run: Path) -> set[int]:
    """Returns the processes that are at work on a part."""
    found = set[int]()
    for claim in run.glob(".*.claim"):
        with suppress(FileNotFoundError):
            found.add(json.loads(claim.read_text())["pid"])
    return found


def test_two_that_follow_a_training_measure_all_once_though_it_and_one_of_them_are_killed(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    (tmp_path / "held.py").write_text(HELD)
    how: dict[str, str] = {"PYTHONPATH": str(tmp_path)}
    more = ["--budget", "0", "--trainer.callbacks+=held.Held"]
    training = start(tmp_path, *more, environment=how)
    wait_for(training, (place(tmp_path) / "config.yaml").exists)

    def follow() -> Script:
        analyze = str(ROOT / "analyze.py")
        return Script(analyze, "measure", str(place(tmp_path)), "--follow", folder=tmp_path, environment=how)

    first = follow()

    def stopped_amid_a_part() -> bool:
        first.send(signal.SIGSTOP)
        measured = any(name.endswith(".parquet") for name in content(tmp_path))
        if measured and first.pid in claimants(place(tmp_path)):
            return True
        first.send(signal.SIGCONT)
        return False

    wait_for(first, stopped_amid_a_part)
    assert not first.ended()
    assert not training.ended(), "it is measured while it trains"
    second = follow()
    for one in (training, first):
        one.send(signal.SIGKILL, everybody=True)
        one.finish()
    (tmp_path / "go").touch()
    everybody = [start(tmp_path, *more, resume=True, environment=how), follow(), second]
    ended = [each.finish() for each in everybody]
    assert [each.returncode for each in ended] == [0, 0, 0], [each.stderr for each in ended]
    assert content(tmp_path) == whole
    often = {name: len(each) for name, each in listed(place(tmp_path)).items() if name.endswith(".parquet")}
    assert often == dict.fromkeys(often, 1)
    assert len(often) == sum(name.endswith(".parquet") for name in whole)
