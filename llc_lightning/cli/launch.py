"""Starts the processes that share the work of a command."""

from collections.abc import Generator
from contextlib import contextmanager

from lightning.fabric import Fabric

from llc_lightning.runtime.errors import SettingError, at_least, one_line
from llc_lightning.runtime.workers import Workers, leave_peers


@contextmanager
def launched(accelerator: str, devices: int, nodes: int) -> Generator[Fabric | None]:
    """Yields Fabric with its processes running, each of which runs the command; None for one process on the CPU.

    Args:
        accelerator: What to compute on.
        devices: Processes on each host, one for each device.
        nodes: Hosts; the command is started on each, by torchrun or srun.

    Raises:
        SettingError: If a number is below 1, or the host has no such devices.
    """
    at_least(1, devices=devices, nodes=nodes)
    several = devices * nodes > 1
    if accelerator == "cpu" and not several:
        yield None
        return
    strategy = "ddp" if several else "auto"
    try:
        fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, strategy=strategy)
    except (RuntimeError, ValueError) as error:
        raise SettingError(
            f"cannot compute on {devices} of accelerator {accelerator!r}: {one_line(error)}; choose another with "
            "--accelerator, or fewer with --devices."
        ) from error
    fabric.launch()
    yield fabric
    if several:
        workers = Workers.of(fabric)
        workers.meet()
        workers.barrier()  # until nobody asks the store of the first process any more
        leave_peers()
