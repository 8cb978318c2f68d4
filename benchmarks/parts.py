"""Components of the timed networks as parts to estimate: neurons, layers of an MLP, heads and MLPs of a transformer."""

from __future__ import annotations

import torch
from torch import Tensor

from llc_lightning.llc.settings import Restriction
from llc_lightning.runtime.batches import Params


def layers(params: Params) -> list[Restriction]:
    """Returns one part for every linear layer of an MLP: its weight and bias."""
    names = sorted({name.rpartition(".")[0] for name in params})
    return [Restriction(_whole(params, f"{name}.")) for name in names]


def neurons(params: Params) -> list[Restriction]:
    """Returns one part for every hidden neuron of a net with one hidden layer: incoming row, bias, outgoing column."""
    return [
        Restriction({name: _unit(name, value, j) for name, value in params.items() if name != "net.W_out.bias"})
        for j in range(len(params["net.W_in.bias"]))
    ]


def _unit(name: str, value: Tensor, unit: int) -> Tensor:
    mask = torch.zeros_like(value, dtype=torch.bool)
    mask[(slice(None), unit) if name == "net.W_out.weight" else unit] = True
    return mask


def heads_and_mlps(params: Params, heads: int = 4) -> list[Restriction]:
    """Returns one part for every head and every MLP of a transformer.

    A head is its rows of the query, key and value weights and biases, and its columns of the output weight.
    """
    blocks = sorted({".".join(name.split(".")[:2]) for name in params if name.startswith("blocks.")})
    return [
        *(_head(params, block, head, heads) for block in blocks for head in range(heads)),
        *(Restriction(_whole(params, f"{block}.inner.") | _whole(params, f"{block}.outer.")) for block in blocks),
    ]


def _whole(params: Params, prefix: str) -> dict[str, Tensor]:
    return {name: torch.ones_like(value, dtype=torch.bool) for name, value in params.items() if name.startswith(prefix)}


def _head(params: Params, block: str, head: int, heads: int) -> Restriction:
    width = params[f"{block}.attention.o.weight"].shape[0] // heads
    units = slice(head * width, (head + 1) * width)
    masks: dict[str, Tensor] = {}
    for name in ("q.weight", "q.bias", "k.weight", "k.bias", "v.weight", "v.bias", "o.weight"):
        mask = torch.zeros_like(params[f"{block}.attention.{name}"], dtype=torch.bool)
        if name == "o.weight":
            mask[:, units] = True
        else:
            mask[units] = True
        masks[f"{block}.attention.{name}"] = mask
    return Restriction(masks)
