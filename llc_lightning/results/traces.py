"""The losses of every draw of every chain, kept as Zarr in one zip file and read as xarray."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from llc_lightning.results.archives import list_archives, read_archive, write_archive
from llc_lightning.runtime.errors import SettingError

if TYPE_CHECKING:
    import xarray as xr

FOLDER = "traces"


@dataclass(frozen=True)
class Trace:
    """The draws behind one estimate, burn-in left out."""

    component: str
    """Address of the component whose weights moved; '' for all weights."""
    n_beta: float
    gamma: float
    excess: Float[Tensor, "chain draw"]
    """Loss minus the loss of w* on the same minibatch, in the unit of the loss."""
    loss: Float[Tensor, "chain draw"]
    """Loss on the minibatch, in the unit of the loss."""
    replicate: int = 0
    settings: str = ""
    """``settings_hash`` of the job, as in the measurement table."""
    status: str = "ok"

    def __post_init__(self) -> None:
        if self.excess.shape != self.loss.shape or self.excess.ndim != 2 or self.excess.numel() == 0:
            raise SettingError(
                f"a trace has excess losses of shape {tuple(self.excess.shape)} and losses of shape "
                f"{tuple(self.loss.shape)}; give both the same shape (chains, draws), neither 0."
            )


def write_trace(
    folder: Path, part: str, traces: Sequence[Trace], *, run: str, step: int, **more: str | int | float
) -> Path:
    """Writes the traces of one measurement, replacing the file whole; equal traces give equal bytes.

    Args:
        folder: The run folder.
        part: Name of the part, as ``part_name`` gives it.
        traces: One for each estimate; the numbers of chains and draws may differ.
        run: Name of the run, as in the measurement table.
        step: Optimizer updates done.
        **more: What else holds for all estimates, such as the sampler.

    Returns:
        The path of the file.

    Raises:
        SettingError: If there is no trace, or the name cannot be a file.
        StoreError: If the disk is full, or the folder cannot be written to.
    """
    if not traces:
        raise SettingError(f"the part {part!r} has no trace; give at least one, or do not write it.")
    return write_archive(folder, FOLDER, part, _tree(traces, {"run": run, "step": step, **more}))


def read_trace(path: str | Path) -> "xr.DataTree":
    """Returns the traces in a file, loaded into memory, after checking its SHA-256 against the run's manifest.

    Estimates with equal numbers of chains and draws share a group; the groups are ``posterior`` (where ArviZ looks
    first), ``posterior_2`` and so on. Each has the dimensions (estimate, chain, draw), the variables ``excess`` and
    ``loss`` and, along ``estimate``, the coordinates component, n_beta, gamma, replicate, settings and status.

    Args:
        path: A file in the folder ``traces`` of a run.

    Raises:
        StoreError: If the file is missing, no trace, unlisted or damaged.
    """
    import xarray as xr

    tree = read_archive(path, FOLDER, of="traces")
    # The groups of a store come in no particular order.
    return xr.DataTree(tree.to_dataset(), {name: tree.children[name] for name in sorted(tree.children)})


def estimates(tree: "xr.DataTree") -> "Iterator[xr.Dataset]":
    """Yields each estimate of all groups by itself, with the dimensions (chain, draw)."""
    for node in tree.children.values():
        group = node.to_dataset()
        for i in range(group.sizes["estimate"]):
            yield group.isel(estimate=i)


def list_traces(run: Path) -> dict[str, Path]:
    """Returns the files of traces of a run by the name of their part."""
    return list_archives(run, FOLDER)


def _tree(traces: Sequence[Trace], attributes: dict[str, Any]) -> "xr.DataTree":
    import xarray as xr

    shapes = list(dict.fromkeys(tuple(trace.loss.shape) for trace in traces))
    groups = {
        "posterior" if i == 0 else f"posterior_{i + 1}": _group([t for t in traces if tuple(t.loss.shape) == shape])
        for i, shape in enumerate(shapes)
    }
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attributes), **groups})  # pyright: ignore[reportUnknownMemberType]


def _group(traces: Sequence[Trace]) -> "xr.Dataset":
    import numpy as np
    import xarray as xr

    chains, draws = traces[0].loss.shape
    dims = ("estimate", "chain", "draw")
    variables = {
        name: (dims, np.stack([getattr(trace, name).numpy(force=True) for trace in traces]))
        for name in ("excess", "loss")
    }
    labels = ("component", "n_beta", "gamma", "replicate", "settings", "status")
    along = {name: ("estimate", np.array([getattr(trace, name) for trace in traces])) for name in labels}
    return xr.Dataset(variables, coords={**along, "chain": np.arange(chains), "draw": np.arange(draws)})
