"""What a training costs while another process measures what it leaves out: its CPU time beside that of it alone.

Each has a core and a thread of its own: more threads than cores wait for each other, and their waiting counts as work.

python -m benchmarks following                     the net of configs/cis.yaml
python -m benchmarks following --rounds 1 --config configs/smoke/cis.yaml
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.goals import Goal, judged
from benchmarks.peers.peer import ROOT

_RISE = Goal(1.08)
_ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
_SECONDS = re.compile(r"of the ([\d.]+) s of training")


def main(arguments: list[str]) -> int:
    """Prints the table; returns 1 where training costs more than it may."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks following")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "cis.yaml")
    parser.add_argument("--steps", type=int, default=3000, help="of the training")
    given = parser.parse_args(arguments)
    alone, followed = list[float](), list[float]()
    for _ in range(given.rounds):
        for seconds, follows in ((alone, False), (followed, True)):
            seconds.append(training(given.config, given.steps, follows=follows))
    cell, kept = judged(median(each / one for one, each in zip(alone, followed, strict=True)), _RISE)
    print(f"\n## CPU seconds of training {given.config.name}, {given.steps} steps, of which nothing is measured within")
    print("alone, with `measure --follow` beside it, the ratio of the two in turns")
    print(f"{median(alone):8.2f}{median(followed):8.2f}  {cell}", flush=True)
    return int(not kept)


def training(config: Path, steps: int, *, follows: bool) -> float:
    """Returns the CPU seconds of a training's steps, as it tells them itself; what follows it is ended with it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "train.py", "fit", "-c", str(config), "--budget", "0"]
        more = ["--trainer.max_steps", str(steps), "--trainer.enable_progress_bar", "false"]
        where = ["--trainer.default_root_dir", folder]
        trains = subprocess.Popen(
            [*command, *more, *where], cwd=ROOT, env=_ONE_THREAD, stdout=subprocess.PIPE, text=True
        )
        _on_core(trains.pid, 0)
        measures = _following(Path(folder), trains) if follows else None
        told, _ = trains.communicate()
        if measures:
            if measures.poll() is not None:
                raise RuntimeError("what follows the training has ended before it; look at its message above.")
            measures.kill()
            measures.wait()
    return float(_SECONDS.findall(told)[0])


def _following(folder: Path, trains: subprocess.Popen[str]) -> subprocess.Popen[bytes]:
    """Starts to measure a run as soon as it is there."""
    while not (runs := list(folder.glob("*/version_0/config.yaml"))) and trains.poll() is None:
        time.sleep(0.05)
    command = [sys.executable, "-W", "ignore", "analyze.py", "measure", str(runs[0].parent), "--follow"]
    measures = subprocess.Popen(command, cwd=ROOT, env=_ONE_THREAD)
    _on_core(measures.pid, 1)
    return measures


def _on_core(process: int, number: int) -> None:
    """Keeps a process on one of the cores that this one may use, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process, {cores[number % len(cores)]})
