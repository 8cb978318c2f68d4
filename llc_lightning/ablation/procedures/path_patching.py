"""Path patching: what one component tells another directly."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.engine.place import check_ablatable, in_common
from llc_lightning.ablation.procedures.patching import activations, patch
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, check_partners
from llc_lightning.runtime.errors import SettingError


def path_patching(
    loss: ModuleLoss,
    params: Params,
    clean: Batch,
    donor: Batch,
    *,
    sender: str | Component,
    receivers: str | Component | Sequence[str | Component],
    frozen: str | Component | Sequence[str | Component],
) -> Float[Tensor, "example"]:
    """Returns the change of every example's loss when the receivers alone hear the sender's donor activation.

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

    Raises:
        SettingError: If there is no sender or receiver, or a receiver is the sender.
        AddressError: If one of them is unknown or has no activation.
        DataError: If there is not one donor of its form for each example.
    """
    senders, readers, still = (find_components(loss.module, one) for one in (sender, receivers, frozen))
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
    with torch.no_grad():
        base = loss(params, clean)
        kept = activations(loss, params, clean, [member.point for one in still for member in one.members])
        sent = activations(loss, params, donor, [member.point for one in senders for member in one.members])
        # Edits at one hook point apply in order: what is frozen first, then the sender over it.
        edits = [edit for one in still for edit in patch(one, kept)]
        edits += [edit for one in senders for edit in patch(one, sent)]
        points = [member.point for one in readers for member in one.members]
        heard = activations(loss.with_edits(edits), params, clean, points)
        patched = [edit for one in readers for edit in patch(one, heard)]
        return loss.with_edits(patched)(params, clean) - base
