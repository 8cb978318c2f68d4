"""The zoo: trains every model on several seeds and says whether each reaches the figures that are expected of it.

    python -m benchmarks.zoo                        everything on seeds 0, 1 and 2; also `make zoo`
    python -m benchmarks.zoo cis_xor cis_circ       some trainings
    python -m benchmarks.zoo --seeds 0 --out t.md   one seed; the table into a file as well

Prints a table in Markdown, one line for each expectation, and ends with 1 where one is missed; that of everything on
three seeds also goes into docs/zoo.md, where nothing was left out. The seconds are CPU time
of the whole command on one thread, imports, validation and the last ablations included. What needs real data takes it
from the folder that LLC_LIGHTNING_DATA names, and is left out without it.

Runs stay in checkpoints/zoo_<training>/. A training that finished is not done again, unless its arguments, its
settings, the code of models and data or the version of torch has changed, or --again asks for it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import Any

import torch
import yaml

from benchmarks.zoo_rows import ZOO, Expected, Metric, Training
from llc_lightning.cli.versions import newest_version
from llc_lightning.results.run import RUNS, Run
from llc_lightning.runtime.errors import LLCLightningError, one_line, unknown

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "zoo.md"
DONE = "zoo.json"
"""Written into the folder of a run when its training has finished."""
SEEDS = [0, 1, 2]
_APART = ("bridge.py",)
"""Files of models and data that no training uses."""
_MARKS = ("<!-- zoo -->\n", "<!-- /zoo -->\n")


@dataclass(frozen=True)
class Trained:
    """A finished run and the CPU seconds that its command took."""

    run: Run
    seconds: float


def main(argv: Sequence[str]) -> int:
    """Trains, prints the table, and returns 1 where an expectation is missed, 2 where a name is unknown."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=(__doc__ or "").split("\n")[0])
    options.add_argument("trainings", nargs="*", help="such as cis_xor (default: all)")
    options.add_argument("--seeds", nargs="+", type=int, default=SEEDS, metavar="SEED")
    options.add_argument("--folder", type=Path, default=Path(RUNS), help=f"where the runs go (default: {RUNS})")
    options.add_argument("--again", action="store_true", help="also train what has been trained before")
    options.add_argument("--out", type=Path, metavar="FILE", help="write the table there as well")
    given = options.parse_args(argv)
    trainings = {training.name: training for training in ZOO}
    for name in given.trainings:
        if name not in trainings:
            print(unknown("training", name, trainings), file=sys.stderr)
            return 2
    header = [
        f"| training | metric | expected | {' | '.join(f'seed {seed}' for seed in given.seeds)} | CPU s | |",
        "|---|---|---|" + "---|" * (len(given.seeds) + 2),
    ]
    print("\n".join(header), flush=True)
    lines, all_kept = list(header), True
    for name in given.trainings or trainings:
        for line, kept in _lines(trainings[name], given.seeds, given.folder, again=given.again):
            all_kept &= kept
            lines.append(line)
            print(line, flush=True)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not given.trainings and given.seeds == SEEDS and not any(map(missing_data, ZOO)):
        PAGE.write_text(between_marks(PAGE.read_text(encoding="utf-8"), "\n".join(lines)), encoding="utf-8")
    return 0 if all_kept else 1


def between_marks(text: str, table: str) -> str:
    """Returns the text with a table in place of what stood between the marks."""
    before, start, rest = text.partition(_MARKS[0])
    end, after = rest.partition(_MARKS[1])[1:]
    if not (start and end):
        raise ValueError(f"{PAGE.name} lacks the marks {' and '.join(mark.strip() for mark in _MARKS)}")
    return f"{before}{start}\n{table}\n\n{end}{after}"


def _lines(training: Training, seeds: Sequence[int], folder: Path, *, again: bool) -> Iterator[tuple[str, bool]]:
    """Yields a training's lines of the table, and whether each is as expected; what lacks its data counts as such."""
    lacks = missing_data(training)
    if lacks:
        yield f"| {training.name} | left out: {lacks} |" + " |" * (len(seeds) + 3), True
        return
    found = [trained(training, seed, folder, again=again) for seed in seeds]
    for expected in training.expected:
        yield table_line(training, expected, found)


