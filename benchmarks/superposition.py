"""The L4 net and its MSE control under both losses: what each solves, and what each loss says of it.

    python -m benchmarks superposition                seeds 0, 1 and 2
    python -m benchmarks superposition --seeds 0

Each net takes about 15 CPU seconds; a training that was done before is not done again (see ``benchmarks.zoo``).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.zoo import SEEDS, trained
from benchmarks.zoo_rows import ZOO
from llc_lightning.analysis.cis import Verdict, superposition_verdict
from llc_lightning.results.run import RUNS

NETS = {"L4 net": "cis_xor", "MSE control": "cis_xor_mse"}
"""The trainings of the zoo, by what they are called."""
HEAD = (
    *("net", "seed", "circuits solved", "without sharing", "sign accuracy", "without sharing"),
    *("error^4 / q", "/ best baseline", "error^2 / q", "/ best baseline", "computes in superposition"),
)


def main(arguments: list[str]) -> int:
    """Prints the table in Markdown; returns 1 where a training failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks superposition")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, metavar="SEED")
    parser.add_argument("--folder", type=Path, default=Path(RUNS), help=f"where the runs go (default: {RUNS})")
    given = parser.parse_args(arguments)
    print("\n## Both nets under both losses, on the same 16,384 examples")
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", flush=True)
    done = [_print(net, seed, given.folder) for net in NETS for seed in given.seeds]
    return 0 if all(done) else 1


def _print(net: str, seed: int, folder: Path) -> bool:
    (training,) = (one for one in ZOO if one.name == NETS[net])
    found = trained(training, seed, folder)
    verdict = superposition_verdict(found.run.measurements()) if found else None
    cells = [net, str(seed), *(cells_of(verdict) if verdict else ["failed"])]
    print(f"| {' | '.join(cells)} |", flush=True)
    return verdict is not None


def cells_of(verdict: Verdict) -> Iterator[str]:
    """Yields what a verdict rests on, and what each loss says beside it."""
    yield f"{verdict.solved} of {verdict.circuits}"
    yield f"{verdict.circuits_dedicated:g}"
    yield str(verdict.accuracy)
    yield str(verdict.accuracy_dedicated)
    for one in sorted(verdict.losses, key=lambda one: one.unit, reverse=True):
        yield str(one.loss)
        yield str(one.ratio)
    yield "yes" if verdict.superposition else "no"
