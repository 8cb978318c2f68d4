"""Records as trees of xarray data sets."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from llc_lightning.llc.draws import Draws
    from llc_lightning.llc.record import LLCRecord

_ATTRIBUTES = ("value", "stderr", "status", "n_beta", "gamma", "step_size")


def to_datatree(record: LLCRecord) -> xr.DataTree:
    """Returns the kept draws in the group ``posterior``, with the record as its attributes: in full as JSON."""
    import xarray as xr

    excess, loss = _kept(record)
    dims = ("chain", "draw")
    chains, draws = excess.shape
    posterior = xr.Dataset(
        {"llc": (dims, record.n_beta * excess), "excess": (dims, excess), "loss": (dims, loss)},
        coords={"chain": np.arange(chains), "draw": np.arange(draws)},
        attrs={**{name: getattr(record, name) for name in _ATTRIBUTES}, "record": json.dumps(record.facts())},
    )
    root = xr.Dataset(attrs={"inference_library": "llc_lightning"})
    return xr.DataTree(root, {"posterior": xr.DataTree(posterior)})


def to_devinterp(record: LLCRecord) -> xr.DataTree:
    """Returns the kept draws as devinterp 2 keeps them: one micro-batch of one token a step.

    Its ``compute_llc`` averages ``sampling_loss_micro`` over all steps and takes ``init_loss`` off. The steps here are
    the kept draws alone, and the losses are the loss of w* plus the paired excess, so that its values per chain are
    those of the record; chains that died are NaN.
    """
    import xarray as xr

    excess, _ = _kept(record)
    steps = ("chain", "step", "batch_sampling", "token_pos")
    config: dict[str, Any] = {"sampler": {"n_beta": record.n_beta}}
    data = xr.Dataset(
        {
            "sampling_loss_micro": (steps, record.loss + excess[:, :, None, None]),
            "init_loss": (("chain", "token_pos"), np.full((len(excess), 1), record.loss)),
        },
        attrs={"metadata": {"config": config}},
    )
    return xr.DataTree(data)


def _kept(record: LLCRecord) -> tuple[Draws, Draws]:
    """Returns excess losses and losses of the kept draws, NaN in chains that died."""
    kept = slice(record.settings.burn_in, None)
    excess = record.excess[:, kept].double().cpu().numpy().copy()
    loss = excess + record.baseline[:, kept].double().cpu().numpy()
    dead = [math.isnan(value) for value in record.per_chain]
    excess[dead], loss[dead] = math.nan, math.nan
    return excess, loss
