"""Random faults: signals and kills at random moments of a training, and what goes wrong on one of several processes.

Every run that was stopped is continued, and must then have what the uninterrupted one has, to the byte, in one folder.

Usage: python -m tests.campaigns.faults [--signals 40] [--kills 30] [--injections 60] [--seed 0]
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from llc_lightning.runtime.peers import LOST
from tests.distributed.test_injected import SCRIPT as INJECTED
from tests.faults.test_interruptions import COMMAND, content, place, slurm
from tests.processes import Script

LIMIT = 30.0
"""Seconds within which every process must have ended."""
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 0, signal.SIGKILL: 137}
INJECTIONS = [
    *("exception", "memory", "nan", "exit", "quarantine", "gather", "examples", "weights"),
    *("slow", "kill", "pause", "buffers", "apart"),
]
ENDING = 2.0
"""Seconds that a run may take to end by itself when its last measurement is done: later a signal has no effect."""
GOES_ON = ("nan", "slow", "pause", "buffers", "apart")
"""Those that end no training."""
FOR_ALL = ("weights", "examples", "exit")
"""Those of no component: where a measurement that fails is skipped, all its rows say so."""
PAUSE = LOST + 3
"""Seconds for which all processes are stopped."""
_SHORT = ("--trainer.max_steps", "8", "--llc.replicates", "1")
_DDP = (
    *("-c", str(Path(__file__).parents[2] / "configs" / "overlays" / "ddp2_cpu.yaml")),
    *("--data.init_args.validation_size", "2048", "--data.init_args.batches_per_epoch", "10"),
)


def left(folder: Path) -> dict[str, Any]:
    """Returns what a training has left: all bytes that were measured, weights, optimizer and progress."""
    last = torch.load(place(folder) / "last.ckpt", weights_only=True)
    state = {name: str(last[name]) for name in ("state_dict", "optimizer_states", "lr_schedulers", "global_step")}
    return {**content(folder), **state}


class Job:
    """A run that is started or continued; where a scheduler stops it, the same command starts it anew.

    Args:
        folder: Where it runs.
        processes: How many train together; of a scheduler's job each is a task of its own.
        number: The signal that it will get.
        again: Whether it is continued.
    """

    def __init__(self, folder: Path, processes: int, number: int, *, again: bool = False) -> None:
        requeued = number == signal.SIGUSR1
        resume = ["--ckpt_path", "last"] if again and not requeued else []
        command = (*COMMAND, *_SHORT, *(_DDP if processes == 2 else ()), *resume)
        if not requeued:
            self.scripts = [Script(*command, folder=folder, processes=processes)]
            return
        met = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        of_all = slurm(folder, "71") | met | dict.fromkeys(("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"), str(processes))
        tasks = [{"SLURM_PROCID": str(number), "SLURM_LOCALID": str(number)} for number in range(processes)]
        self.scripts = [Script(*command, folder=folder, environment=of_all | task) for task in tasks]

    def ended(self) -> bool:
        """Says whether all have ended."""
        return all(script.ended() for script in self.scripts)

    def send(self, number: signal.Signals, *, everybody: bool) -> None:
        """Sends a signal to the first process, or to all; a scheduler always to all."""
        for script in self.scripts:
            script.send(number, everybody=everybody)

    def finish(self) -> tuple[set[int], str]:
        """Returns the exit codes as a shell has them, and what was said last, when all processes have ended."""
        done = [script.finish() for script in self.scripts]
        until = time.monotonic() + LIMIT
        while not all(script.all_ended() for script in self.scripts) and time.monotonic() < until:
            time.sleep(0.05)
        codes = {128 - each.returncode if each.returncode < 0 else each.returncode for each in done}
        return codes, " ".join(each.stderr[-300:] for each in done)


def free_port() -> int:
    """Returns a port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def stopped_and_continued(
    processes: int, number: int, after: float, everybody: bool, whole: dict[str, Any]
) -> tuple[str, float]:
    """Returns what is wrong with a run that gets a signal at a moment, if anything is, and how long it took to end.

    A run that was over before, or ends as it gets it, is made again, and gets the signal in half the time.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job, saved = Job(folder, processes, number), place(folder) / "last.ckpt"
        while not saved.exists() and not job.ended():
            time.sleep(0.01)
        time.sleep(after)
        over, sent = job.ended(), time.monotonic()
        job.send(signal.Signals(number), everybody=everybody)
        codes, said = job.finish()
        took = time.monotonic() - sent
        asked = (folder / "asked").exists()
        if codes == {0} and not asked and not over and took > ENDING:
            return f"the signal was ignored: the run ended with 0 after {took:.1f} s", took
        if codes == {0} and not asked and after > ENDING / 100:
            return stopped_and_continued(processes, number, after / 2, everybody, whole)
        if codes != {CODES[signal.Signals(number)]}:
            return f"codes {codes}: {said}", took
        codes, said = Job(folder, processes, number, again=True).finish()
        if codes != {0}:
            return f"cannot be continued: {said}", took
        found = left(folder)
        differs = sorted(key for key in whole.keys() | found if whole.get(key) != found.get(key))
        # Forked here, the second process takes itself for the first until it is told, and makes an empty folder.
        versions = len(list(place(folder).parent.glob("*/manifest.jsonl")))
        wrong = [f"{', '.join(differs)} differ"] * bool(differs) + [f"{versions} folders"] * (versions != 1)
        return "; ".join([*wrong, *([f"took {took:.0f} s"] if took > LIMIT else [])]), took


def campaign(what: str, times: int, draw: Callable[[], tuple[str, Callable[[], tuple[str, float]]]]) -> int:
    """Does something random so often, prints what was wrong, and returns how often anything was."""
    wrong, longest = 0, 0.0
    for number in range(times):
        told, do = draw()
        fault, took = do()
        wrong, longest = wrong + bool(fault), max(longest, took)
        print(f"{what} {number + 1}/{times}: {told}: {fault or 'good'} ({took:.1f} s)", flush=True)
    print(f"{what}: {times - wrong} of {times} good, the longest took {longest:.1f} s", flush=True)
    return wrong


def interrupted(
    numbers: list[signal.Signals], chance: random.Random, whole: dict[int, tuple[dict[str, Any], float]]
) -> Any:
    """Returns a draw of a signal, a number of processes and a moment."""

    def draw() -> tuple[str, Callable[[], tuple[str, float]]]:
        number = chance.choice(numbers)
        processes, everybody = chance.choice(list(whole)), chance.random() < 0.5
        after = chance.uniform(0, whole[processes][1])
        told = f"{number.name} to {'all' if everybody else 'one'} of {processes} after {after:.2f} s"
        return told, lambda: stopped_and_continued(processes, number, after, everybody, whole[processes][0])

    return draw


def uninterrupted(processes: int) -> tuple[dict[str, Any], float]:
    """Returns what an uninterrupted run leaves, and how long it takes from its first checkpoint on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job, saved = Job(folder, processes, signal.SIGTERM), place(folder) / "last.ckpt"
        while not saved.exists() and not job.ended():
            time.sleep(0.01)
        began = time.monotonic()
        codes, said = job.finish()
        assert codes == {0}, said
        return left(folder), time.monotonic() - began


