"""How summary and report grow with a run: CPU seconds and memory of the whole commands on made-up runs.

    python -m benchmarks scale                       110,000 and 1,000,000 rows
    python -m benchmarks scale --rows 110000         one size
    python -m benchmarks scale --base ../other       beside another tree of this repository, as ratios

The rows go through the store, 217 steps of them; each command is a process of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks.goals import Goal, judged
from benchmarks.peers.peer import ROOT
from llc_lightning.results.files import publish
from llc_lightning.results.provenance import write_provenance
from llc_lightning.results.schema import COLUMNS, Row, to_table
from llc_lightning.results.store import FOLDER, part_name
from llc_lightning.results.timings import write_timing

STEPS = 217
RUNGS = (100.0, 300.0, 1000.0)
UNITS = 32
REVISIONS = {"llc": 7, "llc_correction": 7, "weight_norm": 7, "ablation_effect": 3}
"""Those of quantities differ in every run, and what reads rows must not look at each of them for that."""
_SMALL, _LARGE = 110_000, 1_000_000
_GOALS = {(_SMALL, "summary"): (Goal(5.0), None), (_LARGE, "report"): (Goal(20.0), Goal(2.0))}
_COMMAND = """
import resource, sys
from llc_lightning.cli.analyze import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6, file=sys.stderr)
sys.exit(code)
"""


@dataclass(frozen=True)
class Used:
    """What a command took."""

    seconds: float
    """CPU time of the process, imports included."""
    gigabytes: float
    """Peak resident memory."""


def main(arguments: list[str]) -> int:
    """Prints the table; returns 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale")
    parser.add_argument("--rows", nargs="+", type=int, default=[_SMALL, _LARGE])
    parser.add_argument("--base", type=Path, help="another tree of this repository to compare with")
    given = parser.parse_args(arguments)
    print(f"\n## Commands on runs of many rows at {STEPS} steps: CPU seconds and GB of memory")
    kept = True
    for count in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder, "checkpoints", "made", "version_0")
            size = write_run(run, count)
            theirs = Path(folder, "base", "made", "version_0")
            if given.base:
                # A tree reads the tables of its own version.
                _in(given.base, str(Path(__file__)), str(theirs), str(count))
            for command in ("summary", "report"):
                kept &= _print(command, run, size, count, given.base, theirs)
    return 0 if kept else 1


def _print(command: str, run: Path, size: int, count: int, base: Path | None, theirs: Path) -> bool:
    here = used(command, run, ROOT)
    time, memory = _GOALS.get((count, command), (None, None))
    cells, kept = zip(judged(here.seconds, time, ".1f"), judged(here.gigabytes, memory), strict=True)
    line = f"{size:9,} rows  {command:8} {cells[0]:>20} s {cells[1]:>20} GB"
    if base:
        there = used(command, theirs, base)
        shares = f"{here.seconds / there.seconds:.2f} of the time, {here.gigabytes / there.gigabytes:.2f} of the memory"
        line += f"  {shares} of {base.name} ({there.seconds:.1f} s, {there.gigabytes:.2f} GB)"
    print(line, flush=True)
    return all(kept)


def used(command: str, run: Path, tree: Path) -> Used:
    """Returns what a command of a tree took on a run."""
    told = _in(tree, "-c", _COMMAND, command, str(run))
    seconds, gigabytes = map(float, told.strip().splitlines()[-1].split())
    return Used(seconds, gigabytes)


def _in(tree: Path, *arguments: str) -> str:
    """Runs Python on a tree's code, and returns what it wrote to standard error."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=tree, env=environment, text=True, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments[-2:])} failed in {tree}: {done.stderr[-500:]}")
    return done.stderr


def write_run(folder: Path, rows: int, *, steps: int = STEPS) -> int:
    """Writes a run of about so many rows, and returns how many they are: what is left by the units are circuits."""
    fixed = 7 + UNITS * (2 * len(RUNGS) + 1 + 4)
    circuits = max(0, round((rows / steps - fixed) / (4 * UNITS + 1)))
    # Rows are made once, and those of other steps drawn around them as columns, which takes a tenth of the time.
    first = to_table(_rows(0, np.random.default_rng(0), circuits))
    for place, step in enumerate(np.unique(np.geomspace(1, 100_000, 4 * steps).astype(int))[-steps:].tolist()):
        part, made = part_name(step, "all"), _at(first, step, np.random.default_rng(place))
        publish(folder, f"{FOLDER}/{part}.parquet", partial(parquet.write_table, made, compression="zstd"))
        write_timing(folder, part, seconds=1.0, host="here", step=step)
    write_provenance(folder, {"llc_lightning": "0", "schema_version": 1, "seeds": {"seed_everything": 0}, "git": None})
    return steps * len(first)


def _at(rows: pa.Table, step: int, rng: np.random.Generator) -> pa.Table:
    """Returns rows of another step: other values, and details that are told apart."""
    factor = np.exp(0.05 * rng.standard_normal(len(rows)))
    digits = rng.integers(10**9, 10**10, len(rows)).astype(str)
    columns = {
        "step": np.full(len(rows), step),
        "value": rows["value"].to_numpy() * factor,
        "details": [
            text.replace("0.", f"0.{unlike}", 1)
            for text, unlike in zip(rows["details"].to_pylist(), digits, strict=True)
        ],
    }
    for name, values in columns.items():
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), pa.array(values))
    return rows


def _rows(step: int, rng: np.random.Generator, circuits: int) -> Iterator[Row]:
    def row(quantity: str, value: float, **more: object) -> Row:
        told = {"settings": "0123456789abcdef", "n_examples": 16384, "stderr": abs(value) / 50, **more}
        if "revision" in COLUMNS:  # which older trees lack
            told["revision"] = REVISIONS.get(quantity, 1)
        return Row(run="made/version_0", seed=0, step=step, epoch=0, quantity=quantity, value=value, **told)  # pyright: ignore[reportArgumentType]

    losses = ["train", *(f"circuit:{at:02d}" for at in range(circuits))]
    yield row("loss", 0.2)
    yield row("circuits_solved", 20.0)
    yield row("circuits_solved", 16.0, method="dedicated")
    for name in ("zero", "affine", "dedicated"):
        yield row("baseline_loss", 0.5, method=name)
    for loss in losses:
        yield row("sign_accuracy", 0.9, loss=loss)
    for unit in range(UNITS):
        name = {"component": f"net.hook_hidden[{unit}]", "kind": "neuron"}
        size = float(rng.lognormal(-3.5, 0.4))
        yield row("weight_norm", 1 + size, params_moved=name["component"], **name)
        for method in ("zero", "mean", "resample", "noise"):
            for loss in losses:
                yield row("ablation_effect", size * float(rng.lognormal(0, 0.1)), method=method, loss=loss, **name)
        for n_beta in RUNGS:
            chains = {"chains": 4, "draws": 100, "rhat": 1.01, "ess": 300.0, "step_size": 1e-3, "gamma": 10.0}
            chains |= {"n_beta": n_beta, "params_moved": name["component"], "settings": f"{n_beta:016.0f}"}
            told = f'{{"dimension":97,"per_chain":[{",".join(f"{x:.16f}" for x in rng.random(40))}],"replicate":0}}'
            value = 50 / (1 + 25 / (n_beta * size)) * float(rng.lognormal(0, 0.05))
            yield row("llc", value, **name, **chains, details=told)
            yield row("llc_correction", 0.1, **name, **chains, details='{"replicate":0}')


if __name__ == "__main__":
    write_run(Path(sys.argv[1]), int(sys.argv[2]))
