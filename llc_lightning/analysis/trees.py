"""Posterior structure in the form that devinterp 2 reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llc_lightning.runtime.errors import SettingError

if TYPE_CHECKING:
    import xarray as xr


def to_devinterp(arrays: xr.Dataset) -> dict[str, xr.DataTree]:
    """Returns one tree for the whole model, ``full``, and one for each component, by address.

    They are what ``devinterp.slt.bif.compute_bif`` (a tree, with ``correlation_method="sequence"``) and
    ``devinterp.slt.susceptibilities.compute_susceptibilities`` (all of them, with ``sampling_task="watched"`` and
    ``include_sampling_task=True``) take: every watched example as a sequence of one token, whose id is its number.
    Their values are plain moments of all draws; those of the arrays are without the bias of few chains.

    Args:
        arrays: As a measurement of posterior structure with ``raw=True`` leaves them.

    Raises:
        SettingError: If the draws were not kept.
    """
    import xarray as xr

    if "excess" not in arrays:
        raise SettingError("the draws of these posterior arrays were not kept; measure with raw=True.")
    at_weights = np.asarray(arrays["loss"].values, dtype=np.float64)
    numbers = np.asarray(arrays["example"].values)[:, None]
    trees: dict[str, xr.DataTree] = {}
    for name, excess in zip(arrays["component"].values, arrays["excess"].values, strict=True):
        losses = (at_weights + excess.astype(np.float64))[..., None]
        variables = {
            "loss_watched": (("chain", "draw", "batch_watched", "token_pos"), losses),
            "input_ids_watched": (("batch_watched", "token"), numbers),
            "init_loss": (("chain", "token_pos"), np.full((len(excess), 1), at_weights.mean())),
        }
        trees[str(name) or "full"] = xr.DataTree(xr.Dataset(variables))
    return trees
