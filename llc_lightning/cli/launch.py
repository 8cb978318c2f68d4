"""Starts the processes that share the work of a command."""

from collections.abc import Generator
from contextlib import contextmanager

from lightning.fabric import Fabric

from llc_lightning.runtime.errors import at_least
from llc_lightning.runtime.workers import Workers, leave_peers


@contextmanager
def launched(accelerator: str, devices: int, nodes: int) -> Generator[Fabric | None]:
    """Yields Fabric with its processes running, each of which runs the command; None for one process on the CPU.

    Args:
        accelerator: What to compute on.
        devices: Processes on each host, one for each device.
        nodes: Hosts; the command is started on each, by torchrun or srun.

    Raises:
        SettingError: If a number is below 1.
    """
    at_least(1, devices=devices, nodes=nodes)
    several = devices * nodes > 1
    if accelerator == "cpu" and not several:
        yield None
        return
    fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, strategy="ddp" if several else "auto")
    fabric.launch()
    yield fabric
    if several:
        workers = Workers.of(fabric)
        workers.meet()
        workers.barrier()  # until nobody asks the store of the first process any more
        leave_peers()
