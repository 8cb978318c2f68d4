"""Causal tracing: where restoring clean activations undoes a corruption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llc_lightning.ablation.engine.place import ablatable
from llc_lightning.ablation.metrics import Metric
from llc_lightning.ablation.procedures.patching import patches, patching_table
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, check_partners
from llc_lightning.runtime.errors import SettingError

if TYPE_CHECKING:
    import pandas as pd


def tracing(
    loss: ModuleLoss,
    params: Params,
    clean: Batch,
    corrupted: Batch,
    layers: str | Component | Sequence[str | Component],
    *,
    window: int = 1,
    metrics: str | Metric | Sequence[str | Metric] = (),
    mask: str = "",
) -> pd.DataFrame:
    """Returns for every layer how much restoring a window of layers around it changes the corrupted run's loss.

    Layer l restores the clean activations of the layers ``l - window // 2 .. l + window // 2``, as far as there are
    such (Meng et al. 2022, arXiv:2202.05262: windows of 10; a window of 1 is the patching of single layers). Values
    below 0 restore. The corruption is in the examples: tokens exchanged, or inputs with noise. The columns are those of
    ``patching(noising=False)``: ``normalised`` is the share that is restored.

    Args:
        loss: The module's loss.
        params: The weights.
        clean: The examples.
        corrupted: The same examples, corrupted, with the targets that the loss is about.
        layers: What to restore in each layer, in the order of the layers: attention or MLP outputs, at positions or
            at all of them; components, or what ``find_components`` understands.
        window: How many layers to restore, an odd number.
        metrics: What else to measure, as in ``ablation_effects``; they compare with the clean examples.
        mask: Which positions count, as in ``ablation_effects``.

    Raises:
        SettingError: If the window is even or below 1, or a metric or the mask is not allowed.
        AddressError: If a layer is unknown or has no activation, or there is none.
        DataError: If there is not one corrupted example of its form for each example.
    """
    if window < 1 or window % 2 == 0:
        raise SettingError(f"window is {window}; give an odd number of layers, such as 1 or 5.")
    traced = ablatable(find_components(loss.listing, layers))
    check_partners(corrupted, clean, what="corrupted examples")
    windows = [_around(traced, place, window) for place in range(len(traced))]
    found = patches(loss, params, clean, corrupted, windows, noising=False, metrics=metrics, mask=mask)
    return patching_table(found, "tracing" if window == 1 else f"tracing(window={window})")


def _around(layers: Sequence[Component], place: int, window: int) -> Component:
    """Returns a layer and its neighbours as one component, under the layer's address."""
    near = layers[max(0, place - window // 2) : place + window // 2 + 1]
    members = tuple(member for layer in near for member in layer.members)
    return layers[place] if len(near) == 1 else replace(layers[place], parts=members, point=members[0].point)
