"""The zoo: trains every model on several seeds and says whether each reaches the figure that is expected of it.

    python -m benchmarks.zoo                        everything on seeds 0, 1 and 2; also `make zoo`
    python -m benchmarks.zoo cis_xor cis_circ       some trainings
    python -m benchmarks.zoo --seeds 0 --out t.md   one seed; the table into a file as well

Prints a table in Markdown, one line for each expectation, and ends with 1 where one is missed. The seconds are CPU time
of the whole command on one thread, imports, validation and the last ablations included. Runs stay in
checkpoints/zoo_<training>/.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import inf, isnan
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import Any

from llc_lightning.analysis import table
from llc_lightning.analysis.cis import superposition_verdict
from llc_lightning.cli.versions import newest_version
from llc_lightning.results.run import RUNS, Run
from llc_lightning.runtime.errors import LLCLightningError, unknown

ROOT = Path(__file__).parents[1]
AT_END = ("-c", "configs/overlays/at_end.yaml")
"""Measure the trained net alone, and only by mean ablation."""


@dataclass(frozen=True)
class Metric:
    """A number that a finished run has."""

    name: str
    of: Callable[[Run], float]

    def __truediv__(self, other: Metric) -> Metric:
        """Returns the ratio of two numbers."""
        return Metric(f"{self.name} / {other.name}", lambda run: self.of(run) / other.of(run))


def stored(quantity: str, *, method: str = "", loss: str = "train") -> Metric:
    """Returns the last ok value of a measured quantity of the whole model."""

    def of(run: Run) -> float:
        rows = table.select(run.measurements(), quantity=quantity, component="", method=method, loss=loss)
        good = rows.loc[table.ok(rows)].sort_values(["step", "n_examples"], kind="stable")
        return float(table.numbers(good, "value")[-1]) if len(good) else float("nan")

    told = [name for name in (method, "" if loss == "train" else loss) if name]
    return Metric(f"{quantity} ({', '.join(told)})" if told else quantity, of)


def logged(tag: str, best: Callable[[Sequence[float]], float] | None = None) -> Metric:
    """Returns the last logged value under a tag such as ``val/loss``, or the best of all: ``logged(tag, max)``."""

    def of(run: Run) -> float:
        reader: Any = import_module("tensorboard.backend.event_processing.event_accumulator")
        events: Any = reader.EventAccumulator(str(run.folder), size_guidance={"scalars": 0})
        events.Reload()
        if tag not in events.Tags()["scalars"]:
            return float("nan")
        values = [float(one.value) for one in events.Scalars(tag)]
        return best(values) if best else values[-1]

    return Metric(f"{getattr(best, '__name__', 'best')} of {tag}" if best else tag, of)


def _superposition(run: Run) -> float:
    verdict = superposition_verdict(run.measurements())
    return float("nan") if verdict is None else float(verdict.superposition)


def _loss_ratio(run: Run) -> float:
    verdict = superposition_verdict(run.measurements())
    return float("nan") if verdict is None else verdict.loss_ratio.value


CIS = Metric("computes in superposition", _superposition)
"""The verdict: 1 for yes, 0 for no."""
LOSS_RATIO = Metric("loss / best baseline", _loss_ratio)


@dataclass(frozen=True)
class Row:
    """One expectation of one training; rows of the same training share its runs."""

    training: str
    """Its name, in tables and for the folder of its runs."""
    config: str
    """The configuration's name in configs/."""
    metric: Metric
    low: float = -inf
    high: float = inf
    """Between which bounds every seed's value is expected."""
    overrides: tuple[str, ...] = ()
    """Further arguments of the command."""

    @property
    def expectation(self) -> str:
        """The expectation as tables write it."""
        if self.low == self.high:
            return f"{self.low:g}"
        if self.low == -inf:
            return f"<= {self.high:g}"
        return f">= {self.low:g}" if self.high == inf else f"{self.low:g} .. {self.high:g}"

    def kept(self, value: float) -> bool:
        """Says whether a value is as expected; NaN never is."""
        return self.low <= value <= self.high


