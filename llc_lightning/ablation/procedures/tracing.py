"""Causal tracing: where restoring clean activations undoes a corruption."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.engine.place import ablatable
from llc_lightning.ablation.procedures.patching import activations, patch
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, check_partners
from llc_lightning.runtime.errors import SettingError


def tracing(
    loss: ModuleLoss,
    params: Params,
    clean: Batch,
    corrupted: Batch,
    layers: str | Component | Sequence[str | Component],
    *,
    window: int = 1,
) -> Float[Tensor, "layer example"]:
    """Returns for every layer how much restoring a window of layers around it changes the corrupted run's loss.

    Layer l restores the clean activations of the layers ``l - window // 2 .. l + window // 2``, as far as there are
    such (Meng et al. 2022, arXiv:2202.05262: windows of 10; a window of 1 is the patching of single layers). Values
    below 0 restore. The corruption is in the examples: tokens exchanged, or inputs with noise.

    Args:
        loss: The module's loss.
        params: The weights.
        clean: The examples.
        corrupted: The same examples, corrupted, with the targets that the loss is about.
        layers: What to restore in each layer, in the order of the layers: attention or MLP outputs, at positions or
            at all of them; components, or what ``find_components`` understands.
        window: How many layers to restore, an odd number.

    Raises:
        SettingError: If the window is even or below 1.
        AddressError: If a layer is unknown or has no activation, or there is none.
        DataError: If there is not one corrupted example of its form for each example.
    """
    if window < 1 or window % 2 == 0:
        raise SettingError(f"window is {window}; give an odd number of layers, such as 1 or 5.")
    traced = ablatable(find_components(loss.module, layers))
    check_partners(corrupted, clean, what="corrupted examples")
    with torch.no_grad():
        values = activations(loss, params, clean, [member.point for layer in traced for member in layer.members])
        base = loss(params, corrupted)
        restored: list[Tensor] = []
        for place in range(len(traced)):
            near = traced[max(0, place - window // 2) : place + window // 2 + 1]
            edits = [edit for layer in near for edit in patch(layer, values)]
            restored.append(loss.with_edits(edits)(params, corrupted) - base)
    return torch.stack(restored)
