"""Activation patching: what one run's activation does in another run."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.engine.place import Place, ReplacementAt, ablatable
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import Change, ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, check_partners


def patching(
    loss: ModuleLoss,
    params: Params,
    clean: Batch,
    donor: Batch,
    components: str | Component | Sequence[str | Component],
    *,
    noising: bool = True,
) -> Float[Tensor, "component example"]:
    """Returns the change of every example's loss by patching each component, in one direction or the other.

    ``noising`` puts the donor's activation into the run on the clean examples and asks what that breaks, ``L(clean with
    donor) - L(clean)``; otherwise the clean activation goes into the run on the donors and asks what that restores,
    ``L(donor with clean) - L(donor)`` (Vig et al. 2020, arXiv:2004.12265; Heimersheim and Nanda 2024,
    arXiv:2404.15255).
    The loss is always that of the clean examples where the module can tell: donors carry the targets that they have.

    Args:
        loss: The module's loss.
        params: The weights.
        clean: The examples.
        donor: As many examples, each the partner of the one in its place.
        components: What to patch: components, or what ``find_components`` understands.
        noising: The direction.

    Raises:
        AddressError: If a component is unknown or has no activation, or there is none.
        DataError: If there is not one donor of its form for each example.
    """
    check_partners(donor, clean, what="donors")
    patched = ablatable(find_components(loss.module, components))
    runs, givers = (clean, donor) if noising else (donor, clean)
    with torch.no_grad():
        base = loss(params, runs)
        values = activations(loss, params, givers, [member.point for one in patched for member in one.members])
        return torch.stack([loss.with_edits(patch(one, values))(params, runs) - base for one in patched])


def patch(component: Component, values: dict[str, Tensor]) -> list[Change]:
    """Returns the edits that put activations into a component.

    Args:
        component: Where.
        values: The activations by hook point, on all examples.
    """
    edits: list[Change] = []
    for member in component.members:
        place = Place.of([member], values[member.point][0], few=False)
        aim = {name: tensor[0] for name, tensor in place.aims(torch.zeros(1, dtype=torch.int64)).items()}
        edits.append(ReplacementAt(member.point, place.unit_axis, {**aim, "value": values[member.point]}))
    return edits


def activations(loss: ModuleLoss, params: Params, batch: Batch, points: Sequence[str]) -> dict[str, Tensor]:
    """Returns the activations at hook points, edits included, each asked for once."""
    return loss.activations(params, batch, list(dict.fromkeys(points)))
