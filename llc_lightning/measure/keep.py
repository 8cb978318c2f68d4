"""What becomes of a measurement: its rows, traces and arrays, and what it cost, as files of a run."""

from pathlib import Path

from llc_lightning.measure.measurements import Outcome
from llc_lightning.results.arrays import write_arrays
from llc_lightning.results.left_out import forget_left_out
from llc_lightning.results.run import run_name
from llc_lightning.results.schema import RAW, Weights
from llc_lightning.results.store import Store, part_name
from llc_lightning.results.timings import write_timing
from llc_lightning.results.traces import write_trace


def part_of(step: int, name: str, *, weights: Weights = RAW, replicate: int = 0, revision: int = 1) -> str:
    """Returns the name of the part that holds one measurement; each revision has parts of its own, which none replaces.

    Args:
        step: Optimizer updates done.
        name: Name of the callback, or what else measured.
        weights: Which weights were measured.
        replicate: Number of the set of random streams.
        revision: Of the plan.

    Example:
        >>> part_of(500, "llc"), part_of(500, "llc", replicate=1, revision=2)
        ('step=00000500-llc', 'step=00000500-llc-replicate=1-revision=2')
    """
    name = name if weights == RAW else f"{name}-weights={weights}"
    numbers = [f"-replicate={replicate}"] * (replicate > 0) + [f"-revision={revision}"] * (revision > 1)
    return part_name(step, "".join([name, *numbers]))


def keep(
    folder: Path,
    part: str,
    outcome: Outcome,
    *,
    step: int,
    traces: bool = True,
    processes: int = 1,
    beside: bool = False,
) -> list[Path]:
    """Writes a measurement into the folder of a run, replacing an older one of the same part.

    Args:
        folder: The run folder; only one process may write a part of it at a time.
        part: What ``part_of`` gives.
        outcome: What was measured.
        step: Optimizer updates done.
        traces: Whether to keep every draw of every chain.
        processes: How many processes shared the work.
        beside: Whether no training has waited for it.

    Returns:
        The files that hold measurements; not that of the timing.

    Raises:
        SettingError: If two rows have the same key.
        StoreError: If the disk is full, or the folder cannot be written to.
    """
    others: list[Path] = []
    if traces and outcome.traces:
        others.append(write_trace(folder, part, outcome.traces, run=run_name(folder), step=step))
    if outcome.arrays is not None:
        others.append(write_arrays(folder, part, outcome.arrays))
    write_timing(folder, part, seconds=outcome.seconds, step=step, processes=processes, beside=beside)
    forget_left_out(folder, part)
    # Rows come last: what has some is taken as measured, and never again.
    return [Store(folder).write(part, outcome.rows), *others]
