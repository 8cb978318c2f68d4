"""Path patching: what one component tells another directly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.mask import Counting, Mask
from llc_lightning.ablation.engine.place import check_ablatable, in_common
from llc_lightning.ablation.engine.unread import hears
from llc_lightning.ablation.metrics import Metric
from llc_lightning.ablation.procedures.patching import activations, patch, patches, patching_table, plain_examples
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, check_partners, for_params
from llc_lightning.runtime.errors import SettingError

if TYPE_CHECKING:
    import pandas as pd


def path_patching(
    loss: ModuleLoss,
    params: Params,
    clean: Batch,
    donor: Batch,
    *,
    sender: str | Component,
    receivers: str | Component | Sequence[str | Component],
    frozen: str | Component | Sequence[str | Component],
    metrics: str | Metric | Sequence[str | Metric] = (),
    mask: str = "",
) -> pd.DataFrame:
    """Returns the effect of the receivers alone hearing the sender's donor activation, as ``patching`` does: one path.

    In a run on the clean examples the sender takes its activation from the donors while everything in ``frozen`` keeps
    its clean one, so that what the receivers read changes along the paths that are left: the direct one, and those
    through parts that are not frozen. What they read there is then put into a clean run (Wang et al. 2022,
    arXiv:2211.00593; Goldowsky-Dill et al. 2023, arXiv:2304.05969).

    Args:
        loss: The module's loss.
        params: The weights.
        clean: The examples.
        donor: As many examples, each the partner of the one in its place.
        sender: Whose message is exchanged, such as a head's ``hook_z``.
        receivers: Who hears it: hook points of what is read, such as a head's ``hook_k``, or of the output.
        frozen: What keeps its clean activation, such as ``hook_z`` of all heads, without the MLPs (live) or with their
            ``hook_mlp_out`` (frozen). The sender's own entries are never frozen. All three are components, or what
            ``find_components`` understands.
        metrics: What else to measure, as in ``ablation_effects``.
        mask: Which positions count, as in ``ablation_effects``.

    Raises:
        SettingError: If there is no sender or receiver, a receiver is the sender, or none of them can hear it.
        AddressError: If one of them is unknown or has no activation.
        DataError: If there is not one donor of its form for each example.
    """
    found = paths(
        loss, params, clean, donor, sender=sender, receivers=receivers, frozen=frozen, metrics=metrics, mask=mask
    )
    return patching_table(found, "path_patching")


def paths(
    loss: ModuleLoss,
    params: Params,
    clean: Batch,
    donor: Batch,
    *,
    sender: str | Component,
    receivers: str | Component | Sequence[str | Component],
    frozen: str | Component | Sequence[str | Component],
    metrics: str | Metric | Sequence[str | Metric] = (),
    mask: str = "",
) -> list[Effect]:
    """Returns the losses of the clean run and the effects of the path, with their values per example.

    Arguments and errors are those of :func:`path_patching`.
    """
    senders, readers, still = (find_components(loss.listing, one) for one in (sender, receivers, frozen))
    if not senders:
        raise SettingError("the path has no sender; give the component whose message is exchanged.")
    if not readers or in_common(senders, readers):
        raise SettingError(f"the path from {senders[0].address!r} needs receivers other than the sender; give some.")
    deaf = in_common(readers, still)
    if deaf:
        raise SettingError(
            f"the receiver {deaf[0].address!r} is frozen by {deaf[1].address!r}, so that it hears nothing; leave it "
            "out of frozen."
        )
    for component in (*senders, *readers, *still):
        check_ablatable(component)
    check_partners(donor, clean, what="donors")
    every = [member.point for one in (*senders, *readers, *still) for member in one.members]
    plain_examples(loss, params, clean, points=every, mask=mask)
    _check_order(loss, params, for_params(clean, params), senders, readers)
    with torch.no_grad():
        heard = _heard(loss.with_edits(()), params, (clean, donor), senders, readers, still, mask)
    path = _path(senders, readers)
    return patches(loss, params, clean, donor, [path], noising=True, metrics=metrics, given=heard, mask=mask)


def _heard(
    loss: ModuleLoss,
    params: Params,
    runs: tuple[Batch, Batch],
    senders: Sequence[Component],
    readers: Sequence[Component],
    still: Sequence[Component],
    mask: str,
) -> dict[str, Tensor]:
    """Returns what the receivers hear, on all examples, by hook point."""
    points = [[member.point for one in some for member in one.members] for some in (senders, readers, still)]
    counting = Counting(Mask.of(loss, params, mask), [member for one in (*senders, *still) for member in one.members])
    clean, donor = (Blocks.of(for_params(run, params)) for run in runs)
    pieces: dict[str, list[Tensor]] = {point: [] for point in points[1]}
    for mine, other in zip(clean.batches, donor.batches, strict=True):
        kept, sent = activations(loss, params, mine, points[2]), activations(loss, params, other, points[0])
        # Edits at one hook point apply in order: what is frozen first, then the sender over it.
        edits = [edit for one in still for edit in patch(one, kept, counting(kept, mine))]
        edits += [edit for one in senders for edit in patch(one, sent, counting(sent, mine, other))]
        for point, values in activations(loss.with_edits(edits), params, mine, points[1]).items():
            pieces[point].append(values)
    return {point: torch.cat(values)[: clean.n] for point, values in pieces.items()}


def _path(senders: Sequence[Component], readers: Sequence[Component]) -> Component:
    """Returns the receivers as one component, whose address names the path."""
    members = tuple(member for one in readers for member in one.members)
    address = "->".join("+".join(one.address for one in some) for some in (senders, readers))
    if len(members) == 1:
        return replace(members[0], address=address, kind="path", weights=())
    return Component(address, "path", members[0].point, parts=members)


def _check_order(
    loss: ModuleLoss, params: Params, batch: Batch, senders: Sequence[Component], readers: Sequence[Component]
) -> None:
    """Checks that the network leads from the sender to every receiver.

    Raises:
        SettingError: If a receiver lies ahead of the sender, or beside it.
    """
    points = list(dict.fromkeys(member.point for one in senders for member in one.members))
    for reader in readers:
        if not any(hears(loss, params, batch, point, member.point) for point in points for member in reader.members):
            raise SettingError(
                f"the receiver {reader.address!r} does not lie behind the sender {senders[0].address!r}, so that it "
                "hears nothing of it; give receivers that are computed from the sender's activation."
            )
