"""What draws know of single examples: which of them move together, and how components respond to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llc_lightning.analysis.kernel import Clustering, clustering, correlation
from llc_lightning.report.panel import Matrix
from llc_lightning.report.panels.curves import short_names
from llc_lightning.report.sections import PANELS, View

if TYPE_CHECKING:
    import xarray as xr

_MOST = 64
"""So many examples are drawn."""
_OF_A_TASK = 8
"""So many of each task at least, as far as there are."""


def kernel(arrays: xr.Dataset) -> Matrix | None:
    """Returns the correlations of the losses of watched examples, neighbours beside each other; None without chains."""
    if "kernel" not in arrays:
        return None
    found = clustering(arrays)
    order = _order(found)
    related = correlation(np.asarray(arrays["kernel"].values, dtype=np.float64))[np.ix_(order, order)]
    names = _names(arrays, found, order)
    told = ""
    if np.isfinite(found.neighbours):
        chance = f"{found.neighbours_shuffled:.0%} by chance"
        told = f": the nearest neighbour has the same task for {found.neighbours:.0%} ({chance})"
    return Matrix(
        name="loss-kernel",
        title=f"Which examples move together at step {arrays.attrs['step']}{told}",
        x_label="watched example",
        y_label="watched example",
        rows=names,
        columns=names,
        values=related.clip(0),
        unit="correlation of losses over the posterior",
        caption=f"{_where(arrays)} Negative correlations are drawn as 0.{_left_out(arrays, found, order)}",
    )


def response(arrays: xr.Dataset) -> Matrix | None:
    """Returns the size of every component's susceptibility to every watched example; None without components."""
    names = [str(name) for name in arrays["component"].values]
    parts = [at for at, name in enumerate(names) if name]
    if len(parts) < 2 or "kernel" not in arrays:
        return None
    found = clustering(arrays)
    order = _order(found)
    sizes = np.abs(np.asarray(arrays["susceptibility"].values, dtype=np.float64))[np.ix_(parts, order)]
    largest = np.nan_to_num(sizes).max(1, keepdims=True)
    relative = np.divide(sizes, largest, out=np.full_like(sizes, np.nan), where=largest > 0)
    return Matrix(
        name="responses",
        title=f"Which examples each component responds to at step {arrays.attrs['step']}",
        x_label="watched example",
        y_label="component",
        rows=short_names([names[at] for at in parts]),
        columns=_names(arrays, found, order),
        values=relative,
        unit="size of the susceptibility, of the component's largest",
        caption=f"{_where(arrays)} Each row on its own scale.{_left_out(arrays, found, order)}",
    )


def _order(found: Clustering) -> list[int]:
    """Returns examples in order, those of one task beside each other; where there are many, some of the first tasks."""
    place = {int(example): at for at, example in enumerate(found.order)}
    order = sorted(range(len(found.order)), key=lambda one: (int(found.labels[one]), place[one]))
    if len(found.names) < 2:
        return _spread(order, _MOST)
    by_task = [
        [one for one in order if found.labels[one] == task] for task in sorted(set(found.labels.tolist()) - {-1})
    ]
    each = max(_OF_A_TASK, _MOST // len(by_task))
    return [one for some in by_task[: _MOST // each] for one in _spread(some, each)]


def _spread(some: list[int], most: int) -> list[int]:
    return [some[at] for at in np.unique(np.linspace(0, len(some) - 1, min(most, len(some))).astype(int))]


def _names(arrays: xr.Dataset, found: Clustering, order: list[int]) -> tuple[str, ...]:
    """Returns the numbers of examples, with the task of those that have one."""
    named = dict(zip(sorted(set(found.labels.tolist()) - {-1}), found.names, strict=True))
    numbers = arrays["example"].values
    tasks = [named.get(int(found.labels[one]), "").partition(":")[2] for one in order]
    return tuple(f"{task} #{numbers[one]}".strip() for task, one in zip(tasks, order, strict=True))


def _where(arrays: xr.Dataset) -> str:
    facts, status = arrays.attrs, str(arrays["status"].values[0])
    doubt = "" if status == "ok" else f" Not to be trusted yet: the chains of the whole model are {status}."
    return f"n_beta {facts['n_beta']:g}, gamma {facts['gamma']:g}.{doubt}"


def _left_out(arrays: xr.Dataset, found: Clustering, order: list[int]) -> str:
    every = arrays.sizes["example"]
    first = ", those with one task first" if len(found.names) > 1 else ""
    return f" {len(order)} of {every} watched examples{first}." if len(order) < every else ""


@PANELS.register(
    "posterior",
    summary="what draws know of single examples",
    section="Examples",
    place=65,
    quantities=(),
)
def _drawn(view: View) -> list[Matrix | None]:
    return [] if view.posterior is None else [kernel(view.posterior), response(view.posterior)]
