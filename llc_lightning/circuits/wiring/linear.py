"""Networks without a residual stream: the single weights of their linear layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.wiring.base import FAMILIES, GraphOptions, Reader, Sender, UnitMap, Wiring
from llc_lightning.components.component import Component
from llc_lightning.components.hooks import INPUT, submodules


@FAMILIES.register("linear", summary="MLPs and other networks of linear layers, from unit to unit")
def linear(module: nn.Module, options: GraphOptions) -> Wiring | None:
    """Returns the connections from each input to each output of every linear layer, which are its weights.

    What is exchanged is one input for one output: ``W[i, j]`` times the difference is added to output i.
    """
    layers = {path: part for path, part in submodules(module).items() if type(part) is nn.Linear}
    if not layers or any(isinstance(part, nn.MultiheadAttention) for part in module.modules()):
        return None
    senders: dict[str, Sender] = {}
    readers: dict[str, Reader] = {}
    edges: list[Edge] = []
    for path, layer in layers.items():
        writes = UnitMap(f"{path}.weight", _one_hot)
        added = "bias" in dict(layer.named_parameters())
        reads = UnitMap(f"{path}.weight", _rows, f"{path}.bias", _numbers if added else None)
        point = f"{path}{INPUT}"
        inputs = [Component(f"{point}[{j}]", "neuron", point, (j,)) for j in range(layer.in_features)]
        outputs = [Component(f"{path}[{i}]", "neuron_in", path, (i,)) for i in range(layer.out_features)]
        senders.update((one.address, Sender(one, (writes,), j)) for j, one in enumerate(inputs))
        readers.update((one.address, Reader(one, point, "", reads, i)) for i, one in enumerate(outputs))
        edges += [Edge(sender.address, reader.address) for reader in outputs for sender in inputs]
    return Wiring(senders, readers, tuple(edges))


def _one_hot(weight: Tensor) -> Tensor:
    return torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)[:, None]


def _rows(weight: Tensor) -> Tensor:
    return weight[:, :, None]


def _numbers(bias: Tensor) -> Tensor:
    return bias[:, None]
