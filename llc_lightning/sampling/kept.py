"""Traced graphs that are kept from call to call, and from snapshot to snapshot of one module."""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
from collections import OrderedDict
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from llc_lightning.components.loss import ModuleLoss, TaskLoss
from llc_lightning.runtime.batches import Batch, LossFn, Params
from llc_lightning.runtime.digest import tensor_digest
from llc_lightning.sampling.stacked import Graphs

_MOST = 16
"""Losses whose graphs are kept."""

_kept: OrderedDict[bytes, tuple[list[str], Graphs, list[object]]] = OrderedDict()
"""By what tells losses apart but for the values of buffers: these, the graphs, and what must live as long."""


def kept_graphs(loss: LossFn, params: Params, data: Batch) -> Graphs:
    """Returns the graphs that were traced of a loss before, to be added to.

    What is traced depends on all of the module but the values of ``params``, which are arguments of every graph: on its
    classes, its settings, its buffers and its edits. Graphs are shared by losses that agree in all of it; what cannot
    be told, as of a plain function, shares none.
    """
    if not isinstance(loss, ModuleLoss | TaskLoss):
        return Graphs()
    looked = _Look(loss.module, params)
    key = looked.digest(loss, {name: _form(value) for name, value in params.items()}, _structure(data), _modes())
    if key is None:
        return Graphs()
    # Buffers change with every step of training, and never come back: the graphs with the old ones go.
    if key not in _kept or _kept[key][0] != looked.buffers:
        # The objects of which identities are in the key must live as long as it.
        _kept[key] = looked.buffers, Graphs(), looked.same
    _kept.move_to_end(key)
    while len(_kept) > _MOST:
        _kept.popitem(last=False)
    return _kept[key][1]


class _Look(pickle.Pickler):
    """Writes down a loss: given tensors by their names, classes and functions by their identity, the rest by value."""

    def __init__(self, module: nn.Module, params: Params) -> None:
        self._written = io.BytesIO()
        super().__init__(self._written)
        named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
        self._names = {id(tensor): name for name, tensor in named if name in params}
        self._buffers = {id(tensor) for tensor in module.buffers()}
        self.buffers: list[str] = []
        """Digests of the buffers that are no ``params``, in the order in which they were met."""
        self.same: list[object] = []

    def digest(self, *things: object) -> bytes | None:
        """Returns what tells things from others; None where that is not known."""
        try:
            self.dump(things)
        except Exception:  # much cannot be pickled, in many ways
            return None
        return hashlib.blake2b(self._written.getvalue()).digest()

    def persistent_id(self, obj: Any) -> object:
        """Returns what stands for an object; None for those that are written by value."""
        if isinstance(obj, Tensor):
            if id(obj) in self._names:
                return self._names[id(obj)]
            digest = tensor_digest({"": obj})
            if id(obj) in self._buffers:
                self.buffers.append(digest)
            return (_form(obj), "" if id(obj) in self._buffers else digest)
        if isinstance(obj, FunctionType) and obj.__closure__:
            raise pickle.PicklingError("what a function encloses may change")
        if isinstance(obj, type | FunctionType):
            self.same.append(obj)
            return id(obj)
        metrics = sys.modules.get("torchmetrics")
        # What a metric has counted changes with every step of training, and is no part of a loss.
        return "metric" if metrics is not None and isinstance(obj, metrics.Metric) else None


def _form(value: Tensor) -> object:
    return tuple(value.shape), value.stride(), str(value.dtype), str(value.device)


def _structure(data: Batch) -> str:
    return str(pytree.tree_structure(data))


def _modes() -> object:
    """Returns what torch itself makes a graph depend on."""
    cast = [(torch.is_autocast_enabled(kind), str(torch.get_autocast_dtype(kind))) for kind in ("cpu", "cuda")]
    return str(torch.get_default_dtype()), cast, torch.are_deterministic_algorithms_enabled()
