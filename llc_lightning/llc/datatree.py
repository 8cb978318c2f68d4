"""Draws as trees of xarray data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from llc_lightning.llc.draws import Draws

if TYPE_CHECKING:
    import xarray as xr

_ATTRIBUTES = ("value", "stderr", "status", "n_beta", "gamma", "step_size")


def to_datatree(excess: Draws, loss: Draws, *, n_beta: float, facts: Mapping[str, Any]) -> xr.DataTree:
    """Returns the kept draws in the group ``posterior``, with the facts of their record as attributes: in full as JSON.

    Args:
        excess: Excess losses, [chain, draw].
        loss: Losses, [chain, draw].
        n_beta: What the excess is multiplied by.
        facts: A nest of plain values.
    """
    import xarray as xr

    dims = ("chain", "draw")
    chains, draws = excess.shape
    posterior = xr.Dataset(
        {"llc": (dims, n_beta * excess), "excess": (dims, excess), "loss": (dims, loss)},
        coords={"chain": np.arange(chains), "draw": np.arange(draws)},
        attrs={**{name: facts[name] for name in _ATTRIBUTES}, "record": json.dumps(facts)},
    )
    root = xr.Dataset(attrs={"inference_library": "llc_lightning"})
    return xr.DataTree(root, {"posterior": xr.DataTree(posterior)})


def to_devinterp(excess: Draws, *, n_beta: float, loss: float) -> xr.DataTree:
    """Returns the kept draws as devinterp 2 keeps them: one micro-batch of one token a step.

    Its ``compute_llc`` averages ``sampling_loss_micro`` over all steps and takes ``init_loss`` off. The steps here are
    the kept draws alone, and the losses are the loss of w* plus the paired excess, so that its values per chain are
    those of the record; chains that died are NaN.

    Args:
        excess: Excess losses, [chain, draw].
        n_beta: Inverse temperature times sample size.
        loss: That of w*.
    """
    import xarray as xr

    steps = ("chain", "step", "batch_sampling", "token_pos")
    config: dict[str, Any] = {"sampler": {"n_beta": n_beta}}
    data = xr.Dataset(
        {
            "sampling_loss_micro": (steps, loss + excess[:, :, None, None]),
            "init_loss": (("chain", "token_pos"), np.full((len(excess), 1), loss)),
        },
        attrs={"metadata": {"config": config}},
    )
    return xr.DataTree(data)
