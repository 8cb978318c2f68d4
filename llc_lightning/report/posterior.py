"""Pictures of posterior structure: the loss kernel in order, and how components respond to examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llc_lightning.analysis.kernel import Clustering, correlation

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_MOST = 40
"""Components that are named beside the response matrix."""


def posterior_picture(arrays: xr.Dataset, found: Clustering) -> Figure:
    """Returns the kernel as correlations with neighbours that move together, above the response of every component.

    Args:
        arrays: As a measurement of posterior structure leaves them.
        found: Their clustering.
    """
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(8.6, 9.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=(3, 2))
    # Tasks first, then what moves together; without tasks the latter alone.
    place = {int(example): at for at, example in enumerate(found.order)}
    order = sorted(range(len(found.order)), key=lambda one: (int(found.labels[one]), place[one]))
    related = correlation(np.asarray(arrays["kernel"].values, dtype=np.float64))[np.ix_(order, order)]
    image = top.imshow(related, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=top, label="correlation of losses")
    _mark(top, found, order)
    where = f"step {arrays.attrs['step']}, n_beta {arrays.attrs['n_beta']:g}, gamma {arrays.attrs['gamma']:g}"
    statuses = [str(one) for one in arrays["status"].values]
    doubt = "" if statuses[0] == "ok" else f"\nchains of the whole model: {statuses[0]}"
    top.set_title(f"Loss kernel of {len(order)} watched examples at {where}{doubt}", fontsize=10)
    response = np.asarray(arrays["susceptibility"].values, dtype=np.float64)[:, order]
    names = [str(one) or "all" for one in arrays["component"].values]
    names = [name if status == "ok" else f"{name} (flagged)" for name, status in zip(names, statuses, strict=True)]
    # Each on its own scale: components differ by orders of magnitude.
    largest = np.nan_to_num(np.abs(response)).max(1, keepdims=True)
    relative = np.divide(response, largest, out=np.zeros_like(response), where=largest > 0)
    image = bottom.imshow(relative, cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    figure.colorbar(image, ax=bottom, label="susceptibility, of the component's largest")
    if len(names) <= _MOST:
        bottom.set_yticks(range(len(names)), names, fontsize=7)
    bottom.set_xlabel("watched example, in the order above")
    bottom.set_title("Plain susceptibility of each component to each example", fontsize=10)
    return figure


def _mark(axes: Any, found: Clustering, order: list[int]) -> None:
    """Names the tasks beside the stretches that their examples take."""
    labels = [int(found.labels[one]) for one in order]
    named = dict(zip(sorted(set(labels) - {-1}), found.names, strict=True))
    stretches = {label: [at for at, other in enumerate(labels) if other == label] for label in dict.fromkeys(labels)}
    axes.set_xticks([])
    if not named:
        axes.set_yticks([])
        return
    names = [named.get(label, "several or none") for label in stretches]
    axes.set_yticks([float(np.mean(places)) for places in stretches.values()], names, fontsize=8)
    for places in list(stretches.values())[1:]:
        axes.axhline(places[0] - 0.5, color="black", linewidth=0.6)
        axes.axvline(places[0] - 0.5, color="black", linewidth=0.6)
