"""Every strategy of Lightning, on two processes of the CPU: trained with both callbacks, or refused at the start.

Usage: python -m tests.campaigns.strategies [STRATEGY...]
"""

import sys
import tempfile
from pathlib import Path

from llc_lightning.results.run import Run
from tests.distributed.test_strategies import SCRIPT
from tests.processes import run

MEASURED = [
    f"{name}{unused}" for name in ("ddp", "ddp_fork", "ddp_spawn") for unused in ("", "_find_unused_parameters_true")
]
STRATEGIES = [*MEASURED, *("fsdp2", "fsdp", "deepspeed")]


def outcome(strategy: str) -> str:
    """Returns what became of a training by a strategy."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        done = run(SCRIPT, str(folder), strategy, folder=folder, processes=2)
        made = folder / "llc_lightning"
        if done.returncode == 0:
            opened = Run.open(made)
            quantities = {"llc", "ablation_effect"} & set(opened.measurements()["quantity"])
            return (
                f"measured {' and '.join(sorted(quantities))} by {int(opened.timings()['processes'].max())} processes"
            )
        told = (done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1]
        return f"refused{' after something was written' if (made / 'measurements').is_dir() else ''}: {told}"


if __name__ == "__main__":
    print("| strategy | what becomes of it |\n|---|---|")
    wrong = 0
    for each in sys.argv[1:] or STRATEGIES:
        told = outcome(each)
        print(f"| {each} | {told} |", flush=True)
        expected = "measured ablation_effect and llc by 2 processes" if each in MEASURED else "refused: "
        wrong += not told.startswith(expected)
    sys.exit(min(wrong, 1))
