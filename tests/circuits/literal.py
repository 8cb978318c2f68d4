"""The slow, literal way to exchange what one reader hears of one sender: two forward passes with everything frozen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.graph import Graph
from llc_lightning.components.loss import Edit, ModuleLoss
from llc_lightning.components.ports import replaced
from llc_lightning.runtime.batches import Batch, Params

_SAYS = re.compile(r".*(hook_embed|hook_pos_embed|attn\.hook_z|hook_mlp_out)")
HEAD = 4
"""Features of a head where they stand side by side."""
_UNIT = re.compile(r"(?P<point>[^\[]+)(?:\[(?P<unit>\d+)\])?")


def parts(address: str) -> Iterator[tuple[str, int | None]]:
    """Yields the hook points and units of an address."""
    for one in address.split("+"):
        found = _UNIT.fullmatch(one)
        assert found is not None
        yield found["point"], None if found["unit"] is None else int(found["unit"])


def heard_and_said(loss: ModuleLoss, params: Params, batch: Batch, graph: Graph) -> dict[str, Tensor]:
    """Returns the activations of the clean run wherever a sender or a reader is."""
    return loss.activations(
        params, batch, [point for one in (*graph.senders, *graph.readers) for point, _ in parts(one)]
    )


def put(values: Tensor, unit: int | None, given: Tensor) -> Tensor:
    """Returns activations with one head's, or all, taken from others."""
    if unit is None:
        return given
    changed, given = (one.unflatten(-1, (-1, HEAD)) if one.ndim == 3 else one for one in (values.clone(), given))
    changed[:, :, unit] = given[:, :, unit]
    return changed.view(values.shape)


def losses(
    loss: ModuleLoss, params: Params, batch: Batch, edge: Edge, given: Mapping[str, Tensor], clean: Mapping[str, Tensor]
) -> Tensor:
    """Returns the losses when the reader alone hears, directly, what is given for the sender.

    First all senders are frozen at what they say in the clean run, but for the one, which says what is given, and what
    the reader computes is written down. Then the clean run is made with that in the reader's place.
    """
    said = {point: values for point, values in clean.items() if _SAYS.fullmatch(point)}
    for point, unit in parts(edge.sender):
        said[point] = put(said[point], unit, given[point])
    everything = torch.ones(1, dtype=torch.bool)
    frozen = loss.with_edits([Edit(point, everything, values) for point, values in said.items()])
    ((reader, unit),) = parts(edge.reader)
    heard = frozen.activations(params, batch, [reader])[reader]
    return loss.with_edits([Edit(reader, everything, put(clean[reader], unit, heard))])(params, batch)


def weight_losses(module: nn.Module, batch: Batch, edge: Edge, given: Tensor) -> Tensor:
    """Returns the losses when one output of a linear layer gets one of its inputs from elsewhere."""
    (point, j), (path, i) = next(parts(edge.sender)), next(parts(edge.reader))
    layer = module.get_submodule(path)
    assert isinstance(layer, nn.Linear)
    assert j is not None
    assert i is not None
    heard: list[Tensor] = []

    def change(output: Tensor) -> Tensor:
        changed = output.clone()
        changed[..., i] += layer.weight[i, j] * (given[..., j] - heard[-1][..., j])
        return changed

    def listen(values: Tensor) -> Tensor:
        heard.append(values)
        return values

    with ExitStack() as hooks, torch.no_grad():
        hooks.enter_context(replaced(module, point, listen))
        hooks.enter_context(replaced(module, path, change))
        loss: Tensor = module.per_example_loss(batch)  # pyright: ignore[reportCallIssue, reportAssignmentType]
    return loss
