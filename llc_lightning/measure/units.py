"""What the values of rows are counted in, and which replicate they are of: the same for every kind of measurement."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from llc_lightning.ablation.metrics import METRICS
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.results.quantities import unit_in
from llc_lightning.results.schema import Row

_METRIC = "metric:"


def told_in_full(rows: Iterable[Row], loss: ModuleLoss, *, replicate: int) -> Iterator[Row]:
    """Yields rows with their units, where they do not say them already, and with the number of the replicate.

    The unit of a loss is the module's; that of a metric its own.

    Args:
        rows: The rows of one measurement.
        loss: What was measured.
        replicate: Number of the set of random streams.
    """
    units: dict[tuple[str, str], str] = {}
    for row in rows:
        at = (row.quantity, row.loss)
        if at not in units:
            units[at] = unit_in(row.quantity, loss_unit(row.loss, loss))
        yield replace(row, unit=row.unit or units[at], replicate=replicate)


def loss_unit(name: str, loss: ModuleLoss) -> str:
    """Returns what a loss is counted in, by its name in the column ``loss``; '' where nothing says so."""
    if not name.startswith(_METRIC):
        return loss.unit_of(name)
    metric = name.removeprefix(_METRIC).partition("(")[0]
    return METRICS.get(metric).item.unit if metric in METRICS else ""