def table_line(training: Training, expected: Expected, found: Sequence[Trained | None]) -> tuple[str, bool]:
    """Returns a line of the table, and whether every seed is as expected; None is a training that failed."""
    values = [nan if one is None else _value(expected.metric, one.run) for one in found]
    told = ["no value" if isnan(value) else f"{value:.4g}" for value in values]
    seconds = [one.seconds for one in found if one is not None]
    kept = all(expected.kept(value) for value in values)
    cells = [training.name, expected.metric.name, str(expected), *told, f"{median(seconds):.0f}" if seconds else "-"]
    return f"| {' | '.join(cells)} | {'kept' if kept else '**missed**'} |", kept


def missing_data(training: Training) -> str:
    """Returns what real data a training lacks, or ''."""
    folder = os.environ.get("LLC_LIGHTNING_DATA", "")
    if training.data and not folder:
        return "set LLC_LIGHTNING_DATA to the folder of real data"
    lacks = [name for name in training.data if not Path(folder, name).is_file()]
    return f"{folder} lacks {', '.join(lacks)}" if lacks else ""


def command(training: Training, seed: int, folder: Path) -> list[str]:
    """Returns the command that trains one net."""
    measured = training.measured or ("-c", "configs/overlays/no_measuring.yaml")
    overrides = [word.replace("DATA", os.environ.get("LLC_LIGHTNING_DATA", "DATA")) for word in training.overrides]
    return [
        *(sys.executable, "train.py", "fit", "-c", f"configs/{training.config}.yaml", *measured, *overrides),
        *("--trainer.enable_progress_bar", "false", "--trainer.default_root_dir", str(folder.absolute())),
        *("--seed_everything", str(seed), "--experiment", f"zoo_{training.name}"),
    ]


def outcome_key(training: Training, seed: int) -> str:
    """Returns a digest of what decides the outcome: arguments, settings, code of models and data, version of torch."""
    rooms = ["models", "data", *(("ablation", "measure") if training.measured else ())]
    words = command(training, seed, Path())
    settings: dict[str, Any] = {}
    for name in (word for word in words if word.endswith(".yaml")):
        settings = _laid_over(settings, yaml.safe_load((ROOT / name).read_text(encoding="utf-8")))
    # What is switched off decides nothing.
    used = {key: value for key, value in settings.items() if not isinstance(value, dict) or value.get("when", True)}
    arguments = [word for word in words[1:] if word != str(Path().absolute())]
    digest = hashlib.blake2b(json.dumps([torch.__version__, arguments, used]).encode(), digest_size=8)
    files = [path for room in rooms for path in sorted((ROOT / "llc_lightning" / room).rglob("*.py"))]
    for path in (path for path in files if path.name not in _APART):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {key: _laid_over(below[key], value) for key, value in above.items()
            if isinstance(value, dict) and isinstance(below.get(key), dict)}  # fmt: skip
    return below | above | both


def trained(training: Training, seed: int, folder: Path, *, again: bool = False) -> Trained | None:
    """Returns a finished run, of earlier if there is one with the same outcome; None where the training fails."""
    experiment, key = folder / f"zoo_{training.name}", outcome_key(training, seed)
    for path in [] if again else sorted(experiment.glob(f"*/{DONE}")):
        note = json.loads(path.read_text(encoding="utf-8"))
        if note["key"] == key:
            return Trained(Run.open(path.parent), note["seconds"])
    before = getrusage(RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command(training, seed, folder), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    after = getrusage(RUSAGE_CHILDREN)
    if done.returncode:
        print(f"{training.name}, seed {seed}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    run = Run.open(experiment / f"version_{newest_version(experiment)}")
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    (run.folder / DONE).write_text(json.dumps({"key": key, "seconds": round(seconds, 1)}) + "\n", encoding="utf-8")
    return Trained(run, seconds)


def _value(metric: Metric, run: Run) -> float:
    try:
        return metric.of(run)
    except LLCLightningError as error:
        print(f"{run.name}: {one_line(error)}", file=sys.stderr)
        return nan


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