def statuses(folder: Path) -> set[str]:
    """Returns the statuses of all rows below a folder."""
    return {status for path in folder.rglob("measurements/*.parquet") for status in pd.read_parquet(path)["status"]}


def injected(processes: int, rank: int, injection: str) -> tuple[str, float]:
    """Returns what is wrong with how processes end of which one has a fault, '' if nothing is; and how long it took."""
    folder = Path(tempfile.mkdtemp())
    try:
        command = (INJECTED, str(folder), str(processes), str(rank), injection)
        script = Script(*command, folder=folder, processes=processes, environment={"SLOW": "60"})
        named = injection.partition(":")[0]
        if named == "pause":
            pause(script, folder / "pause")
        script.finish(180)
        others = processes - (named == "kill")
        until = time.monotonic() + LIMIT
        while len(list(folder.glob("*/ended-*.json"))) < others and time.monotonic() < until:
            time.sleep(0.1)
        ends = [json.loads(path.read_text()) for path in sorted(folder.glob("*/ended-*.json"))]
        began = max((end["began"] for end in ends), default=0.0)
        took = max((end["ended"] for end in ends), default=0.0) - began if began else 0.0
        skipped = injection.endswith(":skip") and named != "kill"
        goes_on = skipped or named in GOES_ON
        told = {end["told"].partition(" is lost")[0] for end in ends}
        wrong = [f"{others - len(ends)} have not ended"] * (len(ends) != others)
        wrong += [f"they end differently: {sorted(told)}"] * (len(told) > 1)
        wrong += [f"training ended: {sorted(told)}"] * (goes_on and told != {""})
        wrong += ["nothing was told"] * (not goes_on and "" in told)
        wrong += ["no row says so"] * (skipped and named in FOR_ALL and "error" not in statuses(folder))
        wrong += [f"took {took:.0f} s"] * (took > LIMIT and named not in ("slow", "pause"))
        return "; ".join(wrong), took
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def pause(script: Script, measuring: Path) -> None:
    """Stops all processes while they measure, longer than a silent one counts as living, and lets them go on."""
    while not measuring.exists() and not script.ended():
        time.sleep(0.01)
    script.send(signal.SIGSTOP, everybody=True)
    time.sleep(PAUSE)
    script.send(signal.SIGCONT, everybody=True)


def anything(chance: random.Random) -> Any:
    """Returns a draw of a fault on one of two or three processes."""

    def draw() -> tuple[str, Callable[[], tuple[str, float]]]:
        processes = chance.choice([2, 2, 3])
        rank, injection = chance.randrange(processes), chance.choice(INJECTIONS)
        injection += chance.choice(["", ":skip"]) if injection not in ("kill", *GOES_ON) else ""
        return f"{injection} on rank {rank} of {processes}", lambda: injected(processes, rank, injection)

    return draw


def main() -> int:
    """Runs the campaigns; the code says whether anything was wrong."""
    parser = argparse.ArgumentParser()
    for name, times in (("signals", 40), ("kills", 30), ("injections", 60)):
        parser.add_argument(f"--{name}", type=int, default=times)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    chance = random.Random(given.seed)  # noqa: S311
    wrong = campaign("injection", given.injections, anything(chance))
    if given.signals or given.kills:
        whole = {processes: uninterrupted(processes) for processes in (1, 2)}
        wrong += campaign(
            "signal", given.signals, interrupted([signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], chance, whole)
        )
        wrong += campaign("kill", given.kills, interrupted([signal.SIGKILL], chance, whole))
    return min(wrong, 1)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.exit(main())
