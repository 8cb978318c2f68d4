"""Hook points whose activation nothing reads: replacing it would be an effect of 0 that says nothing."""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, take
from llc_lightning.runtime.errors import AddressError

_FEW = 3
"""Examples that tell what is computed from what."""


def check_read(loss: ModuleLoss, params: Params, batch: Batch, points: Sequence[str]) -> None:
    """Checks that the loss is computed from the activations at hook points.

    Some are shown after they were used: attention scores in a bridge of TransformerLens, or what a fused kernel
    computes again by itself. A unit that nothing reads *by its weights* is read, and its effect of 0 is a finding.

    Args:
        loss: The module's loss.
        params: The weights.
        batch: Some examples.
        points: The hook points.

    Raises:
        AddressError: If nothing reads one of them.
    """
    for point in points:
        with torch.enable_grad():
            probe = torch.zeros((), requires_grad=True)
            if _has_gradient(_shifted(loss, params, batch, point, probe).sum(), probe):
                continue
        # A module may cut its graph off, or write over what it needs; then numbers must tell.
        with torch.no_grad():
            shifted = _shifted(loss, params, batch, point, torch.ones(()))
            if torch.equal(shifted, loss(params, batch)):
                raise AddressError(
                    f"the loss does not depend on what the hook point {point!r} shows, so that ablating it does "
                    "nothing; address the submodule whose output is used."
                )


def hears(loss: ModuleLoss, params: Params, batch: Batch, sender: str, receiver: str) -> bool:
    """Says whether the activation at one hook point is computed from that at another, by gradient or by numbers."""
    few = take(batch, slice(0, _FEW))
    heard: list[Tensor] = []

    def listen(activation: Tensor) -> Tensor:
        heard.append(activation.clone())
        return activation

    def run(probe: Tensor) -> Tensor:
        def shift(activation: Tensor) -> Tensor:
            return activation + probe.to(activation)

        loss.asked("per_example_loss", params, few, [(sender, shift), (receiver, listen)])
        return heard.pop()

    with torch.enable_grad():
        probe = torch.zeros((), requires_grad=True)
        if _has_gradient(run(probe).sum(), probe):
            return True
    with torch.no_grad():
        return not torch.equal(run(torch.ones(())), run(torch.zeros(())))


def _shifted(loss: ModuleLoss, params: Params, batch: Batch, point: str, by: Tensor) -> Float[Tensor, "example"]:
    """Returns the losses with a number added to an activation."""
    return loss.asked("per_example_loss", params, batch, [(point, lambda activation: activation + by.to(activation))])


def _has_gradient(total: Tensor, probe: Tensor) -> bool:
    """Says whether a sum has a gradient in a probe; False where it is not known."""
    if not total.requires_grad:
        return False
    try:
        found = torch.autograd.grad(total, probe, allow_unused=True)
    except RuntimeError:  # in place something was written over what the gradient needs
        return False
    return cast("Tensor | None", found[0]) is not None
