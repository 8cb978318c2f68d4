"""Strict interchange training: the net must work whatever its heads outside of a circuit say.

The true circuit of a net trained in this way is known at every step (Gupta et al. 2024, InterpBench, arXiv:2407.14494,
who align nets with programs; here no program is needed, only the heads that may matter).
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from transformer_lens.hook_points import HookPoint

from llc_lightning.data.sequences.base import Outputs, Sequences
from llc_lightning.models.transformer_net import Transformer
from llc_lightning.runtime.errors import AddressError, DataError
from llc_lightning.runtime.seeding import generator


def heads_of(net: Transformer, circuit: dict[str, str] | None) -> Bool[Tensor, "layer head"]:
    """Returns which heads a circuit names, written ``layer.head`` and counted from 0; none where there is no circuit.

    Raises:
        AddressError: If one cannot be read or is not in the net, or if the circuit is empty.
    """
    if circuit is not None and not circuit:
        raise AddressError("the circuit names no head; name some, such as '0.1', or give null to train as usual.")
    named = torch.zeros(net.shape.n_layers, net.shape.n_heads, dtype=torch.bool)
    for name in circuit or {}:
        layer, point, head = name.partition(".")
        inside = layer.isdecimal() and head.isdecimal() and int(layer) < len(named) and int(head) < named.shape[1]
        if not point or not inside or name != f"{int(layer)}.{int(head)}":
            raise AddressError(
                f"the circuit names the head {name!r}; write layer.head, from '0.0' to "
                f"'{len(named) - 1}.{named.shape[1] - 1}'."
            )
        named[int(layer), int(head)] = True
    return named


def interchanged_outputs(
    net: Transformer, batch: Sequences, inside: Bool[Tensor, "layer head"], *, seed: int, draw: int
) -> Outputs:
    """Returns the outputs with heads outside of the circuit speaking about other sequences.

    Every sequence draws a probability u from [0, 1], and each of its heads outside of the circuit takes, with
    probability u, the output that it has on a donor: another sequence of the batch. No gradient flows into donors.

    Args:
        net: The net.
        batch: Its examples; only the inputs are used.
        inside: Which heads are the circuit.
        seed: The run's seed.
        draw: A number that no other step or rank has; what is exchanged is a function of (seed, draw).
    """
    inputs = batch[0]
    if len(inputs) < 2:
        raise DataError("a batch has one sequence, which no other can be exchanged with; give batch_size at least 2.")
    draws = generator(seed, "interchange", draw)
    order = torch.randperm(len(inputs), generator=draws)
    donors: Int64[Tensor, "example"] = torch.empty_like(order)
    donors[order] = order.roll(1)
    rate: Float[Tensor, "example 1 1"] = torch.rand(len(inputs), 1, 1, generator=draws)
    swapped = (torch.rand(len(inputs), *inside.shape, generator=draws) < rate) & ~inside
    swapped, donors = swapped.to(inputs.device), donors.to(inputs.device)
    points = [f"blocks.{layer}.attn.hook_z" for layer in range(len(inside))]
    untyped: Any = net
    with torch.no_grad():
        _, cache = untyped.run_with_cache(inputs, names_filter=points)

    def swap(z: Tensor, hook: HookPoint) -> Tensor:
        mask = swapped[:, hook.layer()]
        return torch.where(mask[:, None, :, None], cache[hook.name][donors], z)

    return untyped.run_with_hooks(inputs, fwd_hooks=[(point, swap) for point in points])
