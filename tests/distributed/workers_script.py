"""What each process of test_workers.py runs: every call of Workers once, the outcome as JSON.

Usage: python workers_script.py RANK WORLD_SIZE FOLDER
"""

import json
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from torch import distributed

from llc_lightning.runtime.errors import MeasurementError
from llc_lightning.runtime.workers import Workers


@dataclass
class Launched:
    """What a Trainer or a Fabric tells."""

    global_rank: int
    world_size: int


def message(workers: Workers, error: Exception | None) -> str:
    """Returns what agree raises, '' for nothing."""
    try:
        workers.agree(error)
    except MeasurementError as raised:
        return str(raised)
    return ""


def main(rank: int, world_size: int, folder: Path) -> None:
    """Runs the calls and writes the outcome."""
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'rendezvous'}",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=30),
    )
    workers = Workers.of(Launched(rank, world_size))
    mine = workers.share(list(range(5)))
    outcome = {
        "rank": workers.rank,
        "is_zero": workers.is_zero,
        "share": mine,
        "gather": workers.gather({"rank": rank}),
        "collect": workers.collect([item * 10 for item in mine]),
        "agree on nothing": message(workers, None),
        "agree on one": message(workers, FloatingPointError("chain 3 diverged") if rank == 1 else None),
        "agree on two": message(workers, RuntimeError(f"broken {rank}")),
        "after": workers.gather(rank),
    }
    workers.barrier()
    (folder / f"{rank}.json").write_text(json.dumps(outcome))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