L4, MSE = ("--model.init_args.loss_power", "4"), ("--model.init_args.loss_power", "2")
MANY = ("--ablation.examples", "65536")
# fmt: off
ZOO: tuple[Row, ...] = (
    Row("cis_xor", "cis", stored("loss"), high=0.16),
    Row("cis_xor", "cis", stored("circuits_solved"), low=32, high=32),
    Row("cis_xor", "cis", CIS, low=1, high=1),
    Row("cis_xor_mse", "cis_mse", stored("loss"), low=0.50, high=0.55),
    Row("cis_xor_mse", "cis_mse", stored("circuits_solved"), low=18, high=24),
    Row("cis_xor_mse", "cis_mse", CIS, low=0, high=0),
    Row("cis_emb", "cis_emb", stored("loss"), high=0.12),
    Row("cis_emb", "cis_emb", stored("sign_accuracy"), low=0.99),
    Row("cis_emb", "cis_emb", CIS, low=1, high=1),
    Row("cis_uprod", "cis_uprod", stored("loss"), high=0.25),
    Row("cis_uprod", "cis_uprod", CIS, low=1, high=1),
    Row("cis_circ", "cis_circ", stored("loss"), high=0.15),
    Row("cis_circ", "cis_circ", LOSS_RATIO, high=0.5),
    Row("cis_circ_l4", "cis_circ", CIS, low=1, high=1, overrides=L4),
    Row("cis_abs", "cis_abs", LOSS_RATIO, high=0.2),
    Row("cis_abs", "cis_abs", CIS, low=1, high=1),
    Row("cis_relu", "cis_relu", stored("loss") / stored("baseline_loss", method="dedicated"), low=0.96, high=1.04, overrides=MANY),  # noqa: E501
    Row("cis_relu", "cis_relu", CIS, low=0, high=0, overrides=MANY),
    Row("cis_relu_l4", "cis_relu", LOSS_RATIO, high=0.2, overrides=L4),
)
# fmt: on
"""Every row of the zoo."""


@dataclass(frozen=True)
class Trained:
    """A finished run and the CPU seconds that its command took."""

    run: Run
    seconds: float


def main(argv: Sequence[str]) -> int:
    """Trains, prints the table, and returns 1 where an expectation is missed, 2 where a name is unknown."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=(__doc__ or "").split("\n")[0])
    options.add_argument("trainings", nargs="*", help="such as cis_xor (default: all)")
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    options.add_argument("--folder", type=Path, default=Path(RUNS), help=f"where the runs go (default: {RUNS})")
    options.add_argument("--out", type=Path, metavar="FILE", help="write the table there as well")
    given = options.parse_args(argv)
    names = list(dict.fromkeys(row.training for row in ZOO))
    for name in given.trainings:
        if name not in names:
            print(unknown("training", name, names), file=sys.stderr)
            return 2
    lines = [
        f"| training | metric | expected | {' | '.join(f'seed {seed}' for seed in given.seeds)} | CPU s | |",
        "|---|---|---|" + "---|" * (len(given.seeds) + 2),
    ]
    print("\n".join(lines), flush=True)
    all_kept = True
    for name in given.trainings or names:
        rows = [row for row in ZOO if row.training == name]
        found = [_train(rows[0], seed, given.folder) for seed in given.seeds]
        for row in rows:
            line, kept = table_line(row, found)
            all_kept &= kept
            lines.append(line)
            print(line, flush=True)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if all_kept else 1


def table_line(row: Row, found: Sequence[Trained | None]) -> tuple[str, bool]:
    """Returns a row's line of the table, and whether every seed is as expected; None is a training that failed."""
    values = [float("nan") if one is None else _value(row.metric, one.run) for one in found]
    told = ["no value" if isnan(value) else f"{value:.4g}" for value in values]
    seconds = [one.seconds for one in found if one is not None]
    kept = all(row.kept(value) for value in values)
    cells = [row.training, row.metric.name, row.expectation, *told, f"{median(seconds):.0f}" if seconds else "-"]
    return f"| {' | '.join(cells)} | {'kept' if kept else '**missed**'} |", kept


def command(row: Row, seed: int, folder: Path) -> list[str]:
    """Returns the command that trains a row's model."""
    return [
        *(sys.executable, "train.py", "fit", "-c", f"configs/{row.config}.yaml", *AT_END),
        *("--trainer.enable_progress_bar", "false", "--trainer.default_root_dir", str(folder.absolute())),
        *("--seed_everything", str(seed), "--experiment", f"zoo_{row.training}", *row.overrides),
    ]


def _train(row: Row, seed: int, folder: Path) -> Trained | None:
    before = getrusage(RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command(row, seed, folder), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    after = getrusage(RUSAGE_CHILDREN)
    if done.returncode:
        print(f"{row.training}, seed {seed}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    experiment = folder / f"zoo_{row.training}"
    run = Run.open(experiment / f"version_{newest_version(experiment)}")
    return Trained(run, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _value(metric: Metric, run: Run) -> float:
    try:
        return metric.of(run)
    except LLCLightningError as error:
        print(f"{run.name}: {error}", file=sys.stderr)
        return float("nan")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
